"""Progress of a long command on stderr: a bar in a terminal, a line every 10 seconds elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic

from cropzoo.io import ProgressCallback
from cropzoo_cli.output import note

_INTERVAL = 10.0
"""Seconds between lines where there is no terminal."""

_Describe = Callable[[int, int, float], str]
"""Takes (done, total, seconds since the start) and returns a text for the user."""


@contextmanager
def progress(items: str) -> Iterator[ProgressCallback]:
    """A function that takes (items done, total) and shows them with the rate and the time left.

    Args:
        items: Name of the items in the plural, such as "samples".
    """
    with _progress(items, partial(describe_items, items)) as advance:
        yield advance


@contextmanager
def pixel_progress() -> Iterator[ProgressCallback]:
    """A function that takes (pixels done, total) and shows them with the rate and the time left."""
    with _progress("pixels", describe_pixels) as advance:
        yield advance


@contextmanager
def byte_progress() -> Iterator[ProgressCallback]:
    """A function that takes (bytes done, total) and shows them with the rate and the time left."""
    with _progress("download", describe_bytes) as advance:
        yield advance


def describe_items(items: str, done: int, total: int, seconds: float) -> str:
    """Count, rate and time left, such as "120 of 400 samples, 12.3 per second, 23 s left"."""
    rate = done / max(seconds, 1e-9)
    count = f"{done} of {total} {items}"
    return count if not done or seconds <= 0 else f"{count}, {rate:,.1f} per second{_time_left(done, total, rate)}"


def describe_pixels(done: int, total: int, seconds: float) -> str:
    """Share, rate and time left, such as "42 % of 1.20 Mpx, 5,230 px/s, 2 min 13 s left"."""
    rate = done / max(seconds, 1e-9)
    size = f"{total / 1e6:.2f} Mpx" if total >= 10_000 else f"{total} px"
    return f"{100 * done / max(total, 1):.0f} % of {size}, {rate:,.0f} px/s{_time_left(done, total, rate)}"


def describe_bytes(done: int, total: int, seconds: float) -> str:
    """Share, rate and time left, such as "42 % of 3.3 MB, 1.2 MB/s, 2 s left"."""
    rate = done / max(seconds, 1e-9)
    share = f"{100 * done / max(total, 1):.0f} % of {format_bytes(total)}"
    return f"{share}, {format_bytes(rate)}/s{_time_left(done, total, rate)}"


def format_bytes(size: float) -> str:
    """A size such as "3.3 MB"."""
    for unit in ("kB", "MB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} GB"


@contextmanager
def _progress(name: str, describe: _Describe) -> Iterator[ProgressCallback]:
    if not sys.stderr.isatty():
        yield _line_printer(describe)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    start = monotonic()
    columns = TextColumn(name), BarColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=None)

        def advance(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, description=describe(done, total, monotonic() - start))

        yield advance


def _line_printer(describe: _Describe) -> ProgressCallback:
    start = last = monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        now = monotonic()
        if done == total or now - last > _INTERVAL:
            last = now
            note(describe(done, total, now - start))

    return advance


def _time_left(done: int, total: int, rate: float) -> str:
    """A text such as ", 2 min 13 s left"; empty before the first item and after the last."""
    return f", {_duration((total - done) / rate)} left" if 0 < done < total else ""


def _duration(seconds: float) -> str:
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"
