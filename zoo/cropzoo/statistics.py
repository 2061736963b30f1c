"""Band statistics and class counts of a split, read once, one date at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.samples import IGNORE, Sample

_CONSTANT = 1e-12
"""A standard deviation below this share of the mean is rounding: float64 sums of equal values leave about 1e-16."""


class _Moments:
    """Count, mean and sum of squared deviations per band, merged block by block.

    Source: Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115 (pairwise update of variances).
    """

    def __init__(self, bands: int) -> None:
        self.count = 0
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)

    def add(self, values: NDArray[Any]) -> None:
        """Take in values of shape (C, N)."""
        count = values.shape[1]
        if count == 0:
            return
        block = values.astype(np.float64)
        mean = block.mean(axis=1)
        block -= mean[:, None]
        total = self.count + count
        step = mean - self.mean
        self.squares += np.einsum("cn,cn->c", block, block) + step**2 * (self.count * count / total)
        self.mean += step * (count / total)
        self.count = total


def band_statistics(samples: Iterable[Sample], scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of every band, of scaled values.

    Each sample's series (T, C, H, W) is read one date at a time and held as float64 for that date alone. Where a sample
    has a mask, only its clear pixels count. The standard deviation is that of the population (divided by N).

    Args:
        samples: the training split.
        scale: the unit of the result per stored unit, e.g. 1e-4 for reflectance.

    Returns:
        (mean, std), a number for every band, std > 0.

    Raises:
        CropzooError: a value that is not finite, clear or not; samples with different numbers of bands; no clear pixel
            at all; a band with one value throughout, which no scaling makes useful to a network.
    """
    moments: _Moments | None = None
    for sample in samples:
        bands = sample.series.shape[1]
        if moments is None:
            moments = _Moments(bands)
        elif moments.mean.size != bands:
            raise CropzooError(
                f"band statistics of sample {sample.name!r}; it has {bands} bands and the samples before it have "
                f"{moments.mean.size}; give every sample the same bands"
            )
        for date in range(sample.series.shape[0]):
            moments.add(_clear_values(sample, date))
    if moments is None or moments.count == 0:
        raise CropzooError(
            "band statistics of the training split; it has no clear pixel; widen the split, or check the cloud mask"
        )
    std = np.sqrt(moments.squares / moments.count)
    constant = np.flatnonzero(std <= _CONSTANT * np.abs(moments.mean))
    if constant.size:
        band = int(constant[0])
        raise CropzooError(
            f"band statistics of the training split; band {band} (counted from 0) is {float(moments.mean[band])!r} at "
            "every clear pixel, so it tells nothing; leave that band out, or check its files"
        )
    return tuple((moments.mean * scale).tolist()), tuple((std * scale).tolist())


def _clear_values(sample: Sample, date: int) -> NDArray[Any]:
    """The values of one date that count, (C, N)."""
    image = np.asarray(sample.series[date])
    if not np.isfinite(image).all():
        raise CropzooError(
            f"band statistics of sample {sample.name!r}; date {date} (counted from 0) holds NaN or infinity; "
            "mask those pixels and give them a finite value"
        )
    if sample.clear is None:
        return image.reshape(len(image), -1)
    values: NDArray[Any] = image[:, np.asarray(sample.clear[date])]
    return values


def class_counts(samples: Iterable[Sample], classes: int) -> NDArray[np.int64]:
    """Pixels of each class, by label index, ignored pixels (255) left out.

    Args:
        samples: labelled samples.
        classes: how many classes there are.

    Returns:
        (classes,), int64.

    Raises:
        CropzooError: a sample without labels, or with a label that is neither a class nor 255.
    """
    counts = np.zeros(classes, np.int64)
    for sample in samples:
        if sample.labels is None:
            raise CropzooError(f"class counts of sample {sample.name!r}; it has no labels; use a labelled dataset")
        labels = np.asarray(sample.labels)
        used = labels[labels != IGNORE]
        outside = used[(used < 0) | (used >= classes)]
        if outside.size:
            raise CropzooError(
                f"class counts of sample {sample.name!r}; label {int(outside[0])!r} is no class; "
                f"labels are 0 to {classes - 1}, or {IGNORE} to ignore a pixel"
            )
        counts += np.bincount(used, minlength=classes)
    return counts
