"""What a dataset holds: counted sample by sample, for `cropzoo show`, the quicklook and the card."""

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
    """One split. What needs samples is None, or empty, where they were not read or there are none.

    Args:
        name: of the split.
        samples: how many it has.
        pixels: of the labels, ignored ones included; of the images where nothing is labeled.
        classes: labeled pixels by class, in the order of the dataset's classes; empty without labels.
        dates: the fewest, the median and the most dates of a sample.
        first, last: the first and the last day, "YYYY-MM-DD".
        clear: share of clear pixels over all dates; None where there is no cloud mask.
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
        """Pixels that no loss and no score looks at; None without labels."""
        return self.pixels - sum(self.classes) if self.classes and self.pixels is not None else None


@dataclass(frozen=True)
class Acquisition:
    """One day over one tile: share of clear pixels (None without a cloud mask), and how many samples have that day."""

    day: str
    clear: float | None
    samples: int


@dataclass(frozen=True)
class DatasetDescription:
    """What there is to tell of a dataset; every field is plain data.

    Args:
        bands: names in order; `mean` and `std` of their scaled values, empty where no sample was read.
        scale: reflectance of one stored unit.
        stored: type of the stored numbers, such as "uint16".
        classes: by label index.
        label_scale: how many times finer than the images the labels are; None without labels.
        sizes: (height, width, samples), the most frequent first.
        crs: of the samples that say where they lie.
        citation: who made the data.
        splits: in the order that was asked for.
        acquisitions: by tile, by day; the tile is the CRS where samples name none, empty where they have no place.
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
    acquisitions: Mapping[str, tuple[Acquisition, ...]]

    @property
    def samples(self) -> int:
        """How many samples all splits have."""
        return sum(split.samples for split in self.splits)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        return asdict(self)


__all__ = ["DatasetDescription", "describe", "folder_size", "iso_day", "tile_of"]


Visit = Callable[[str, int, Sample], None]
"""Takes the split, the position in it and the sample."""


def describe(
    dataset: Dataset,
    splits: Sequence[str],
    *,
    read: bool = True,
    advance: ProgressCallback | None = None,
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

    def described(self) -> SplitDescription:
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
