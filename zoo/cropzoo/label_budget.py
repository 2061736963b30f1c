"""A training split with the labels of some of its parcels alone."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import UsageError
from cropzoo.samples import IGNORE, Sample


@dataclass(frozen=True)
class FewLabels(Sequence[Sample]):
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


def few_labels(samples: Sequence[Sample], fraction: float, seed: int) -> Sequence[Sample]:
    """The samples with the labels of this share of the parcels of each class, at least one of each.

    A parcel's class is that of most of its labelled pixels. Labelled ground outside parcels counts as one parcel for
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
    return FewLabels(samples, {number: np.array(sorted(ids), np.int64) for number, ids in kept.items()})


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
