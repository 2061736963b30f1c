"""The dates of a dataset, tile by tile, as geometry that a page draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from cropzoo.descriptions import Acquisition

WIDTH, HEIGHT = 1000, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 990, 10, 92
_MOST = 12
"""Tiles that are drawn."""

_ROOM = 66
"""Units that a tick's text needs."""


@dataclass(frozen=True)
class Timeline:
    """The dates of one tile on `WIDTH` x `HEIGHT`.

    Args:
        title: the tile.
        bars: (x, top, the date and its share in words), each down to `bottom`.
        ticks: (x, text).
        has_clear: whether the height of a bar is the share of clear pixels.
        mean: share of clear pixels over the dates of all samples; None without cloud masks.
    """

    title: str
    bars: tuple[tuple[float, float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    has_clear: bool
    mean: float | None
    thickness: float
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP
    bottom: int = _BOTTOM


def timelines(acquisitions: Mapping[str, Sequence[Acquisition]]) -> tuple[list[Timeline], int]:
    """A timeline for each tile, over the same time, and how many tiles were left out."""
    days = [date.fromisoformat(each.day) for found in acquisitions.values() for each in found]
    if not days:
        return [], 0
    first, last = min(days), max(days)
    shown = sorted(acquisitions.items(), key=lambda item: (-len(item[1]), item[0]))[:_MOST]
    return [_timeline(tile, found, first, last) for tile, found in shown], len(acquisitions) - len(shown)


def _timeline(tile: str, found: Sequence[Acquisition], first: date, last: date) -> Timeline:
    span = max((last - first).days, 1)

    def x(day: date) -> float:
        return round(_LEFT + 4 + (day - first).days / span * (_RIGHT - _LEFT - 8), 1)

    bars = []
    for each in found:
        share = 1.0 if each.clear is None else each.clear
        words = each.day if each.clear is None else f"{each.day}: {100 * each.clear:.0f} % clear"
        samples = f", {each.samples} sample{'s' if each.samples != 1 else ''}"
        bars.append(
            (x(date.fromisoformat(each.day)), round(_BOTTOM - max(share, 0.02) * (_BOTTOM - _TOP), 1), words + samples)
        )
    known = [(each.clear, each.samples) for each in found if each.clear is not None]
    return Timeline(
        title=tile,
        bars=tuple(bars),
        ticks=tuple((x(day), text) for day, text in _ticks(first, last, span)),
        has_clear=bool(known),
        mean=sum(clear * many for clear, many in known) / sum(many for _, many in known) if known else None,
        thickness=round(min(5.0, max(1.0, 0.6 * (_RIGHT - _LEFT) / max(len(found), span / 5))), 1),
    )


def _ticks(first: date, last: date, span: int) -> list[tuple[date, str]]:
    """First days of months, as many as there is room for; the year stands at January and at the first."""
    months = [first.replace(day=1)]
    while months[-1] <= last:
        months.append((months[-1] + timedelta(days=32)).replace(day=1))
    inside = [month for month in months if first <= month <= last] or [first]
    room = max(1, int((_RIGHT - _LEFT) / _ROOM))
    step = next(
        (step for step in (1, 2, 3, 4, 6, 12) if len(inside) / step <= room), 12 * -(-len(inside) // (12 * room))
    )
    chosen = [month for month in inside if (month.month - 1) % min(step, 12) == 0] or inside[:1]
    if step > 12:
        chosen = chosen[:: step // 12]
    return [
        (day, f"{day:%b %Y}" if number == 0 or day.month == 1 else f"{day:%b}") for number, day in enumerate(chosen)
    ]
