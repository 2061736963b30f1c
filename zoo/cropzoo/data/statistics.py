"""Band statistics and class counts of a split, and the cache of band statistics."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.running_stats import RunningStats
from cropzoo.data.sample import IGNORE, Sample
from cropzoo.errors import CropzooError
from cropzoo.io import cache_folder, read_json, write_json

__all__ = [
    "RunningStats",
    "Statistics",
    "WithStatistics",
    "add_sample",
    "band_statistics",
    "cached_statistics",
    "class_counts",
    "stamp_files",
]

_CONSTANT = 1e-12
"""Ratio of standard deviation to mean below which a band is constant; rounding of float64 sums leaves about 1e-16."""

_VERSION = 1
"""Version of the computation; increase it when results change, so that older files are not used."""

_STAMPED = 64
"""Number of files of a long list that are checked; checking all takes minutes on a network file system."""

_log = logging.getLogger("cropzoo")

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, std) of the scaled values of each band."""


class WithStatistics(ABC):
    """Base class that computes a dataset's `mean` and `std` on first access and keeps them."""

    @abstractmethod
    def find_statistics(self) -> Statistics:
        """Return mean and standard deviation of the scaled, clear values of each band in the training split."""

    @cached_property
    def _statistics(self) -> Statistics:
        return self.find_statistics()

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the scaled values of each band in the training split."""
        return self._statistics[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of the scaled values of each band in the training split."""
        return self._statistics[1]


def band_statistics(samples: Iterable[Sample], scale: float) -> Statistics:
    """Return mean and population standard deviation of the scaled values of each band.

    Series (T, C, H, W) are read one date at a time. Pixels that are not clear are left out.

    Args:
        samples: Samples of the training split.
        scale: Unit of the result per stored unit, e.g. 1e-4 for reflectance.

    Returns:
        (mean, std), one number per band, std > 0.

    Raises:
        CropzooError: A value is not finite, clear or not; the number of bands differs between samples; no pixel is
            clear; a band is constant.
    """
    moments: RunningStats | None = None
    for sample in _iterate(samples):
        bands = sample.series.shape[1]
        if moments is None:
            moments = RunningStats(bands)
        elif moments.bands != bands:
            raise CropzooError(
                f"band statistics of sample {sample.name!r}; it has {bands} bands and earlier samples have "
                f"{moments.bands}; use the same bands for all samples"
            )
        add_sample(moments, sample)
    if moments is None or moments.count == 0:
        raise CropzooError(
            "band statistics of the training split; it has no clear pixel; enlarge the split, or check the cloud mask"
        )
    mean, std = moments.mean, moments.std
    constant = np.flatnonzero(std <= _CONSTANT * np.abs(mean))
    if constant.size:
        band = int(constant[0])
        raise CropzooError(
            f"band statistics of the training split; band {band} (counted from 0) is {float(mean[band])!r} at "
            "every clear pixel; leave that band out, or check its files"
        )
    return tuple((mean * scale).tolist()), tuple((std * scale).tolist())


def _iterate(samples: Iterable[Sample]) -> Iterator[Sample]:
    """The samples; of a sequence as many as its length, although its `__getitem__` may never raise IndexError."""
    sequence: Any = samples
    if hasattr(samples, "__len__") and hasattr(samples, "__getitem__"):
        return (sequence[number] for number in range(len(sequence)))
    return iter(samples)


def add_sample(moments: RunningStats, sample: Sample) -> None:
    """Add a sample's series to the running statistics, date by date; pixels that are not clear are left out.

    Raises:
        CropzooError: A value is not finite, clear or not.
    """
    for date in range(sample.series.shape[0]):
        image = np.asarray(sample.series[date])
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise CropzooError(
                f"band statistics of sample {sample.name!r}; date {date} (counted from 0) contains NaN or infinity; "
                "mask those pixels and set them to a finite value"
            )
        moments.add(image, None if sample.clear is None else np.asarray(sample.clear[date]))


def class_counts(samples: Iterable[Sample], classes: int) -> NDArray[np.int64]:
    """Return the number of pixels of each class, without ignored pixels (255).

    Args:
        samples: Labeled samples.
        classes: Number of classes.

    Returns:
        (classes,), int64.

    Raises:
        CropzooError: A sample has no labels, or a label that is neither a class nor 255.
    """
    counts = np.zeros(classes, np.int64)
    for sample in _iterate(samples):
        if sample.labels is None:
            raise CropzooError(f"class counts of sample {sample.name!r}; it has no labels; use a labeled dataset")
        labels = np.asarray(sample.labels)
        used = labels[labels != IGNORE]
        outside = used[(used < 0) | (used >= classes)]
        if outside.size:
            raise CropzooError(
                f"class counts of sample {sample.name!r}; label {int(outside[0])!r} is not a class; "
                f"expected labels in [0, {classes - 1}] or {IGNORE} (ignore); fix the labels"
            )
        counts += np.bincount(used, minlength=classes)
    return counts


def cached_statistics(name: str, key: Sequence[object], compute: Callable[[], Statistics]) -> Statistics:
    """Return cached mean and std for a key; compute and cache them if they are missing.

    The cache is the folder `statistics/` in the cache folder, with one JSON file per key. A truncated file or one of
    another key is replaced. If the cache cannot be written, a warning is logged.

    Args:
        name: Name of the dataset, a part of the file name.
        key: Everything that the result depends on, as numbers and strings: options, lists of files, and their sizes and
            times (see `stamp_files`).
        compute: Function that computes the statistics.

    Returns:
        (mean, std), one number per band.
    """
    text = json.dumps([_VERSION, name, list(key)], default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = cache_folder() / "statistics" / f"{name}-{digest[:16]}.json"
    found = _read_cached(path, digest)
    if found is not None:
        return found
    mean, std = compute()
    try:
        write_json(path, {"key": digest, "mean": list(mean), "std": list(std)})
    except CropzooError as error:
        _log.warning("band statistics of %s are not cached: %s", name, error)
    return mean, std


def stamp_files(paths: Sequence[Path]) -> list[list[Any]]:
    """Return path, size and time of change of files, for a cache key; of more than 64 files, 64 are sampled evenly."""
    step = max(1, -(-len(paths) // _STAMPED))
    return [_stamp(path) for path in paths[::step]]


def _stamp(path: Path) -> list[Any]:
    try:
        found = path.stat()
    except OSError:
        return [str(path), -1, -1]
    return [str(path), found.st_size, found.st_mtime_ns]


def _read_cached(path: Path, digest: str) -> Statistics | None:
    """Return the statistics in a file; None unless it is valid and has that key."""
    if not path.is_file():
        return None
    try:
        kept = read_json(path)
    except CropzooError:
        return None
    if not isinstance(kept, dict) or kept.get("key") != digest:
        return None
    mean, std = kept.get("mean"), kept.get("std")
    if not isinstance(mean, list) or not isinstance(std, list) or not len(mean) == len(std) > 0:
        return None
    valid = all(type(number) in (int, float) and math.isfinite(number) for number in (*mean, *std))
    return (tuple(mean), tuple(std)) if valid and min(std) > 0 else None
