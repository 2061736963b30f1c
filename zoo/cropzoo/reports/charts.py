"""Line charts as geometry that the page's template draws: they follow the reader's colors and need no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 428, 14, 214


@dataclass(frozen=True)
class Line:
    """One curve: `points` are places in the chart, `path` joins those of consecutive steps."""

    name: str
    path: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """A chart of `WIDTH` x `HEIGHT`; ticks are (place, text), `axis` is what x counts; `alt` tells what it shows."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    alt: str
    axis: str = "epoch"
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    bottom: int = _BOTTOM


def line_chart(
    title: str, steps: Sequence[int], curves: Mapping[str, Sequence[float | None]], axis: str = "epoch"
) -> Chart | None:
    """The chart of some values by epoch or another whole number; None where no value is a finite number.

    Args:
        title: what the values are.
        steps: epochs or whatever the axis counts, for each place in the curves.
        curves: by name; None or not finite leaves a gap.
        axis: what is counted.
    """
    kept = {name: [_finite(value) for value in values] for name, values in curves.items()}
    kept = {name: values for name, values in kept.items() if any(value is not None for value in values)}
    numbers = [value for values in kept.values() for value in values if value is not None]
    if not numbers:
        return None
    low, high = _range(min(numbers), max(numbers))
    ticks = [float(tick) for tick in MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
    low, high = ticks[0], ticks[-1]
    first, last = (steps[0], steps[-1]) if steps[-1] > steps[0] else (steps[0] - 1, steps[0] + 1)

    def x(step: float) -> float:
        return round(_LEFT + (step - first) / (last - first) * (_RIGHT - _LEFT), 1)

    def y(value: float) -> float:
        return round(_BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP), 1)

    lines = tuple(
        _line(name, [None if v is None else (x(e), y(v)) for e, v in zip(steps, values, strict=True)])
        for name, values in kept.items()
    )
    whole = [int(tick) for tick in MaxNLocator(nbins=6, integer=True).tick_values(first, last)]
    # The first step is always named; a tick that stands too close to it is left out.
    shown = [steps[0], *(tick for tick in whole if steps[0] < tick <= steps[-1] and x(tick) - x(steps[0]) > 24)]
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9) + (0 if _is_round(ticks) else 1))
    return Chart(
        title=title,
        lines=lines,
        x_ticks=tuple((x(step), str(step)) for step in shown),
        y_ticks=tuple((y(tick), f"{tick:.{digits}f}") for tick in ticks),
        alt=f"{title} by {axis}. " + " ".join(_tell(name, steps, values, axis) for name, values in kept.items()),
        axis=axis,
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


def _tell(name: str, steps: Sequence[int], values: Sequence[float | None], axis: str) -> str:
    known = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
    (start, first), (end, last) = known[0], known[-1]
    if start == end:
        return f"{name}: {first:.3g} at {axis} {start}."
    return f"{name}: from {first:.3g} at {axis} {start} to {last:.3g} at {axis} {end}."


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
