"""Accuracy while the season grows, as one picture file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cropzoo.days import parse_day
from cropzoo.files import replacing

if TYPE_CHECKING:
    from cropzoo.season import SeasonPoint

_LINES = (("oa", "overall accuracy", "#23704c"), ("miou", "mean IoU", "#b4560f"), ("macro_f1", "macro F1", "#2f7fd6"))

_WIDTH, _HEIGHT = 8.0, 4.2
"""Inches."""

_LEAP_YEAR = 2000
"""Where days of any year are drawn."""

_ROOM = 0.09
"""Share of the axis that a tick's text needs."""


def save_season_curve(path: Path, points: Sequence[SeasonPoint], title: str) -> None:
    """Write a PNG: overall accuracy, mean IoU and macro F1 by the day that the series end on, %.

    Dashed lines show what the whole series gives. Under each day stands the share of the dates that is left.

    Args:
        path: the file; what stood there is replaced as a whole.
        points: one or more days in order, then the whole series.
        title: what was scored on what.

    Raises:
        CropzooError: when the file cannot be written.
    """
    *grown, whole = points
    days, texts = zip(*(_day(point) for point in grown), strict=True)
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=144, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    numbers = [day.toordinal() for day in days]
    for key, name, colour in _LINES:
        end = 100 * whole.scores[key]
        label = f"{name} (whole series {end:.1f})"
        axes.plot(numbers, [100 * p.scores[key] for p in grown], color=colour, linewidth=2, marker="o", label=label)
        axes.axhline(end, color=colour, linewidth=1, linestyle=(0, (5, 4)), alpha=0.8)
    shown = _apart(numbers)
    axes.set_xticks(
        [numbers[index] for index in shown],
        [f"{texts[index]}\n{100 * grown[index].dates_left:.0f} %" for index in shown],
    )
    axes.set_xlabel("last day of the series; below it the share of the dates that is left", fontsize=9, color="#555555")
    axes.set_title(f"{title}, %", fontsize=10, color="#333333", loc="left")
    axes.tick_params(labelsize=8, colors="#555555")
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="lower center", ncols=len(_LINES), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    with replacing(path) as scratch:
        figure.savefig(scratch, format="png")


def _day(point: SeasonPoint) -> tuple[date, str]:
    """Where a point stands, and the text below it."""
    asked = parse_day("--until", point.until or "")
    day = asked.in_year(asked.year or _LEAP_YEAR)
    return day, f"{day.day} {day:%b %Y}" if asked.year else f"{day.day} {day:%b}"


def _apart(numbers: Sequence[int]) -> list[int]:
    """Positions of the days whose texts do not run into each other, from the first on."""
    room = _ROOM * max(numbers[-1] - numbers[0], 1)
    shown = [0]
    for index in range(1, len(numbers)):
        if numbers[index] - numbers[shown[-1]] >= room:
            shown.append(index)
    return shown
