"""Samples of some seasons and sites, for transfer from one year or place to another."""

from __future__ import annotations

import hashlib
import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.config.recipe import Recipe
from cropzoo.data.sample import IGNORE, Dataset, LabelClass, Sample
from cropzoo.data.statistics import Statistics, band_statistics, class_counts
from cropzoo.errors import CropzooError, UsageError


@dataclass(frozen=True)
class Chosen(Sequence[Sample]):
    """Some samples of a split, read when asked for."""

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
    """The year of its last date: a series from one autumn to the next belongs to the harvest at its end."""
    return int(np.datetime64(int(sample.dates[-1]), "D").astype("datetime64[Y]").astype(int)) + 1970


def site_of(sample: Sample) -> str:
    """Where it is from: the tile that its place names, else its name up to the first "/"."""
    return str(sample.place.get("tile") or sample.name.partition("/")[0])


def choose_for(recipe: Recipe, samples: Sequence[Sample], split: str) -> Sequence[Sample]:
    """The samples of a split in the recipe's seasons and sites: its `test_*` for test, its `train_*` for others."""
    if split == "test":
        return choose(samples, split, recipe.test_years, recipe.test_sites)
    return choose(samples, split, recipe.train_years, recipe.train_sites)


def choose(samples: Sequence[Sample], split: str, years: Sequence[int], sites: Sequence[str]) -> Sequence[Sample]:
    """The samples of these seasons and sites; all where none are named.

    Args:
        samples: of a split; each is opened once if there is something to choose.
        split: its name, for messages.
        years: see `season_of`.
        sites: names or patterns with `*` and `?`; see `site_of`.

    Raises:
        UsageError: when nothing is left, with what there is.
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
        raise UsageError(f"split {split!r} of {' and '.join(asked)}; it has no such sample; it has: {found}")
    return Chosen(samples, tuple(kept))


@dataclass(frozen=True)
class SubsampledLabels(Sequence[Sample]):
    """Samples whose labels are ignored outside the chosen parcels; series and parcels stay whole.

    Args:
        samples: of the training split.
        kept: parcel ids by number of the sample, ascending; 0 is the ground outside parcels.
    """

    samples: Sequence[Sample]
    kept: dict[int, NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, item: Any) -> Any:
        """A sample, or a list of them for a slice."""
        if isinstance(item, slice):
            return [self[number] for number in range(*item.indices(len(self)))]
        number = range(len(self))[item]
        sample = self.samples[number]
        if sample.labels is None or sample.parcels is None:
            return sample
        known = np.isin(np.asarray(sample.parcels), self.kept.get(number, np.zeros(0, np.int64)))
        return replace(sample, labels=np.where(known, sample.labels, IGNORE).astype(np.asarray(sample.labels).dtype))


def subsample_labels(samples: Sequence[Sample], fraction: float, seed: int) -> Sequence[Sample]:
    """The samples with the labels of this share of the parcels of each class, at least one of each.

    A parcel's class is that of most of its labeled pixels. Labeled ground outside parcels counts as one parcel for
    each sample. A parcel that two samples show counts as two. A larger share keeps what a smaller one keeps.

    Args:
        samples: of the training split; every label is read once, unless the fraction is 1.
        fraction: above 0 to 1.
        seed: another one chooses other parcels.

    Raises:
        UsageError: for a dataset without parcel ids.
    """
    if fraction == 1:
        return samples
    by_class: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number in range(len(samples)):
        for parcel, label in _classes(samples[number]):
            by_class[label].append((number, parcel))
    kept: dict[int, list[int]] = defaultdict(list)
    for parcels in by_class.values():
        ranked = sorted(parcels, key=lambda parcel: _rank(seed, *parcel))
        for number, parcel in ranked[: math.ceil(fraction * len(ranked))]:
            kept[number].append(parcel)
    return SubsampledLabels(samples, {number: np.array(sorted(ids), np.int64) for number, ids in kept.items()})


def _classes(sample: Sample) -> Iterator[tuple[int, int]]:
    """(parcel id, class) of every parcel of a sample that has a label."""
    if sample.labels is None:
        return
    if sample.parcels is None:
        raise UsageError(
            f"a label_fraction below 1; sample {sample.name!r} has no parcel ids, and parcels are what is left out; "
            "use a dataset with them, or label_fraction=1"
        )
    labels = np.asarray(sample.labels).ravel().astype(np.int64)
    parcels = np.asarray(sample.parcels).ravel().astype(np.int64)
    known = labels != IGNORE
    pairs, pixels = np.unique(np.stack([parcels[known], labels[known]]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -pixels, pairs[0]))  # by parcel, the class of most pixels first
    ids, first = np.unique(pairs[0][order], return_index=True)
    yield from zip(ids.tolist(), pairs[1][order][first].tolist(), strict=True)


def _rank(seed: int, number: int, parcel: int) -> bytes:
    """Where a parcel stands in a random order that is the same on every machine."""
    return hashlib.sha256(f"{seed}/{number}/{parcel}".encode()).digest()


@dataclass(frozen=True)
class Relabeled(Sequence[Sample]):
    """Samples whose labels are sent through a table.

    Args:
        samples: of the data.
        table: the wanted label of each label of the data, (256,), uint8; see `label_table`.
        classes: how many the data have.
    """

    samples: Sequence[Sample]
    table: NDArray[np.uint8]
    classes: int

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, item: Any) -> Any:
        """A sample, or a list of them for a slice; `CropzooError` for a label that is no class."""
        if isinstance(item, slice):
            return [self[number] for number in range(*item.indices(len(self)))]
        sample = self.samples[item]
        if sample.labels is None:
            return sample
        labels = np.asarray(sample.labels)
        wrong = labels[(labels != IGNORE) & ((labels < 0) | (labels >= self.classes))]
        if wrong.size:
            raise CropzooError(
                f"sample {sample.name!r} has label {int(wrong[0])!r}; labels are 0 to {self.classes - 1}, "
                f"or {IGNORE} to ignore a pixel; mend its labels"
            )
        return replace(sample, labels=self.table[labels])


def label_table(classes: Sequence[LabelClass], wanted: Sequence[LabelClass]) -> NDArray[np.uint8]:
    """From indices of `classes` to those of `wanted`, by name, (256,); classes that are not wanted are ignored."""
    index = {label.name: number for number, label in enumerate(wanted)}
    table = np.full(256, IGNORE, np.uint8)
    for number, label in enumerate(classes):
        table[number] = index.get(label.name, IGNORE)
    return table


_log = logging.getLogger("cropzoo")


class Narrowed(Dataset):
    """A dataset with statistics and classes of some training samples.

    Labels of classes that these don't show are ignored in every split.

    Args:
        whole: the dataset.
        classes: those that the samples show.
        statistics: mean and deviation of the samples.
    """

    def __init__(self, whole: Dataset, classes: tuple[LabelClass, ...], statistics: Statistics) -> None:
        self.bands, self.scale, self.citation = whole.bands, whole.scale, whole.citation
        self.classes, (self.mean, self.std) = classes, statistics
        self._whole = whole

    def split(self, name: str) -> Sequence[Sample]:
        """The samples of one split, all seasons and sites."""
        samples, known = self._whole.split(name), self._whole.classes
        return Relabeled(samples, label_table(known, self.classes), len(known)) if known else samples


def narrow(dataset: Dataset, samples: Sequence[Sample]) -> Narrowed:
    """The dataset as these training samples alone show it; classes without a pixel among them are named.

    Each sample is read once for its series and once for its labels.

    Raises:
        CropzooError: when none of their pixels is labeled, though the data have classes, or none is clear.
    """
    classes = tuple(dataset.classes)
    if classes:
        pixels = class_counts(samples, len(classes))
        if not pixels.any():
            raise CropzooError("the chosen seasons and sites have no labeled training pixel; choose others")
        classes = tuple(label for label, count in zip(classes, np.asarray(pixels), strict=True) if count)
    missing = [label.name for label in dataset.classes if label not in classes]
    if missing:
        _log.warning("no training pixel in the chosen seasons and sites, so ignored everywhere: %s", ", ".join(missing))
    return Narrowed(dataset, classes, band_statistics(samples, dataset.scale))
