"""quicklook.html: a dataset in one file that opens without a network: where, what, when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cropzoo import __version__
from cropzoo.config.recipe import dataset_at
from cropzoo.data.open import open_dataset
from cropzoo.data.pastis.reader import Layout
from cropzoo.data.sample import Dataset, Sample
from cropzoo.data.summary import Acquisition, DatasetDescription, describe
from cropzoo.io import ProgressCallback, write_text
from cropzoo.plugins.registry import Zoo
from cropzoo.reports.dataset_card import caveats, write_dataset_card
from cropzoo.reports.dataset_map import MapBuilder
from cropzoo.reports.patches import safe_color
from cropzoo.reports.render import make_environment
from cropzoo.reports.thumbnails import Thumbnail, shares, spread, thumbnail

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


MOST_THUMBNAILS = 48

_GROUPS = ("#2f8f62", "#d08a1d", "#4a78c2", "#b8456f", "#7f8f2a", "#2f98a6", "#8a63b8", "#a5653a")
"""Colors of splits or folds; a ninth takes the first again."""

_APART = ("title", "notes", "rotations", "citation")
"""Facts that are not listed: they stand elsewhere on the page, or in the card alone."""


def write_quicklook(
    path: Path,
    dataset: Dataset,
    splits: Sequence[str],
    title: str,
    facts: Mapping[str, Any],
    patches: Mapping[str, str] = MappingProxyType({}),
    *,
    advance: ProgressCallback | None = None,
) -> DatasetDescription:
    """Write the page; every sample is read once, one at a time.

    Args:
        path: the file; what stood there is replaced as a whole.
        dataset: as opened.
        splits: names of its splits.
        title: of the page.
        facts: how it was made. `notes` are sentences that the reader must know; all else is listed by name.
        patches: by a sample's name, the group that colors its window, such as "fold 1"; its split where it has none.
        advance: called after every sample.

    Returns:
        What the dataset holds, counted on the way.

    Raises:
        CropzooError: a sample that cannot be read, or the file cannot be written.
    """
    counts = {name: len(dataset.split(name)) for name in splits}
    taken = shares(counts, MOST_THUMBNAILS)
    chosen = {name: frozenset(spread(counts[name], taken[name])) for name in splits}
    overview, thumbnails, groups = MapBuilder(), dict[str, Thumbnail](), dict[str, int]()

    def look(split: str, index: int, sample: Sample) -> None:
        group = patches.get(sample.name, split)
        groups[group] = groups.get(group, 0) + 1
        anchor = f"s{len(thumbnails)}" if index in chosen[split] else ""
        if anchor:
            thumbnails[anchor] = thumbnail(sample, dataset, group if group == split else f"{split}, {group}")
        overview.add(sample, group, anchor)

    found = describe(dataset, splits, advance=advance, visit=look)
    order = sorted(groups, key=lambda name: (len(name), name)) if patches else list(groups)
    maps, left_out = overview.maps()
    charts, fewer = timelines(found.acquisitions)
    html = make_environment().get_template("quicklook.html.j2").render(
        title=title,
        found=found,
        span=_span(found),
        groups=[(name, groups[name], _GROUPS[number % len(_GROUPS)]) for number, name in enumerate(order)],
        colors={name: _GROUPS[number % len(_GROUPS)] for number, name in enumerate(order)},
        maps=maps,
        left_out=left_out,
        placed=len(overview.windows),
        classes=_classes(found),
        counted=[split for split in found.splits if split.classes],
        charts=charts,
        fewer_tiles=fewer,
        thumbnails=thumbnails,
        all_shown=len(thumbnails) == found.samples,
        notes=caveats(found, facts),
        facts={key: value for key, value in facts.items() if key not in _APART and value not in ("", None, (), [], {})},
        version=__version__,
    )  # fmt: skip
    write_text(path, html)
    return found


def _span(found: DatasetDescription) -> tuple[str, str]:
    """First and last day of all splits; empty without a date."""
    days = [day for split in found.splits for day in (split.first, split.last) if day]
    return min(days, default=""), max(days, default="")


def _classes(found: DatasetDescription) -> list[dict[str, Any]]:
    """A row for each class: pixels by split, their share, and the length of a bar, the largest share being 1."""
    splits = [split for split in found.splits if split.classes]
    totals = [max(sum(split.classes), 1) for split in splits]
    top = max((count / total for s, total in zip(splits, totals, strict=True) for count in s.classes), default=1) or 1
    return [
        {
            "label": label,
            "color": safe_color(label.color),
            "cells": [
                {
                    "count": split.classes[index],
                    "share": split.classes[index] / total,
                    "bar": split.classes[index] / total / top,
                }
                for split, total in zip(splits, totals, strict=True)
            ],
        }
        for index, label in enumerate(found.classes)
    ]


def write_pages(zoo: Zoo, folder: Path, advance: ProgressCallback | None = None) -> DatasetDescription:
    """Write quicklook.html and README.md of a prepared dataset; returns what they tell.

    Args:
        zoo: offers the dataset that reads the layout.
        folder: of the dataset.
        advance: takes (samples read, samples in all).

    Raises:
        CropzooError: the dataset cannot be read, or the pages cannot be written.
    """
    options = dataset_at(str(folder))
    name = options.pop("name")
    dataset, layout = open_dataset(zoo, name, options), Layout(folder)
    splits = [split for split in zoo.datasets[name].spec.splits if len(dataset.split(split))]
    facts = {
        **(layout.made_from or {}),
        "rotations": layout.rotations,
        "license": layout.license,
        "citation": layout.citation,
    }
    groups = {patch.id: f"fold {patch.fold}" for patch in layout.patches}
    description = write_quicklook(
        folder / "quicklook.html", dataset, splits, folder.resolve().name, facts, groups, advance=advance
    )
    write_dataset_card(folder / "README.md", description, facts)
    return description
