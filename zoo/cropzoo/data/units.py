"""Units of pixel values, recognized by their order of magnitude, and sizes of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cropzoo.data.sample import Sample
from cropzoo.geo.raster.dates import EPOCH
from cropzoo.geo.raster.grid import Grid, pixel_size
from cropzoo.geo.raster.naming import sentinel2_band

MIN_PIXELS = 200
"""Minimum number of clear pixels for a comparison of values."""

_DATES, _SIDE = 10, 64
"""Largest number of dates, and of rows and columns, that are read of a sample."""

_UNIT_RATIO = 20.0
"""Ratio by which all bands differ only if their unit does; seasons and regions change single bands by up to five."""

_MAX_SPREAD = 30.0
"""Largest ratio between the factors of two bands that can have one unit in common."""

_DATE_RATIO = 1000.0
"""Ratio between two dates in all bands that is not weather: a cloud over dark water is a hundred times brighter."""

_MAX_SIZE_RATIO = 1.1
"""Ratio of pixel sizes that a network does not notice."""

_REFLECTANCE = (1e-3, 3.0)
"""Range that contains the mean reflectance of some band of any landscape."""

_TYPICAL = 0.2
"""Mean reflectance of a band over farmland."""

_NAMES = {0: "reflectance", -2: "reflectance in percent", -4: "digital numbers"}


def default_scale(dtype: str | np.dtype[Any]) -> float:
    """Reflectance of one stored unit where the user gives none: 1e-4 (Sentinel-2) for integers, 1 for floats."""
    return 1.0 if np.dtype(dtype).kind == "f" else 1e-4


def find_unit(medians: ArrayLike, mean: Sequence[float], scale: float) -> float | None:
    """The reflectance of one stored unit that explains values of another order of magnitude in all bands.

    Args:
        medians: (C,), median of the stored values of each band.
        mean: (C,), mean of each band in training, reflectance.
        scale: Reflectance of one stored unit of the training data.

    Returns:
        A power of ten; None if the unit is that of the training, or unknown.
    """
    values, expected = np.asarray(medians, np.float64), np.asarray(mean, np.float64)
    usable = (values > 0) & (expected > 0) & np.isfinite(values)
    if 2 * usable.sum() < len(values) or not usable.any():
        return None
    factors = expected[usable] / (values[usable] * scale)
    far = (factors > _UNIT_RATIO).all() or (factors < 1 / _UNIT_RATIO).all()
    if not far or factors.max() > _MAX_SPREAD * factors.min():
        return None
    return float(10.0 ** np.rint(np.log10(scale * np.median(factors))))


def find_mixed_unit(medians: NDArray[np.float64]) -> int | None:
    """Position of the first date whose values have another unit than those of most dates; None if all have the same.

    Args:
        medians: (T, C), median of the stored values of each band on each date. With one band, which may be an index
            around 0, units cannot be distinguished.
    """
    if min(medians.shape) < 2:
        return None
    typical = np.median(medians, axis=0).tolist()
    units = (find_unit(each, typical, 1.0) or 1.0 for each in medians)
    ratios = ((number, max(unit, 1 / unit)) for number, unit in enumerate(units))
    return next((number for number, ratio in ratios if ratio >= _DATE_RATIO), None)


def describe_unit(scale: float) -> str:
    """What values with this reflectance of one stored unit are usually called."""
    return _NAMES.get(round(float(np.log10(scale))), f"units of {scale:g} reflectance")


def check_scale(bands: Sequence[str], mean: Sequence[float], scale: float) -> str:
    """A warning if the mean values of Sentinel-2 bands cannot be reflectance; empty if they can.

    Args:
        bands: Names of the bands; other sensors have other units and are not checked.
        mean: (C,), mean of the scaled values of each band.
        scale: Factor that converted stored values to `mean`.
    """
    low, high = _REFLECTANCE
    if not all(map(sentinel2_band, bands)) or not (0 < max(mean) < low or min(mean) > high):
        return ""
    likely = float(10.0 ** np.rint(np.log10(scale * _TYPICAL / np.median(np.abs(mean)))))
    return (
        f"the mean of the bands is {min(mean):.2g} to {max(mean):.2g} with scale {scale:g}, which is not reflectance; "
        f"for {describe_unit(likely)} set dataset.scale={likely:g} (in `prepare`: --scale {likely:g})"
    )


def compare_pixel_sizes(found: float | None, trained: float | None) -> str:
    """A warning if the pixels of images differ in size from those of the training data; empty if not, or if unknown.

    Args:
        found: Side of the images' pixels in meters.
        trained: Side of the training data's pixels in meters.
    """
    if found is None or trained is None or 1 / _MAX_SIZE_RATIO < found / trained < _MAX_SIZE_RATIO:
        return ""
    return (
        f"the images have pixels of {found:.3g} m, the training data {trained:.3g} m; expect a lower accuracy; "
        f"resample the images to {trained:.3g} m, or train on images of {found:.3g} m"
    )


def sample_pixel_size(sample: Sample) -> float | None:
    """Side of the pixels of a sample's series in meters; None without a usable georeference."""
    crs, transform = sample.place.get("crs"), sample.place.get("transform")
    if not crs or not transform:
        return None
    height, width = sample.series.shape[-2:]
    return pixel_size(Grid(height, width, transform, crs))


def check_units(sample: Sample) -> str:
    """A warning if the dates of a sample have different units; empty if not."""
    dates, values, clear = _thin_out(sample)
    enough = [number for number in range(len(dates)) if clear[number].sum() >= MIN_PIXELS]
    medians = [np.median(values[number][clear[number]], axis=0).astype(np.float64) for number in enough]
    found = find_mixed_unit(np.stack(medians)) if enough else None
    if found is None:
        return ""
    day = EPOCH + timedelta(days=int(dates[enough[found]]))
    return (
        f"{sample.name}: the values of {day} have another unit than those of other dates; store all images in one "
        "unit, such as digital numbers, or leave the date out"
    )


def clear_values(sample: Sample) -> NDArray[Any]:
    """Stored values of some clear pixels of a sample, (N, C)."""
    _, values, clear = _thin_out(sample)
    pixels: NDArray[Any] = values[clear]
    return pixels


def sample_medians(sample: Sample) -> NDArray[np.float64] | None:
    """Median of some clear stored values of each band of a sample, (C,); None if too few pixels are clear."""
    pixels = clear_values(sample)
    if len(pixels) < MIN_PIXELS:
        return None
    medians: NDArray[np.float64] = np.median(pixels, axis=0).astype(np.float64)
    return medians


def _thin_out(sample: Sample) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[np.bool_]]:
    """Some dates (T,), stored values (T, H, W, C) and clear pixels (T, H, W) of a sample, evenly spaced."""
    height, width = sample.series.shape[-2:]
    dates = np.unique(np.linspace(0, len(sample.dates) - 1, _DATES).round().astype(int))
    rows, columns = slice(None, None, -(-height // _SIDE)), slice(None, None, -(-width // _SIDE))
    values = np.stack([np.moveaxis(np.asarray(sample.series[date])[:, rows, columns], 0, -1) for date in dates])
    clear = np.ones(values.shape[:-1], np.bool_)
    if sample.clear is not None:
        clear = np.stack([np.asarray(sample.clear[date])[rows, columns] for date in dates])
    return np.asarray(sample.dates)[dates], values, clear
