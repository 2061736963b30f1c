"""quicklook.html: a dataset in one file that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib.dates
from markupsafe import Markup

from cropzoo import __version__
from cropzoo.config.short_forms import dataset_at
from cropzoo.data.open import open_dataset
from cropzoo.data.pastis.reader import PastisFolder
from cropzoo.data.sample import Dataset, Sample
from cropzoo.data.summary import AcquisitionSummary, DatasetDescription, describe_dataset
from cropzoo.io import ProgressCallback, write_text
from cropzoo.plugins.registry import Zoo
from cropzoo.reports.charts import chart_style, css_color, new_axes, to_svg
from cropzoo.reports.dataset_card import EMPTY, list_limitations, write_dataset_card
from cropzoo.reports.dataset_map import MapBuilder
from cropzoo.reports.patches import safe_color
from cropzoo.reports.render import make_environment
from cropzoo.reports.thumbnails import Thumbnail, allocate, make_thumbnail, spread

_DATES: Any = matplotlib.dates
"""The module, whose functions have no types."""

MAX_THUMBNAILS = 48

_GROUP_COLORS = ("#2f8f62", "#d08a1d", "#4a78c2", "#b8456f", "#7f8f2a", "#2f98a6", "#8a63b8", "#a5653a")
"""Colors of splits or folds, used again from the ninth on."""

_UNLISTED = ("title", "notes", "rotations", "citation")
"""Facts that are shown elsewhere on the page, or only on the card."""

_MAX_TIMELINES = 12
"""Tiles whose dates are drawn."""

_WIDTH, _HEIGHT = 1000, 120
_LEFT, _RIGHT = 54, 10
_LEAST_BAR = 0.02
"""Height of the bar of a day without a clear pixel, so that the day is seen."""


@dataclass(frozen=True)
class Timeline:
    """The dates of one tile.

    Args:
        title: Name of the tile.
        days: Tooltip of each bar: its date, share of clear pixels and number of samples.
        has_clear: Whether the height of a bar is the share of clear pixels.
        mean: Mean share of clear pixels over the dates of all samples; None without cloud masks.
        drawing: Content of the `svg` element.
        width: Width of the drawing's coordinate system.
        height: Height of the drawing's coordinate system.
    """

    title: str
    days: tuple[str, ...]
    has_clear: bool
    mean: float | None
    drawing: Markup
    width: int = _WIDTH
    height: int = _HEIGHT


def draw_timelines(acquisitions: Mapping[str, Sequence[AcquisitionSummary]]) -> tuple[list[Timeline], int]:
    """A timeline of each tile, all over the same period, and the number of tiles that are left out."""
    days = [date.fromisoformat(each.day) for found in acquisitions.values() for each in found]
    if not days:
        return [], 0
    period = min(days), max(days)
    shown = sorted(acquisitions.items(), key=lambda item: (-len(item[1]), item[0]))[:_MAX_TIMELINES]
    return [_draw_timeline(tile, found, *period) for tile, found in shown], len(acquisitions) - len(shown)


def _draw_timeline(tile: str, found: Sequence[AcquisitionSummary], first: date, last: date) -> Timeline:
    known = [(each.clear, each.samples) for each in found if each.clear is not None]
    span = max((last - first).days, 1)
    thickness = min(5.0, max(1.0, 0.6 * (_WIDTH - _LEFT - _RIGHT) / max(len(found), span / 5)))  # pixels
    tooltips = {f"bar-{number}": _tooltip(each) for number, each in enumerate(found)}
    with chart_style():
        axes = new_axes(_WIDTH, _HEIGHT, left=_LEFT, right=_RIGHT, top=10, bottom=28)
        margin = 4 / (_WIDTH - _LEFT - _RIGHT) * span
        axes.set_xlim(_DATES.date2num(first) - margin, _DATES.date2num(first) + span + margin)
        axes.set_ylim(0, 1)
        bars = axes.bar(
            [_DATES.date2num(date.fromisoformat(each.day)) for each in found],
            [1.0 if each.clear is None else max(each.clear, _LEAST_BAR) for each in found],
            width=thickness / (_WIDTH - _LEFT - _RIGHT) * (span + 2 * margin),
            color=css_color("accent"),
        )
        for gid, bar in zip(tooltips, bars, strict=True):
            bar.set_gid(gid)
        locator = _DATES.AutoDateLocator(minticks=6, maxticks=14)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(_DATES.ConciseDateFormatter(locator))
        axes.set_yticks(*(([0, 1], ["0 %", "100 %"]) if known else ([0], [""])))
        drawing = to_svg(axes, f"timeline {tile}", tooltips)
    return Timeline(
        title=tile,
        days=tuple(tooltips.values()),
        has_clear=bool(known),
        mean=sum(clear * many for clear, many in known) / sum(many for _, many in known) if known else None,
        drawing=drawing,
    )


def _tooltip(acquisition: AcquisitionSummary) -> str:
    clear = "" if acquisition.clear is None else f": {100 * acquisition.clear:.0f} % clear"
    return f"{acquisition.day}{clear}, {acquisition.samples} sample{'s' if acquisition.samples != 1 else ''}"


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
    """Write the page. Every sample is read once, one at a time.

    Args:
        path: Path of the file, which is replaced.
        dataset: The dataset.
        splits: Names of its splits.
        title: Title of the page.
        facts: Provenance. `notes` are limitations as sentences; all others are listed by name.
        patches: Group of a sample, such as "fold 1", by its name. Default: its split.
        advance: Called after every sample.

    Returns:
        Description of the dataset.

    Raises:
        CropzooError: If a sample cannot be read, or if the file cannot be written.
    """
    counts = {name: len(dataset.split(name)) for name in splits}
    taken = allocate(counts, MAX_THUMBNAILS)
    chosen = {name: frozenset(spread(counts[name], taken[name])) for name in splits}
    overview, thumbnails, groups = MapBuilder(), dict[str, Thumbnail](), dict[str, int]()

    def visit_sample(split: str, index: int, sample: Sample) -> None:
        group = patches.get(sample.name, split)
        groups[group] = groups.get(group, 0) + 1
        anchor = f"s{len(thumbnails)}" if index in chosen[split] else ""
        if anchor:
            thumbnails[anchor] = make_thumbnail(sample, dataset, group if group == split else f"{split}, {group}")
        overview.add(sample, group, anchor)

    found = describe_dataset(dataset, splits, advance=advance, visit=visit_sample)
    order = sorted(groups, key=lambda name: (len(name), name)) if patches else list(groups)
    maps, left_out = overview.build()
    charts, fewer = draw_timelines(found.acquisitions)
    html = make_environment().get_template("quicklook.html.j2").render(
        title=title,
        found=found,
        span=_span(found),
        groups=[(name, groups[name], _GROUP_COLORS[number % len(_GROUP_COLORS)]) for number, name in enumerate(order)],
        colors={name: _GROUP_COLORS[number % len(_GROUP_COLORS)] for number, name in enumerate(order)},
        maps=maps,
        left_out=left_out,
        placed=len(overview.windows),
        classes=_classes(found),
        counted=[split for split in found.splits if split.classes],
        charts=charts,
        fewer_tiles=fewer,
        thumbnails=thumbnails,
        all_shown=len(thumbnails) == found.samples,
        notes=list_limitations(found, facts),
        facts={key: value for key, value in facts.items() if key not in _UNLISTED and value not in EMPTY},
        version=__version__,
    )  # fmt: skip
    write_text(path, html)
    return found


def _span(found: DatasetDescription) -> tuple[str, str]:
    """First and last day of all splits; empty without dates."""
    days = [day for split in found.splits for day in (split.first, split.last) if day]
    return min(days, default=""), max(days, default="")


def _classes(found: DatasetDescription) -> list[dict[str, Any]]:
    """A row for each class: pixels by split, their share, and the length of a bar relative to the largest share."""
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
    """Write quicklook.html and README.md of a prepared dataset; returns its description.

    Args:
        zoo: Zoo with the dataset that reads the layout.
        folder: Folder of the dataset.
        advance: Called with (samples read, number of samples).

    Raises:
        CropzooError: If the dataset cannot be read, or if a page cannot be written.
    """
    options = dataset_at(str(folder))
    name = options.pop("name")
    dataset, layout = open_dataset(zoo, name, options), PastisFolder(folder)
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
