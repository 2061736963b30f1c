"""Band statistics and class counts of a split, read once, one date at a time."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.running_stats import RunningStats
from cropzoo.data.sample import IGNORE, Sample
from cropzoo.errors import CropzooError
from cropzoo.io import cache_folder, read_json, write_json

__all__ = ["RunningStats", "Statistics", "WithStatistics", "add_sample", "band_statistics", "class_counts"]

_CONSTANT = 1e-12
"""A standard deviation below this share of the mean is rounding: float64 sums of equal values leave about 1e-16."""


Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, std), a number for every band, of scaled values."""


class WithStatistics(ABC):
    """Gives a dataset its `mean` and `std`; they are found when one of them is first asked for, and kept."""

    @abstractmethod
    def find_statistics(self) -> Statistics:
        """Mean and deviation of each band, of scaled values at the clear pixels of the training split."""

    @cached_property
    def _statistics(self) -> Statistics:
        return self.find_statistics()

    @property
    def mean(self) -> tuple[float, ...]:
        """Per band, of scaled values, from the training split."""
        return self._statistics[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Per band, as `mean`."""
        return self._statistics[1]


def band_statistics(samples: Iterable[Sample], scale: float) -> Statistics:
    """Mean and standard deviation of every band, of scaled values.

    Each sample's series (T, C, H, W) is read one date at a time. Where a sample
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
    moments: RunningStats | None = None
    for sample in samples:
        bands = sample.series.shape[1]
        if moments is None:
            moments = RunningStats(bands)
        elif moments.bands != bands:
            raise CropzooError(
                f"band statistics of sample {sample.name!r}; it has {bands} bands and the samples before it have "
                f"{moments.bands}; give every sample the same bands"
            )
        add_sample(moments, sample)
    if moments is None or moments.count == 0:
        raise CropzooError(
            "band statistics of the training split; it has no clear pixel; widen the split, or check the cloud mask"
        )
    mean, std = moments.mean, moments.std
    constant = np.flatnonzero(std <= _CONSTANT * np.abs(mean))
    if constant.size:
        band = int(constant[0])
        raise CropzooError(
            f"band statistics of the training split; band {band} (counted from 0) is {float(mean[band])!r} at "
            "every clear pixel, so it tells nothing; leave that band out, or check its files"
        )
    return tuple((mean * scale).tolist()), tuple((std * scale).tolist())


def add_sample(moments: RunningStats, sample: Sample) -> None:
    """Take in a sample's series date by date, only its clear pixels where it has a mask.

    Raises:
        CropzooError: a value that is not finite, clear or not.
    """
    for date in range(sample.series.shape[0]):
        image = np.asarray(sample.series[date])
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise CropzooError(
                f"band statistics of sample {sample.name!r}; date {date} (counted from 0) holds NaN or infinity; "
                "mask those pixels and give them a finite value"
            )
        moments.add(image, None if sample.clear is None else np.asarray(sample.clear[date]))


def class_counts(samples: Iterable[Sample], classes: int) -> NDArray[np.int64]:
    """Pixels of each class, by label index, ignored pixels (255) left out.

    Args:
        samples: labeled samples.
        classes: how many classes there are.

    Returns:
        (classes,), int64.

    Raises:
        CropzooError: a sample without labels, or with a label that is neither a class nor 255.
    """
    counts = np.zeros(classes, np.int64)
    for sample in samples:
        if sample.labels is None:
            raise CropzooError(f"class counts of sample {sample.name!r}; it has no labels; use a labeled dataset")
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


_log = logging.getLogger("cropzoo")
_VERSION = 1
"""Raised when what is found changes, so that no old file is read."""

_STAMPED = 64
"""Files of a long list whose size and time count; asking for every one takes minutes on a network's disk."""


def remembered_statistics(name: str, key: Sequence[object], find: Callable[[], Statistics]) -> Statistics:
    """Mean and std as found before for this key, else as `find` finds them now; kept in the cache for the next time.

    They lie in `statistics/` of the cache folder, a JSON file for each key. One that is cut short or of another key is
    made again. Where the cache can't be written there is a warning, and they are found anew the next time.

    Args:
        name: of the dataset, a part of the file's name.
        key: all that the result depends on: options, lists of files, stamps of files (see `stamps`); numbers and texts.
        find: reads the data.

    Returns:
        (mean, std), a number for every band.
    """
    text = json.dumps([_VERSION, name, list(key)], default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = cache_folder() / "statistics" / f"{name}-{digest[:16]}.json"
    found = _read(path, digest)
    if found is not None:
        return found
    mean, std = find()
    try:
        write_json(path, {"key": digest, "mean": list(mean), "std": list(std)})
    except CropzooError as error:
        _log.warning("band statistics of %s are not kept: %s", name, error)
    return mean, std


def stamps(paths: Sequence[Path]) -> list[list[Any]]:
    """Path, size and time of change of files, for a key; of a list of over 64, those of 64 spread evenly over it."""
    step = max(1, -(-len(paths) // _STAMPED))
    return [_stamp(path) for path in paths[::step]]


def _stamp(path: Path) -> list[Any]:
    try:
        found = path.stat()
    except OSError:
        return [str(path), -1, -1]
    return [str(path), found.st_size, found.st_mtime_ns]


def _read(path: Path, digest: str) -> Statistics | None:
    """What a file holds, None unless it is whole and of that key."""
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
    whole = all(type(number) in (int, float) and math.isfinite(number) for number in (*mean, *std))
    return (tuple(mean), tuple(std)) if whole and min(std) > 0 else None
