"""Global options, which precede the command; commands receive them through `@pass_settings`."""

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
        plugins: modules or .py files of additional plugins.
        catalogs: paths of additional catalog files.
        offline: whether network access is disabled.
    """

    plugins: tuple[str, ...] = ()
    catalogs: tuple[Path, ...] = ()
    offline: bool = False

    @cached_property
    def quiet_zoo(self) -> Zoo:
        """The zoo, loaded once, without warnings about broken plugins."""
        with redirect_stdout(sys.stderr):  # output of a plugin at import must not mix with `--json`
            return load_zoo(modules=self.plugins)

    @cached_property
    def zoo(self) -> Zoo:
        """The zoo, loaded once; each broken plugin is reported in one line on stderr."""
        for plugin in self.quiet_zoo.broken:
            warn(f"skipped plugin {plugin.name!r}: {plugin.error}; `cropzoo plugins` shows the full error")
        return self.quiet_zoo


pass_settings = click.make_pass_decorator(Settings)
