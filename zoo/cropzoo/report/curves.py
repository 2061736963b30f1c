"""How the classes look through the time of a dataset: NDVI, or the first band, by class and ten days."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.samples import IGNORE, Sample

STEP = 10
"""Days that a point of a curve stands for: Sentinel-2 sees a place every five, half of the time through cloud."""

_RED, _NEAR_INFRARED = ("b04", "b4", "red"), ("b08", "b8", "nir")


@dataclass(frozen=True)
class ClassCurves:
    """Mean of the clear pixels of each class.

    Args:
        title: what the values are.
        days: (N,), datetime64[D], the middle of each span of `STEP` days that any sample saw.
        values: (classes, N), float; NaN where no clear pixel of the class was seen.
        samples: how many were read.
    """

    title: str
    days: NDArray[np.datetime64]
    values: NDArray[np.float64]
    samples: int


def class_curves(samples: Iterable[Sample], bands: Sequence[str], scale: float, classes: int) -> ClassCurves | None:
    """NDVI of each class over time where there are bands B04 and B08, else the first band; None without labels.

    Samples are read one at a time, two bands of one date at a time. Labels finer than the images are taken at the
    middle of a pixel. Without a cloud mask all pixels count.

    Args:
        samples: labelled; those without labels are passed over.
        bands: of their series.
        scale: reflectance of one stored unit.
        classes: how many there are.
    """
    names = [band.lower() for band in bands]
    pair = [next((names.index(name) for name in choices if name in names), None) for choices in (_RED, _NEAR_INFRARED)]
    red, near_infrared = pair
    sums: dict[int, NDArray[np.float64]] = {}
    counts: dict[int, NDArray[np.int64]] = {}
    read = 0
    for sample in samples:
        if sample.labels is None:
            continue
        read += 1
        step = sample.label_scale
        labels = np.asarray(sample.labels[step // 2 :: step, step // 2 :: step])
        for position, day in enumerate(sample.dates.tolist()):
            if red is not None and near_infrared is not None:
                values = _ndvi(sample.series[position, red], sample.series[position, near_infrared])
            else:
                values = np.asarray(sample.series[position, 0], np.float64) * scale
            used = (labels != IGNORE) & np.isfinite(values)
            if sample.clear is not None:
                used &= np.asarray(sample.clear[position])
            found = labels[used].astype(np.int64)
            span = day // STEP
            known = sums.setdefault(span, np.zeros(classes)), counts.setdefault(span, np.zeros(classes, np.int64))
            np.add(known[0], np.bincount(found, weights=values[used], minlength=classes), out=known[0])
            np.add(known[1], np.bincount(found, minlength=classes), out=known[1])
    if not sums:
        return None
    spans = sorted(sums)
    total = np.stack([sums[span] for span in spans], axis=1)
    number = np.stack([counts[span] for span in spans], axis=1)
    days = (np.array(spans) * STEP + STEP // 2).astype("datetime64[D]")
    curves = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    has_both = red is not None and near_infrared is not None
    return ClassCurves("NDVI" if has_both else f"{bands[0]}, scaled", days, curves, read)


def _ndvi(red: NDArray[Any], near_infrared: NDArray[Any]) -> NDArray[np.float64]:
    """(NIR - red) / (NIR + red); NaN where both are zero."""
    low, high = np.asarray(red, np.float64), np.asarray(near_infrared, np.float64)
    both = high + low
    index: NDArray[np.float64] = np.divide(high - low, both, out=np.full(low.shape, np.nan), where=both > 0)
    return index
