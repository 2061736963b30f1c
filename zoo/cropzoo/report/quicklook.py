"""quicklook.html: a dataset in one file that opens without a network: where, what, when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cropzoo import __version__
from cropzoo.describing import Advance, DatasetDescription, describe
from cropzoo.files import write_text
from cropzoo.report.caveats import caveats
from cropzoo.report.choosing import shares, spread
from cropzoo.report.overview import Overview
from cropzoo.report.panels import safe_colour
from cropzoo.report.templates import environment
from cropzoo.report.thumbnails import Thumbnail, thumbnail
from cropzoo.report.timeline import timelines
from cropzoo.samples import Dataset, Sample

MOST_THUMBNAILS = 48

_GROUPS = ("#2f8f62", "#d08a1d", "#4a78c2", "#b8456f", "#7f8f2a", "#2f98a6", "#8a63b8", "#a5653a")
"""Colours of splits or folds; a ninth takes the first again."""

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
    advance: Advance | None = None,
) -> DatasetDescription:
    """Write the page; every sample is read once, one at a time.

    Args:
        path: the file; what stood there is replaced as a whole.
        dataset: as opened.
        splits: names of its splits.
        title: of the page.
        facts: how it was made. `notes` are sentences that the reader must know; all else is listed by name.
        patches: by a sample's name, the group that colours its window, such as "fold 1"; its split where it has none.
        advance: called after every sample.

    Returns:
        What the dataset holds, counted on the way.

    Raises:
        CropzooError: a sample that cannot be read, or the file cannot be written.
    """
    counts = {name: len(dataset.split(name)) for name in splits}
    taken = shares(counts, MOST_THUMBNAILS)
    chosen = {name: frozenset(spread(counts[name], taken[name])) for name in splits}
    overview, thumbnails, groups = Overview(), dict[str, Thumbnail](), dict[str, int]()

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
    html = environment().get_template("quicklook.html.j2").render(
        title=title,
        found=found,
        span=_span(found),
        groups=[(name, groups[name], _GROUPS[number % len(_GROUPS)]) for number, name in enumerate(order)],
        colours={name: _GROUPS[number % len(_GROUPS)] for number, name in enumerate(order)},
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
            "colour": safe_colour(label.colour),
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
