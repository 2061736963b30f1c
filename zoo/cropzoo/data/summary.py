"""Summary of a dataset's samples, for `cropzoo show`, the quicklook page and the dataset card."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import Dataset, LabelClass, Sample
from cropzoo.data.statistics import class_counts
from cropzoo.io import ProgressCallback


@dataclass(frozen=True)
class SplitDescription:
    """Summary of one split. Fields that depend on samples are None or empty if no sample was read.

    Args:
        name: Name of the split.
        samples: Number of samples.
        pixels: Number of label pixels, including ignored ones; of image pixels if there are no labels.
        classes: Labeled pixels of each class, in the order of the dataset's classes; empty without labels.
        dates: Minimum, median and maximum number of dates of a sample.
        first, last: First and last day, "YYYY-MM-DD".
        clear: Share of clear pixels over all dates; None without cloud masks.
    """

    name: str
    samples: int
    pixels: int | None = None
    classes: tuple[int, ...] = ()
    dates: tuple[int, float, int] | None = None
    first: str = ""
    last: str = ""
    clear: float | None = None

    @property
    def ignored(self) -> int | None:
        """Number of ignored pixels; None without labels."""
        return self.pixels - sum(self.classes) if self.classes and self.pixels is not None else None


@dataclass(frozen=True)
class AcquisitionSummary:
    """Images of one tile on one day.

    Args:
        day: Day, "YYYY-MM-DD".
        clear: Share of clear pixels; None without cloud masks.
        samples: Number of samples with that day.
    """

    day: str
    clear: float | None
    samples: int


@dataclass(frozen=True)
class DatasetDescription:
    """Summary of a dataset; all fields are plain data.

    Args:
        bands: Names of the bands in order.
        scale: Reflectance of one stored unit.
        mean, std: Statistics of the scaled values of each band; empty if no sample was read.
        stored: Data type of the stored values, such as "uint16".
        classes: Classes by label index.
        label_scale: Ratio of the label resolution to the image resolution; None without labels.
        sizes: (height, width, number of samples), most frequent first.
        crs: CRS of the georeferenced samples.
        citation: Citation of the data.
        splits: Splits in the requested order.
        acquisitions: Acquisitions of each tile by day. The tile is the CRS if samples name no tile, and "" if they are
            not georeferenced.
    """

    bands: tuple[str, ...]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    stored: str
    classes: tuple[LabelClass, ...]
    label_scale: int | None
    sizes: tuple[tuple[int, int, int], ...]
    crs: tuple[str, ...]
    citation: str
    splits: tuple[SplitDescription, ...]
    acquisitions: Mapping[str, tuple[AcquisitionSummary, ...]]

    @property
    def samples(self) -> int:
        """Number of samples in all splits."""
        return sum(split.samples for split in self.splits)

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, for `--json`."""
        return asdict(self)


Visit = Callable[[str, int, Sample], None]
"""Function of the split, the position in the split and the sample."""


def describe_dataset(
    dataset: Dataset,
    splits: Sequence[str],
    *,
    read: bool = True,
    advance: ProgressCallback | None = None,
    visit: Visit | None = None,
) -> DatasetDescription:
    """Summarize a dataset: read labels, dates and cloud mask of each sample once, but not its images.

    Args:
        dataset: Dataset to summarize.
        splits: Names of its splits.
        read: Whether to read samples; False only counts them.
        advance: Function that is called after each sample.
        visit: Function that is called with each sample that is read.

    Raises:
        UnknownName: The dataset has no such split.
        CropzooError: A sample cannot be read, or a label is not a class.
    """
    opened = {name: dataset.split(name) for name in splits}
    total = sum(len(samples) for samples in opened.values())
    common, found, done = _DatasetTotals(), [], 0
    for name, samples in opened.items():
        totals = _SplitTotals(name, len(samples), len(dataset.classes))
        for index in range(len(samples) if read else 0):
            sample = samples[index]
            clear = None if sample.clear is None else np.asarray(sample.clear).mean(axis=(1, 2))
            totals.add(sample, clear)
            common.add(sample, clear)
            if visit is not None:
                visit(name, index, sample)
            done += 1
            if advance is not None:
                advance(done, total)
        found.append(totals.to_description())
    return DatasetDescription(
        bands=tuple(dataset.bands),
        scale=dataset.scale,
        # Some datasets compute these from all training pixels on first access.
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
    """Return the tile of a sample, or its CRS if it names no tile; "" if it is not georeferenced."""
    return str(sample.place.get("tile") or sample.place.get("crs") or "")


def iso_day(day: int) -> str:
    """Format a date of `Sample.dates` as "YYYY-MM-DD"."""
    return str(np.datetime64(int(day), "D"))


def folder_size(folder: Path) -> tuple[int, int]:
    """Return the number and total size in bytes of all files below a folder; links are not followed."""
    files = size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            files += 1
            size += (Path(parent) / name).lstat().st_size
    return files, size


@dataclass
class _SplitTotals:
    """Totals over the samples of one split."""

    name: str
    samples: int
    known: int
    pixels: int = 0
    labeled: NDArray[np.int64] | None = None
    lengths: list[int] = field(default_factory=list)
    days: tuple[int, int] | None = None
    clear: float = 0.0
    clear_weight: int = 0

    def add(self, sample: Sample, clear: NDArray[Any] | None) -> None:
        height, width = sample.series.shape[2:]
        self.pixels += height * width if sample.labels is None else sample.labels.size
        if sample.labels is not None:
            counts = class_counts([sample], self.known)
            self.labeled = counts if self.labeled is None else self.labeled + counts
        self.lengths.append(len(sample.dates))
        if len(sample.dates):
            first, last = int(sample.dates[0]), int(sample.dates[-1])
            low, high = self.days or (first, last)
            self.days = min(low, first), max(high, last)
        if clear is not None:
            self.clear += float(clear.sum()) * height * width
            self.clear_weight += clear.size * height * width

    def to_description(self) -> SplitDescription:
        if not self.lengths:
            return SplitDescription(self.name, self.samples)
        first, last = ("", "") if self.days is None else map(iso_day, self.days)
        return SplitDescription(
            name=self.name,
            samples=self.samples,
            pixels=self.pixels,
            classes=() if self.labeled is None else tuple(self.labeled.tolist()),
            dates=(min(self.lengths), float(np.median(self.lengths)), max(self.lengths)),
            first=first,
            last=last,
            clear=self.clear / self.clear_weight if self.clear_weight else None,
        )


@dataclass
class _DatasetTotals:
    """Totals over the samples of all splits."""

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

    def acquisitions(self) -> dict[str, tuple[AcquisitionSummary, ...]]:
        return {
            tile: tuple(
                AcquisitionSummary(iso_day(day), clear / pixels if pixels else None, int(samples))
                for day, (samples, clear, pixels) in sorted(days.items())
            )
            for tile, days in sorted(self.seen.items())
        }
