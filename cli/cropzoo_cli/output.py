"""Output: results to stdout, messages to stderr; fitted tables in a terminal, plain lines elsewhere.

All that a command prints passes `echo`, which escapes control characters: names come from files and plugins.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EPIPE
from io import StringIO
from time import monotonic
from typing import Any, TextIO

import click

from cropzoo.errors import CropzooError
from cropzoo.parallel import EVERY_PROCESS, describe_interrupt, get_world_size, is_rank_zero
from cropzoo.plugins.specs import UNPRINTABLE

_reserved: list[TextIO] = []
"""The stream of the results while stdout is reserved for them."""


def escape(text: str, kept: str = "\n\t") -> str:
    """The text with control characters, overrides of its direction and surrogates written as backslash escapes.

    Args:
        text: Any text.
        kept: Control characters that stay as they are.
    """
    return UNPRINTABLE.sub(lambda m: m[0] if m[0] in kept else m[0].encode("unicode_escape").decode(), text)


def echo(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Print text to stdout, or to stderr, with its control characters escaped.

    Raises:
        CropzooError: If stdout cannot be written, for example because the disk is full.
    """
    try:
        click.echo(escape(text), file=None if err else _results(), nl=nl, err=err)
    except OSError as error:
        if err or error.errno == EPIPE:  # click ends the command quietly
            raise
        raise CropzooError(
            f"standard output cannot be written; {error.strerror}; redirect it to another file"
        ) from error


def _results() -> TextIO:
    """The stream of the results; one that is not kept where stdout is closed."""
    return _reserved[-1] if _reserved else sys.stdout or StringIO()


@contextmanager
def reserve_stdout() -> Iterator[None]:
    """Keep stdout for `echo` inside the block; what plugins and libraries print, in C as well, goes to stderr."""
    stdout, plain = sys.stdout, _results()
    plain.flush()
    results = _take_descriptor(plain)
    _reserved.append(results or plain)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = stdout
        _reserved.pop()
        if results is not None:
            with suppress(Exception):  # what C code has buffered belongs to stderr
                ctypes.CDLL(None).fflush(None)
            with suppress(OSError):  # a closed pipe was reported by `echo`
                results.flush()
            os.dup2(results.fileno(), 1)
            with suppress(OSError):
                results.close()


def _take_descriptor(stdout: TextIO) -> TextIO | None:
    """A stream to stdout under another descriptor, after which 1 is stderr; None if `stdout` is no such stream."""
    try:
        if stdout.fileno() != 1:
            return None
        os.fstat(2)
        copy = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError):  # replaced by a buffer, or closed
        return None
    return open(copy, "w", encoding=stdout.encoding, errors="backslashreplace")


QUIET_SECONDS = 10.0
"""Longest time without a line on stderr where there is no terminal."""


@dataclass
class _Progress:
    """The last line of progress, and when a line was printed and when this one was."""

    line: str = ""
    printed: float = 0.0
    since: float = 0.0


_progress = _Progress()


def warn(message: str) -> None:
    """Print `warning: MESSAGE` to stderr, from the first process of a distributed run."""
    note(f"warning: {message}")


def note(message: str) -> None:
    """Print progress to stderr, from the first process of a distributed run."""
    if is_rank_zero():
        _progress.line = message.splitlines()[0] if message else ""
        _progress.printed = _progress.since = monotonic()
        echo(message, err=True)


@contextmanager
def report_silence() -> Iterator[None]:
    """Where there is no terminal, print a line whenever nothing was reported for `QUIET_SECONDS` inside the block."""
    if sys.stderr is None or sys.stderr.isatty() or not is_rank_zero():
        yield
        return
    ended = threading.Event()
    _progress.line, _progress.printed = "", monotonic()
    _progress.since = _progress.printed

    def watch() -> None:
        while not ended.wait(max(0.05, _progress.printed + QUIET_SECONDS - monotonic())):
            now = monotonic()
            if now - _progress.printed >= QUIET_SECONDS:
                _progress.printed = now
                last = f" (last: {_progress.line})" if _progress.line else ""
                echo(f"still running after {now - _progress.since:.0f} s{last}", err=True)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Lines(logging.Handler):
    """Prints each message once: a command may resolve its settings or open its images several times."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if getattr(record, EVERY_PROCESS, False) and not is_rank_zero():
            echo(f"warning: {message}", err=True)
        elif message not in self._printed:
            self._printed.add(message)
            (warn if record.levelno >= logging.WARNING else note)(message)


@contextmanager
def forward_messages() -> Iterator[None]:
    """Print the package's logged warnings and notes inside the block; enter it before torch is imported."""
    logger = logging.getLogger("cropzoo")
    before = logger.handlers, logger.propagate, logger.level
    unraisable, sys.unraisablehook = sys.unraisablehook, _report_unraisable
    logger.handlers, logger.propagate = [_Lines()], False
    logger.setLevel(logging.INFO)
    if get_world_size() > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # each process would print notes on its network code
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])


def _report_unraisable(error: sys.UnraisableHookArgs) -> None:
    """Ignore failures of rasterio to log a message of GDAL, such as one with bytes that are not text."""
    if "rasterio._env" not in str(error.object):
        sys.__unraisablehook__(error)


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
    plain = (_results().encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(data, indent=2, ensure_ascii=not plain, default=str)
    echo(UNPRINTABLE.sub(lambda m: m[0] if m[0] == "\n" else f"\\u{ord(m[0]):04x}", text))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], sections: bool = True) -> None:
    """Print rows under their columns to stdout.

    In a terminal the table fits its width; elsewhere each row is one line, never wrapped or cut. With `sections`, a
    terminal's table has a rule between rows whose first cells differ.
    """
    if _results().isatty():
        _print_rich(columns, [[escape(str(cell), kept="") for cell in row] for row in rows], sections)
    else:
        echo("\n".join(table_lines(columns, rows)))


def print_overview(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Print rows of kind, name and summary to stdout; returns whether only the names fit a terminal.

    In a terminal each row is one line, and the end of a summary that does not fit is left out. If there are more rows
    than lines, the names of each kind are printed as a list. Elsewhere nothing is left out.
    """
    lines = table_lines(columns, rows)
    if not _results().isatty():
        echo("\n".join(lines))
        return False
    from rich.console import Console

    width, height = Console(file=_results()).size
    if fits := len(lines) + _LINES_BELOW <= height:
        lines = [line if len(line) <= width else f"{line[: width - 1]}\u2026" for line in lines]
    else:
        names: dict[str, list[str]] = {}
        for kind, name, *_ in rows:
            names.setdefault(kind, []).append(escape(name, kept=""))
        lines = [
            textwrap.fill(f"{kind}s: {', '.join(each)}", width, subsequent_indent="  ", break_on_hyphens=False)
            for kind, each in names.items()
        ]
    echo("\n".join(lines))
    return not fits


_LINES_BELOW = 3
"""Lines of a terminal for a note and the next prompt."""


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a table with aligned columns."""
    lines = [[escape(str(cell), kept="") for cell in line] for line in (columns, *rows)]
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
    Console(file=_results()).print(table)
