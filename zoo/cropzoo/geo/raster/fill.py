"""Pixels without data that a file does not declare: 0, or one number in all bands that no surface has."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FILL_NUMBERS = (-9999, -10000, -28672, -32767, -32768)
"""Negative numbers that are used for missing pixels, besides the lowest number of a type."""

_LOWEST = -1_000_000
"""No stored reflectance, index or backscatter is as low: what is, is the lowest number of its type or similar."""

_HIGHEST = 1e15
"""No float that measures something is as high: 1e20, 9.97e36 (NetCDF) and the highest number of the type are fill."""

_LOW_INTEGER, _LOW_FLOAT = -999, -1
"""No reflectance is as low. Higher negative numbers are noise over water, which is equal in two bands by chance."""


class EqualBands(NamedTuple):
    """Pixels at which all bands hold the same number, 0 or one that may be fill.

    Args:
        where: Mask of these pixels.
        number: Number of each pixel, of the shape of `where`; undefined at other pixels.
    """

    where: NDArray[np.bool_]
    number: NDArray[Any]


def find_fill(
    values: NDArray[Any], dtype: np.dtype[Any] | None = None, is_declared: bool = False
) -> NDArray[np.bool_] | None:
    """Where stored numbers are fill although the file does not declare it, of the shape of one band; None if nowhere.

    With several bands: 0 in all bands, or the same low number in all bands, -999 or less in integers (or the lowest one
    of the type) and -1 or less in floats, or the same float of 1e15 or more. No surface reflects that. With one band,
    where 0 and negative numbers may be indices or decibels: 0 of an unsigned type, and in a file that does not say what
    its fill is, the numbers in `FILL_NUMBERS`, those below minus a million, and floats of 1e15 or more.

    Args:
        values: Numbers as stored, without the offset subtracted, (C, ...).
        dtype: Data type of the file, if `values` were converted.
        is_declared: Whether the file declares a nodata value.
    """
    stored = values.dtype if dtype is None else dtype
    found = find_equal_bands(values, stored)
    return None if found is None else select_fill(found, len(values), stored, is_declared)


def find_equal_bands(values: NDArray[Any], dtype: np.dtype[Any]) -> EqualBands | None:
    """Pixels of (C, ...) at which all bands hold the same number, 0 or possible fill; None if there are none.

    The files of a product are searched one by one and combined with `combine_equal_bands`. `dtype` is the data type of
    the file.
    """
    first = values[0]
    where: NDArray[np.bool_] = first == 0 if dtype.kind == "u" else first <= 0
    if first.dtype.kind == "f":
        where |= _is_huge(first)
    # Most windows have no such pixel, or lose the last one at the second band.
    for band in values[1:]:
        if not where.any():
            return None
        where &= band == first
    if dtype.kind != "u":
        low = _LOW_FLOAT if dtype.kind == "f" else max(_LOW_INTEGER, np.iinfo(dtype).min)
        allowed = (first == 0) | (first <= low)
        where &= allowed | _is_huge(first) if first.dtype.kind == "f" else allowed
    return EqualBands(where, first.copy()) if where.any() else None


def combine_equal_bands(one: EqualBands | None, other: EqualBands | None) -> EqualBands | None:
    """Pixels at which the bands of two files hold the same number; None if there are none."""
    if one is None or other is None:
        return None
    where = one.where & other.where & (one.number == other.number)
    return EqualBands(where, one.number) if where.any() else None


def select_fill(found: EqualBands, bands: int, dtype: np.dtype[Any], is_declared: bool) -> NDArray[np.bool_] | None:
    """Pixels among those with equal bands that are fill, see `find_fill`; None if there are none.

    Args:
        found: Pixels with equal bands.
        bands: Number of bands.
        dtype: Data type of the file.
        is_declared: Whether the file declares a nodata value, or an offset, below which 0 is no data.
    """
    if bands > 1 or dtype.kind == "u":
        return found.where
    if is_declared:
        return None
    where = found.where & (found.number != 0) & find_fill_numbers(found.number)
    return where if where.any() else None


def find_fill_numbers(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where numbers are 0 or customary fill, of the shape of `values`.

    A band that is resampled is not mixed with them: at the border of a swath, other bands decide too late.
    """
    where: NDArray[np.bool_] = values == 0
    if values.dtype.kind != "u":
        low = values <= max(FILL_NUMBERS)
        if low.any():
            where |= low & (np.isin(values, FILL_NUMBERS) | (values < _LOWEST))
    if values.dtype.kind == "f":
        where |= _is_huge(values)
    return where


def _is_huge(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where floats are higher than what is measured; infinity is an error of the file, not fill."""
    huge: NDArray[np.bool_] = values >= _HIGHEST
    return huge & np.isfinite(values) if huge.any() else huge
