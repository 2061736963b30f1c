"""What the options before the command say; commands receive it by `@pass_settings`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click

from cropzoo.plugins.registry import Zoo, load_zoo
from cropzoo_cli.output import warn


@dataclass(frozen=True)
class Settings:
    """The global options.

    Args:
        plugins: import names or .py files beside the installed plugins.
        catalogs: catalog files beside cropzoo's own.
        offline: never touch the network.
    """

    plugins: tuple[str, ...] = ()
    catalogs: tuple[Path, ...] = ()
    offline: bool = False

    @cached_property
    def quiet_zoo(self) -> Zoo:
        """The zoo, loaded once, without a word about broken plugins."""
        with redirect_stdout(sys.stderr):  # a plugin that prints at import would spoil `--json`
            return load_zoo(modules=self.plugins)

    @cached_property
    def zoo(self) -> Zoo:
        """The zoo, loaded once; each broken plugin gets one line on stderr."""
        for plugin in self.quiet_zoo.broken:
            warn(f"plugin {plugin.name!r} is left out: {plugin.error}; `cropzoo plugins` shows the full error")
        return self.quiet_zoo


pass_settings = click.make_pass_decorator(Settings)
