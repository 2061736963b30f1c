"""Global options, which precede the command; commands receive them through `@pass_settings`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click

from cropzoo.plugins.registry import Zoo, check_requested, load_zoo
from cropzoo_cli.output import reserve_stdout, warn


@dataclass(frozen=True)
class Settings:
    """The global options.

    Args:
        plugins: modules or .py files of additional plugins.
        catalogs: paths of additional catalog files.
        offline: whether network access is disabled.
    """

    plugins: tuple[str, ...] = ()
    catalogs: tuple[Path, ...] = ()
    offline: bool = False

    @property
    def words(self) -> list[str]:
        """The words of a command line that give these options again."""
        plugins = [word for plugin in self.plugins for word in ("-p", plugin)]
        catalogs = [word for file in self.catalogs for word in ("--catalog", str(file))]
        return [*plugins, *catalogs, *(["--offline"] if self.offline else [])]

    @cached_property
    def quiet_zoo(self) -> Zoo:
        """The zoo, loaded once, without warnings about broken plugins."""
        reserved = reserve_stdout()  # from here on plugins run, whose output must not mix with results
        if context := click.get_current_context(silent=True):
            context.find_root().with_resource(reserved)
            return load_zoo(modules=self.plugins, strict=False)
        with reserved:
            return load_zoo(modules=self.plugins, strict=False)

    @cached_property
    def zoo(self) -> Zoo:
        """The zoo, loaded once; each broken plugin is reported in one line on stderr.

        Raises:
            UsageError: If a plugin that the user named cannot be loaded.
        """
        check_requested(self.quiet_zoo.plugins)
        for plugin in self.quiet_zoo.broken:
            warn(f"skipped plugin {plugin.name!r}: {plugin.error}; `cropzoo plugins` shows the full error")
        return self.quiet_zoo


pass_settings = click.make_pass_decorator(Settings)
