"""Interpretation sheets: a page for each point of a reference sample, and one that lists them; no network needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from cropzoo import __version__
from cropzoo.data.dates import EPOCH
from cropzoo.io import write_text
from cropzoo.reports.render import make_environment

INDEX = "index.html"

_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 28
"""Size and margins of the chart of a curve."""

_MAX_TICKS = 14


@dataclass(frozen=True)
class Chip:
    """Picture of the surroundings of a point on a date.

    Args:
        day: Days since 1970-01-01.
        image: Picture as a data URI.
        width: Width in pixels of the images.
        height: Height in pixels of the images.
        outline: Outline of the unit as the `d` of an SVG path, in pixels of the picture.
    """

    day: int
    image: str
    width: int
    height: int
    outline: str


@dataclass(frozen=True)
class Curve:
    """Time series of a point.

    Args:
        name: Name of the values.
        low: Lower end of the scale.
        high: Upper end of the scale.
        days: Days since 1970-01-01, increasing.
        values: Values on these days.
    """

    name: str
    low: float
    high: float
    days: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Sheet:
    """What an interpreter sees of a point.

    Args:
        point: Number of the point.
        facts: Facts about its place, by label.
        chips: Pictures by date.
        curve: Time series; None without images.
    """

    point: int
    facts: tuple[tuple[str, str], ...]
    chips: tuple[Chip, ...]
    curve: Curve | None


def name_sheet(point: int) -> str:
    """File name of the sheet of a point."""
    return f"{point:05d}.html"


def write_sheet(
    folder: Path, sheet: Sheet, neighbors: tuple[int | None, int | None], classes: Sequence[str], points: str
) -> None:
    """Write the page of a point.

    Args:
        folder: Folder of the pages.
        sheet: What the page shows.
        neighbors: Numbers of the points before and after it; None at the ends.
        classes: Names that the interpreter chooses from.
        points: File name of the points.
    """
    before, after = (None if each is None else name_sheet(each) for each in neighbors)
    html = make_environment().get_template("interpretation.html.j2").render(
        sheet=sheet,
        chips=[(each, _format_day(each.day)) for each in sheet.chips],
        chart=None if sheet.curve is None or not sheet.curve.days else _draw_curve(sheet.curve),
        before=before,
        after=after,
        index=INDEX,
        classes=list(classes),
        points=points,
        version=__version__,
    )  # fmt: skip
    write_text(folder / name_sheet(sheet.point), html)


def write_index(folder: Path, rows: Sequence[tuple[int, str, int]], classes: Sequence[str], points: str) -> None:
    """Write the page that lists the sheets.

    Args:
        folder: Folder of the pages.
        rows: Number of each point, its place as a text, and the number of pictures on its page.
        classes: Names that the interpreter chooses from.
        points: File name of the points.
    """
    html = make_environment().get_template("interpretation_index.html.j2").render(
        rows=[(point, name_sheet(point), place, chips) for point, place, chips in rows],
        classes=list(classes),
        points=points,
        version=__version__,
    )  # fmt: skip
    write_text(folder / INDEX, html)


def _format_day(day: int) -> str:
    return str(EPOCH + timedelta(days=day))


def _draw_curve(curve: Curve) -> dict[str, Any]:
    """Positions of what a chart shows, in pixels."""
    first, last = curve.days[0], max(curve.days[-1], curve.days[0] + 1)

    def x(day: int) -> float:
        return round(_LEFT + (day - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        share = (min(max(value, curve.low), curve.high) - curve.low) / (curve.high - curve.low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    places = [(x(day), y(value)) for day, value in zip(curve.days, curve.values, strict=True)]
    steps = [curve.low + (curve.high - curve.low) * number / 6 for number in range(7)]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "bottom": _HEIGHT - _BOTTOM,
        "line": " ".join(f"{across},{up}" for across, up in places),
        "points": [
            (*place, f"{_format_day(day)}: {value:.2f}")
            for place, day, value in zip(places, curve.days, curve.values, strict=True)
        ],
        "months": [(x(day), label) for day, label in _list_months(first, last)],
        "values": [(y(value), f"{round(value, 1) + 0:.1f}") for value in steps],
    }


def _list_months(first: int, last: int) -> list[tuple[int, str]]:
    """First days of months, or of every second or third month of long series, with their names."""
    start, end = EPOCH + timedelta(days=first), EPOCH + timedelta(days=last)
    months = (end.year - start.year) * 12 + end.month - start.month
    step = max(1, -(-months // _MAX_TICKS))
    found: list[tuple[int, str]] = []
    for number in range(1, months + 1, step):
        year, month = divmod(start.year * 12 + start.month - 1 + number, 12)
        day = date(year, month + 1, 1)
        found.append(((day - EPOCH).days, f"{day:%b %Y}" if month == 0 or not found else f"{day:%b}"))
    return found
