"""How far a map is: pixels per second and the time left, in a terminal's bar or in a line now and then."""

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
def pixel_progress() -> Iterator[ProgressCallback]:
    """A function that takes (pixels done, pixels in all) and shows both on stderr, with the speed and the time left."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    begun = monotonic()
    columns = TextColumn("pixels"), BarColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=None)

        def show(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, description=describe(done, total, monotonic() - begun))

        yield show


def describe(done: int, total: int, seconds: float) -> str:
    """Share, speed and time left, such as "42 % of 1.20 Mpx, 5,230 px/s, 2 min 13 s left"."""
    speed = done / max(seconds, 1e-9)
    size = f"{total / 1e6:.2f} Mpx" if total >= 10_000 else f"{total} px"
    text = f"{100 * done / max(total, 1):.0f} % of {size}, {speed:,.0f} px/s"
    if done >= total or not done:
        return text
    return f"{text}, {_duration((total - done) / speed)} left"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _lines() -> ProgressCallback:
    begun = told = monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal told
        now = monotonic()
        if done == total or now - told > _EVERY:
            told = now
            note(describe(done, total, now - begun))

    return advance
