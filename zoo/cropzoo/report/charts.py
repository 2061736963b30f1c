"""Line charts as geometry that the page's template draws: they follow the reader's colours and need no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 428, 14, 214


@dataclass(frozen=True)
class Line:
    """One curve: `points` are places in the chart, `path` joins those of consecutive epochs."""

    name: str
    path: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """A chart of `WIDTH` x `HEIGHT`; ticks are (place, text); `alt` tells in words what it shows."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    alt: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    bottom: int = _BOTTOM


def line_chart(title: str, epochs: Sequence[int], curves: Mapping[str, Sequence[float | None]]) -> Chart | None:
    """The chart of some values by epoch; None where no value is a finite number.

    Args:
        title: what the values are.
        epochs: for each place in the curves.
        curves: by name; None or not finite leaves a gap.
    """
    kept = {name: [_finite(value) for value in values] for name, values in curves.items()}
    kept = {name: values for name, values in kept.items() if any(value is not None for value in values)}
    numbers = [value for values in kept.values() for value in values if value is not None]
    if not numbers:
        return None
    low, high = _range(min(numbers), max(numbers))
    ticks = [float(tick) for tick in MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
    low, high = ticks[0], ticks[-1]
    first, last = (epochs[0], epochs[-1]) if epochs[-1] > epochs[0] else (epochs[0] - 1, epochs[0] + 1)

    def x(epoch: float) -> float:
        return round(_LEFT + (epoch - first) / (last - first) * (_RIGHT - _LEFT), 1)

    def y(value: float) -> float:
        return round(_BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP), 1)

    lines = tuple(
        _line(name, [None if v is None else (x(e), y(v)) for e, v in zip(epochs, values, strict=True)])
        for name, values in kept.items()
    )
    whole = [int(tick) for tick in MaxNLocator(nbins=6, integer=True).tick_values(first, last)]
    # The first epoch is always named; a tick that stands too close to it is left out.
    shown = [epochs[0], *(tick for tick in whole if epochs[0] < tick <= epochs[-1] and x(tick) - x(epochs[0]) > 24)]
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9) + (0 if _is_round(ticks) else 1))
    return Chart(
        title=title,
        lines=lines,
        x_ticks=tuple((x(epoch), str(epoch)) for epoch in shown),
        y_ticks=tuple((y(tick), f"{tick:.{digits}f}") for tick in ticks),
        alt=f"{title} by epoch. " + " ".join(_tell(name, epochs, values) for name, values in kept.items()),
    )


def _is_round(ticks: Sequence[float]) -> bool:
    """Whether one significant digit tells the ticks apart; steps of 2.5 need another."""
    step = ticks[1] - ticks[0]
    scaled: float = step / 10 ** math.floor(math.log10(step) + 1e-9)
    return bool(abs(scaled - round(scaled)) < 1e-6)


def _range(low: float, high: float) -> tuple[float, float]:
    """A range with some height."""
    room = max(abs(high), 1e-6) * 0.1
    return (low - room, high + room) if high - low < 1e-9 * max(abs(high), 1.0) else (low, high)


def _line(name: str, places: Sequence[tuple[float, float] | None]) -> Line:
    path, pen_down = [], False
    for place in places:
        if place is not None:
            path.append(f"{'L' if pen_down else 'M'}{place[0]} {place[1]}")
        pen_down = place is not None
    return Line(name, " ".join(path), tuple(place for place in places if place is not None))


def _tell(name: str, epochs: Sequence[int], values: Sequence[float | None]) -> str:
    known = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if value is not None]
    (start, first), (end, last) = known[0], known[-1]
    if start == end:
        return f"{name}: {first:.3g} at epoch {start}."
    return f"{name}: from {first:.3g} at epoch {start} to {last:.3g} at epoch {end}."


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
