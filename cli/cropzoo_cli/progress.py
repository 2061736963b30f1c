"""How far a long command is: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from cropzoo.io import ProgressCallback
from cropzoo_cli.output import note

_EVERY = 10.0
"""Seconds between lines where there is no terminal."""


@contextmanager
def progress(what: str) -> Iterator[ProgressCallback]:
    """A function that takes (done, total) of so many things and shows it on stderr.

    Args:
        what: is counted, in the plural, such as "samples".
    """
    if sys.stderr.isatty():
        with _bar(what) as advance:
            yield advance
    else:
        yield _lines(what)


@contextmanager
def _bar(what: str) -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _lines(what: str) -> ProgressCallback:
    told = monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal told
        if done == total or monotonic() - told > _EVERY:
            told = monotonic()
            note(f"{done} of {total} {what}")

    return advance
