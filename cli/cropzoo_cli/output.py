"""Output: results to stdout, messages to stderr; fitted tables in a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from cropzoo.parallel import describe_interrupt, get_world_size, is_rank_zero


def warn(message: str) -> None:
    """Print `warning: MESSAGE` to stderr, from the first process of a distributed run."""
    note(f"warning: {message}")


def note(message: str) -> None:
    """Print progress to stderr, from the first process of a distributed run."""
    if is_rank_zero():
        click.echo(message, err=True)


class _Lines(logging.Handler):
    """Prints warnings by `warn`, and other messages once by `note`: a command may open its images several times."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._noted: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            warn(message)
        elif message not in self._noted:
            self._noted.add(message)
            note(message)


@contextmanager
def forward_messages() -> Iterator[None]:
    """Print the package's logged warnings and notes inside the block; enter it before torch is imported."""
    logger = logging.getLogger("cropzoo")
    before = logger.handlers, logger.propagate, logger.level
    logger.handlers, logger.propagate = [_Lines()], False
    logger.setLevel(logging.INFO)
    if get_world_size() > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # each process would print notes on its network code
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])


@contextmanager
def report_interrupt(advice: Callable[[], str]) -> Iterator[None]:
    """Print what interrupted the block and what to do, and exit with the code of the signal.

    Args:
        advice: Returns what to do, such as "resume with: cropzoo ...".

    Raises:
        Exit: Ctrl-C, SIGTERM or SIGHUP ended the block.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        reason, code = describe_interrupt(error)
        note(f"{reason}; {advice()}")
        raise click.exceptions.Exit(code) from None


def print_json(data: Any) -> None:
    """Print data to stdout as indented JSON; values that JSON does not have become text."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], sections: bool = True) -> None:
    """Print rows under their columns to stdout.

    In a terminal the table fits its width; elsewhere each row is one line, never wrapped or cut. With `sections`, a
    terminal's table has a rule between rows whose first cells differ.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells, sections)
    else:
        click.echo("\n".join(table_lines(columns, cells)))


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a table with aligned columns."""
    lines = [[str(cell) for cell in line] for line in (columns, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], sections: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row, before in zip(rows, [None, *rows], strict=False):
        if sections and before is not None and row[0] != before[0]:
            table.add_section()
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
