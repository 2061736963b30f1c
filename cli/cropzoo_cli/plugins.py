"""`cropzoo plugins`: the installed plugins, their entries, and the errors of broken ones."""

from __future__ import annotations

from dataclasses import asdict

import click

from cropzoo.plugins.manager import Plugin
from cropzoo.plugins.registry import check_requested
from cropzoo_cli.output import echo, print_json, print_table
from cropzoo_cli.settings import Settings, pass_settings

COLUMNS = ("plugin", "distribution", "version", "offers")


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print all fields as JSON.")
@pass_settings
def plugins(settings: Settings, as_json: bool) -> None:
    """List the plugins with their entries; of broken ones, print the complete error."""
    zoo = settings.quiet_zoo
    if as_json:
        print_json([asdict(plugin) for plugin in zoo.plugins])
        check_requested(zoo.plugins)
        return
    rows = [[p.name, p.distribution or "-", p.version or "-", _offers(p)] for p in zoo.plugins]
    print_table(COLUMNS, rows)
    for plugin in zoo.broken:
        echo(f"\nplugin {plugin.name!r} ({plugin.origin}) is broken: {plugin.error}\n{plugin.details}")
    check_requested(zoo.plugins)


def _offers(plugin: Plugin) -> str:
    return "broken, see below" if plugin.error else ", ".join(plugin.offers) or "nothing"
