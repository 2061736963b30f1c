"""Subsets of a dataset: seasons and sites, classes of a model, and series that end early."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.dates import Day, count_until
from cropzoo.data.sample import IGNORE, Dataset, LabelClass, Sample
from cropzoo.data.statistics import Statistics, band_statistics, class_counts
from cropzoo.errors import CropzooError, UsageError

_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class Subset(Sequence[Sample]):
    """Some samples of a split, read lazily.

    Args:
        samples: all samples of the split.
        numbers: indices of those in the subset.
    """

    samples: Sequence[Sample]
    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, item: Any) -> Any:
        """A sample, or a list of them for a slice."""
        if isinstance(item, slice):
            return [self.samples[number] for number in self.numbers[item]]
        return self.samples[self.numbers[item]]


def season_of(sample: Sample) -> int:
    """The year of a sample's last date: a series from one autumn to the next belongs to the harvest at its end."""
    return int(np.datetime64(int(sample.dates[-1]), "D").astype("datetime64[Y]").astype(int)) + 1970


def site_of(sample: Sample) -> str:
    """The site of a sample: the tile of its place, else its name up to the first "/"."""
    return str(sample.place.get("tile") or sample.name.partition("/")[0])


def select_samples(
    samples: Sequence[Sample], split: str, years: Sequence[int], sites: Sequence[str]
) -> Sequence[Sample]:
    """Select the samples of some seasons and sites.

    Args:
        samples: samples of a split; each is read once if years or sites are given.
        split: name of the split, for messages.
        years: seasons, see `season_of`; all if empty.
        sites: names of sites or patterns with `*` and `?`, see `site_of`; all if empty.

    Raises:
        UsageError: no sample is selected.
    """
    if not years and not sites:
        return samples
    kept, seen = [], set()
    for number in range(len(samples)):
        sample = samples[number]
        year, site = season_of(sample), site_of(sample)
        seen.add((year, site))
        if (not years or year in years) and (not sites or any(fnmatchcase(site, each) for each in sites)):
            kept.append(number)
    if not kept:
        asked = [f"years {', '.join(map(str, years))}"] * bool(years) + [f"sites {', '.join(sites)}"] * bool(sites)
        found = "; ".join(f"{site} in {year}" for year, site in sorted(seen)[:20])
        raise UsageError(f"split {split!r} of {' and '.join(asked)}; it has no such sample; available: {found}")
    return Subset(samples, tuple(kept))


@dataclass(frozen=True)
class RelabeledSamples(Sequence[Sample]):
    """Samples with labels mapped by a table.

    Args:
        samples: samples of a dataset.
        table: (256,), uint8, new label of each label of the dataset; see `label_table`.
        classes: number of classes of the dataset.
    """

    samples: Sequence[Sample]
    table: NDArray[np.uint8]
    classes: int

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, item: Any) -> Any:
        """A sample, or a list of them for a slice; `CropzooError` for a label that is not a class."""
        if isinstance(item, slice):
            return [self[number] for number in range(*item.indices(len(self)))]
        sample = self.samples[item]
        if sample.labels is None:
            return sample
        labels = np.asarray(sample.labels)
        wrong = labels[(labels != IGNORE) & ((labels < 0) | (labels >= self.classes))]
        if wrong.size:
            raise CropzooError(
                f"sample {sample.name!r} has label {int(wrong[0])!r}; expected labels in [0, {self.classes - 1}] "
                f"or {IGNORE} (ignore); fix the label raster"
            )
        return replace(sample, labels=self.table[labels])


def label_table(classes: Sequence[LabelClass], wanted: Sequence[LabelClass]) -> NDArray[np.uint8]:
    """Table from labels of `classes` to labels of `wanted`, matched by name, (256,); other classes become 255."""
    index = {label.name: number for number, label in enumerate(wanted)}
    table = np.full(256, IGNORE, np.uint8)
    for number, label in enumerate(classes):
        table[number] = index.get(label.name, IGNORE)
    return table


class TruncatedSamples(Sequence[Sample]):
    """Samples without their dates after a day.

    Args:
        samples: samples of a split.
        day: last day that is kept; without a year, in the year in which a sample's series ends.
    """

    def __init__(self, samples: Sequence[Sample], day: Day) -> None:
        self.samples, self.day = samples, day

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: Any) -> Any:
        sample = self.samples[number]
        return sample.take_dates(np.arange(count_until(sample.dates, self.day)))


class RestrictedDataset(Dataset):
    """A dataset with the statistics and classes of some of its training samples.

    Labels of classes that these samples lack are ignored in every split.

    Args:
        base: the complete dataset.
        classes: classes of the samples.
        statistics: mean and standard deviation of the samples.
    """

    def __init__(self, base: Dataset, classes: tuple[LabelClass, ...], statistics: Statistics) -> None:
        self.bands, self.scale, self.citation = base.bands, base.scale, base.citation
        self.classes, (self.mean, self.std) = classes, statistics
        self.clear_scl, self.offset = getattr(base, "clear_scl", None), getattr(base, "offset", None)
        self._base = base

    def split(self, name: str) -> Sequence[Sample]:
        """The samples of a split, of all seasons and sites."""
        samples, known = self._base.split(name), self._base.classes
        return RelabeledSamples(samples, label_table(known, self.classes), len(known)) if known else samples


def restrict_dataset(dataset: Dataset, samples: Sequence[Sample]) -> RestrictedDataset:
    """Restrict a dataset's statistics and classes to some training samples; warn about classes that they lack.

    Each sample is read once for its series and once for its labels.

    Raises:
        CropzooError: no pixel of the samples is labeled, though the dataset has classes, or no pixel is clear.
    """
    classes = tuple(dataset.classes)
    if classes:
        pixels = class_counts(samples, len(classes))
        if not pixels.any():
            raise CropzooError("the selected seasons and sites have no labeled training pixel; select others")
        classes = tuple(label for label, count in zip(classes, np.asarray(pixels), strict=True) if count)
    missing = [label.name for label in dataset.classes if label not in classes]
    if missing:
        _log.warning(
            "classes without a training pixel in the selected seasons and sites are ignored: %s", ", ".join(missing)
        )
    return RestrictedDataset(dataset, classes, band_statistics(samples, dataset.scale))
