"""A click group whose commands are imported when they run, not when they are listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from cropzoo.errors import UnknownName
from cropzoo_cli.output import echo

RENAMED_FLAGS = {"--catalogue": "--catalog", "--licence": "--license"}
"""Flags of version 0.1 and their names today; the old ones work in 0.2."""


@dataclass(frozen=True)
class LazyCommand:
    """Target of a command, `"package.module:attribute"`, and its line in the help."""

    target: str
    help: str


class LazyGroup(click.Group):
    """A group over a table of `LazyCommand`. Help, completion and unknown names import no command."""

    def __init__(self, *args: Any, lazy: Mapping[str, LazyCommand], **options: Any) -> None:
        super().__init__(*args, **options)
        self.lazy = lazy

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, after renamed flags of the group and its commands have got their new names, with a warning."""
        return super().parse_args(ctx, [_with_new_flag(arg) for arg in args])

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the table."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported; None for an unknown name."""
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name].target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command; an unknown name is an error with the close names, lazy ones included.

        Raises:
            UnknownName: If there is no such command.
        """
        name = args[0]
        if name not in self.lazy and not name.startswith("-") and not ctx.resilient_parsing:
            raise UnknownName("command", name, self.lazy, "`cropzoo --help` shows every command")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lines of the table; click's method would import every command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in self.lazy.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands with their help lines; options by click."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(name, help=command.help)
            for name, command in self.lazy.items()
            if name.startswith(incomplete)
        ]


def _with_new_flag(arg: str) -> str:
    flag, equals, value = arg.partition("=")
    if flag not in RENAMED_FLAGS:
        return arg
    echo(f"warning: {flag} is deprecated; use {RENAMED_FLAGS[flag]}", err=True)
    return f"{RENAMED_FLAGS[flag]}{equals}{value}"
