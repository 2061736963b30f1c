"""Subsets of the training labels: a fraction or number of parcels, or a number of pixels of each class."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import IGNORE, Sample
from cropzoo.errors import UsageError


@dataclass(frozen=True)
class LabelSelection:
    """Which labels of the training split are used.

    Args:
        fraction: fraction of the parcels of each class, above 0 to 1; at least one parcel of each.
        parcels: maximum number of parcels of each class; None for all.
        pixels: maximum number of labeled pixels of each class, of these parcels; None for all.
    """

    fraction: float = 1.0
    parcels: int | None = None
    pixels: int | None = None


def subsample_labels(samples: Sequence[Sample], selection: LabelSelection, seed: int) -> Sequence[Sample]:
    """Keep some of the labels of a split; every label is read once, or twice for a number of pixels.

    Args:
        samples: samples of the training split.
        selection: which labels are kept.
        seed: random seed of the selection.

    Raises:
        UsageError: parcels are selected, and the dataset has no parcel ids.
    """
    if selection.fraction != 1 or selection.parcels is not None:
        samples = _select_parcels(samples, selection, seed)
    return samples if selection.pixels is None else _select_pixels(samples, selection.pixels, seed)


@dataclass(frozen=True)
class SubsampledLabels(Sequence[Sample]):
    """Samples whose labels are ignored outside some parcels; series and parcels are unchanged.

    Args:
        samples: samples of the training split.
        kept: sorted parcel ids whose labels are kept, by index of the sample; 0 is the area outside parcels.
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


def _select_parcels(samples: Sequence[Sample], selection: LabelSelection, seed: int) -> SubsampledLabels:
    """Keep the labels of some parcels of each class.

    A parcel's class is that of most of its labeled pixels. Labeled area outside parcels counts as one parcel per
    sample. A parcel in two samples counts as two. A larger selection keeps all parcels of a smaller one.
    """
    by_class: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number in range(len(samples)):
        for parcel, label in _classes(samples[number]):
            by_class[label].append((number, parcel))
    kept: dict[int, list[int]] = defaultdict(list)
    for parcels in by_class.values():
        ranked = sorted(parcels, key=lambda parcel: _rank(seed, *parcel))
        for number, parcel in ranked[: math.ceil(selection.fraction * len(ranked))][: selection.parcels]:
            kept[number].append(parcel)
    return SubsampledLabels(samples, {number: np.array(sorted(ids), np.int64) for number, ids in kept.items()})


def _classes(sample: Sample) -> Iterator[tuple[int, int]]:
    """Yield (parcel id, class) of every labeled parcel of a sample."""
    if sample.labels is None:
        return
    if sample.parcels is None:
        raise UsageError(
            f"label_fraction or label_parcels; sample {sample.name!r} has no parcel ids, by which labels are selected; "
            "use a dataset with parcel ids, or select label_pixels"
        )
    labels = np.asarray(sample.labels).ravel().astype(np.int64)
    parcels = np.asarray(sample.parcels).ravel().astype(np.int64)
    known = labels != IGNORE
    pairs, pixels = np.unique(np.stack([parcels[known], labels[known]]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -pixels, pairs[0]))  # by parcel, the class of most pixels first
    ids, first = np.unique(pairs[0][order], return_index=True)
    yield from zip(ids.tolist(), pairs[1][order][first].tolist(), strict=True)


@dataclass(frozen=True)
class PixelLabels(Sequence[Sample]):
    """Samples whose labels are ignored outside some pixels.

    Args:
        samples: samples of the training split.
        kept: flat positions of the pixels whose labels are kept, by index of the sample.
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
        if sample.labels is None:
            return sample
        labels = np.full_like(np.asarray(sample.labels), IGNORE)
        flat = self.kept.get(number, np.zeros(0, np.int64))
        labels.flat[flat] = np.asarray(sample.labels).ravel()[flat]
        return replace(sample, labels=labels)


def _select_pixels(samples: Sequence[Sample], pixels: int, seed: int) -> PixelLabels:
    """Keep the labels of at most `pixels` random pixels of each class."""
    totals: dict[int, int] = defaultdict(int)
    for number in range(len(samples)):
        for label, places in _places(samples[number]):
            totals[label] += len(places)
    drawn = {
        label: np.sort(np.random.default_rng((seed, label)).permutation(total)[:pixels])
        for label, total in totals.items()
    }
    kept: dict[int, list[NDArray[np.int64]]] = defaultdict(list)
    before: dict[int, int] = defaultdict(int)
    for number in range(len(samples)):
        for label, places in _places(samples[number]):
            chosen = drawn[label] - before[label]
            before[label] += len(places)
            kept[number].append(places[chosen[(chosen >= 0) & (chosen < len(places))]])
    return PixelLabels(samples, {number: np.concatenate(found) for number, found in kept.items()})


def _places(sample: Sample) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each class of a sample with the flat positions of its pixels."""
    if sample.labels is None:
        return
    labels = np.asarray(sample.labels).ravel()
    for label in np.unique(labels[labels != IGNORE]).tolist():
        yield label, np.flatnonzero(labels == label)


def _rank(seed: int, number: int, parcel: int) -> bytes:
    """Sort key of a parcel in a random order that is the same on every machine."""
    return hashlib.sha256(f"{seed}/{number}/{parcel}".encode()).digest()
