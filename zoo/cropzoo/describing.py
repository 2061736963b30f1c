"""What a dataset holds: counted sample by sample, for `cropzoo show`, the quicklook and the card."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.descriptions import Acquisition, DatasetDescription, SplitDescription
from cropzoo.samples import Dataset, Sample
from cropzoo.statistics import class_counts

__all__ = ["DatasetDescription", "describe", "folder_size", "iso_day", "tile_of"]

Advance = Callable[[int, int], None]
"""Takes (samples done, samples in all)."""

Visit = Callable[[str, int, Sample], None]
"""Takes the split, the position in it and the sample."""


def describe(
    dataset: Dataset,
    splits: Sequence[str],
    *,
    read: bool = True,
    advance: Advance | None = None,
    visit: Visit | None = None,
) -> DatasetDescription:
    """What a dataset holds, each sample read once and forgotten: its labels, dates and cloud mask, not its images.

    Args:
        dataset: as opened.
        splits: names of its splits.
        read: False counts samples and reads none.
        advance: called after every sample.
        visit: called with every sample that is read, for what else wants to see them all.

    Raises:
        UnknownName: for a split that the dataset does not have.
        CropzooError: a sample that cannot be read, or a label that is no class.
    """
    opened = {name: dataset.split(name) for name in splits}
    total = sum(len(samples) for samples in opened.values())
    common, found, done = _Common(), [], 0
    for name, samples in opened.items():
        own = _Split(name, len(samples), len(dataset.classes))
        for index in range(len(samples) if read else 0):
            sample = samples[index]
            clear = None if sample.clear is None else np.asarray(sample.clear).mean(axis=(1, 2))
            own.add(sample, clear)
            common.add(sample, clear)
            if visit is not None:
                visit(name, index, sample)
            done += 1
            if advance is not None:
                advance(done, total)
        found.append(own.described())
    return DatasetDescription(
        bands=tuple(dataset.bands),
        scale=dataset.scale,
        # Some datasets compute these from all their training pixels when they are first asked for.
        mean=tuple(dataset.mean) if read else (),
        std=tuple(dataset.std) if read else (),
        stored=", ".join(sorted(common.stored)),
        classes=tuple(dataset.classes),
        label_scale=max(common.label_scales, default=None),
        sizes=tuple((*size, count) for size, count in common.sizes.most_common()),
        crs=tuple(sorted(common.crs)),
        citation=dataset.citation,
        splits=tuple(found),
        acquisitions=common.acquisitions(),
    )


def tile_of(sample: Sample) -> str:
    """What samples on one map share: the tile that the place names, else its CRS; empty without a place."""
    return str(sample.place.get("tile") or sample.place.get("crs") or "")


def iso_day(day: int) -> str:
    """A date of `Sample.dates` as "YYYY-MM-DD"."""
    return str(np.datetime64(int(day), "D"))


def folder_size(folder: Path) -> tuple[int, int]:
    """Number and bytes of all files below a folder; links are counted, not followed into."""
    files = size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            files += 1
            size += (Path(parent) / name).lstat().st_size
    return files, size


@dataclass
class _Split:
    """Sums over the samples of one split."""

    name: str
    samples: int
    known: int
    pixels: int = 0
    labelled: NDArray[np.int64] | None = None
    lengths: list[int] = field(default_factory=list)
    days: tuple[int, int] | None = None
    clear: float = 0.0
    clear_weight: int = 0

    def add(self, sample: Sample, clear: NDArray[Any] | None) -> None:
        height, width = sample.series.shape[2:]
        self.pixels += height * width if sample.labels is None else sample.labels.size
        if sample.labels is not None:
            counts = class_counts([sample], self.known)
            self.labelled = counts if self.labelled is None else self.labelled + counts
        self.lengths.append(len(sample.dates))
        if len(sample.dates):
            first, last = int(sample.dates[0]), int(sample.dates[-1])
            low, high = self.days or (first, last)
            self.days = min(low, first), max(high, last)
        if clear is not None:
            self.clear += float(clear.sum()) * height * width
            self.clear_weight += clear.size * height * width

    def described(self) -> SplitDescription:
        if not self.lengths:
            return SplitDescription(self.name, self.samples)
        first, last = ("", "") if self.days is None else map(iso_day, self.days)
        return SplitDescription(
            name=self.name,
            samples=self.samples,
            pixels=self.pixels,
            classes=() if self.labelled is None else tuple(self.labelled.tolist()),
            dates=(min(self.lengths), float(np.median(self.lengths)), max(self.lengths)),
            first=first,
            last=last,
            clear=self.clear / self.clear_weight if self.clear_weight else None,
        )


@dataclass
class _Common:
    """What is gathered over all splits."""

    stored: set[str] = field(default_factory=set)
    label_scales: set[int] = field(default_factory=set)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    crs: set[str] = field(default_factory=set)
    seen: dict[str, dict[int, list[float]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, sample: Sample, clear: NDArray[Any] | None) -> None:
        height, width = sample.series.shape[2:]
        self.stored.add(str(sample.series.dtype))
        self.sizes[height, width] += 1
        if sample.labels is not None:
            self.label_scales.add(sample.label_scale)
        if sample.place:
            self.crs.add(str(sample.place.get("crs", "")))
        tile = self.seen[tile_of(sample)]
        for position, day in enumerate(sample.dates.tolist()):
            sums = tile.setdefault(day, [0, 0.0, 0])  # samples, clear pixels, pixels under a mask
            sums[0] += 1
            if clear is not None:
                sums[1] += float(clear[position]) * height * width
                sums[2] += height * width

    def acquisitions(self) -> dict[str, tuple[Acquisition, ...]]:
        return {
            tile: tuple(
                Acquisition(iso_day(day), clear / pixels if pixels else None, int(samples))
                for day, (samples, clear, pixels) in sorted(days.items())
            )
            for tile, days in sorted(self.seen.items())
        }
