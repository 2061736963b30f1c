"""Resampling of coarse bands to the finest grid; a pixel does not depend on the window in which it is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AxisMap:
    """Coarse rows (or columns) from which consecutive fine rows are interpolated.

    Args:
        start, stop: Range of coarse rows to read.
        lower, upper: For each fine row, the coarse rows above and below its center, counted from `start`.
        weight: For each fine row, the weight of `upper`, in [0, 1).
        nearest: For each fine row, the coarse row that contains its center, counted from `start`.
    """

    start: int
    stop: int
    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    weight: NDArray[np.float64]
    nearest: NDArray[np.intp]


@lru_cache(maxsize=256)
def make_axis_map(first: int, count: int, fine: int, coarse: int) -> AxisMap:
    """Axis map for a range of fine rows; cached, since all bands and dates of a window use the same one.

    Positions are computed in integers from the number of the fine row, so that they do not depend on the window. At
    the edge of the raster, only the outermost coarse row is used. Do not modify the arrays.

    Args:
        first: First fine row.
        count: Number of fine rows.
        fine: Rows of the fine raster; it may be the smaller number if only `nearest` is used.
        coarse: Rows of the coarse raster.
    """
    rows = np.arange(first, first + count, dtype=np.int64)
    # The center of a fine row is at (2 * row + 1) * coarse / (2 * fine), that of a coarse one at its number + 1/2.
    position = (2 * rows + 1) * coarse
    lower, rest = np.divmod(position - fine, 2 * fine)
    nearest = position // (2 * fine)
    upper = np.minimum(lower + 1, coarse - 1)
    lower = np.maximum(lower, 0)
    start, stop = int(min(lower[0], nearest[0])), int(max(upper[-1], nearest[-1])) + 1
    return AxisMap(start, stop, lower - start, upper - start, rest / (2 * fine), nearest - start)


def pick_nearest(values: NDArray[Any], rows: AxisMap, columns: AxisMap) -> NDArray[Any]:
    """Coarse values (..., h, w) at the center of each fine pixel, (..., H, W)."""
    return values.take(columns.nearest, axis=-1).take(rows.nearest, axis=-2)


def interpolate(
    values: NDArray[Any], missing: NDArray[np.bool_] | None, rows: AxisMap, columns: AxisMap
) -> NDArray[np.floating[Any]]:
    """Coarse values interpolated bilinearly on the fine grid; pixels without data are left out of the mean.

    If the pixel at the center has no data itself, the result is undefined.

    Args:
        values: Coarse values, (N, h, w), of the rows and columns of the axis maps.
        missing: Mask of the shape of `values`, True where there is no data; None if there is data everywhere.
        rows: Axis map of the rows of the window.
        columns: Axis map of the columns of the window.

    Returns:
        (N, H, W), float32 for types of up to 16 bits and float32, else float64.
    """
    small = values.dtype.itemsize <= 2 or values.dtype == np.float32
    exact: NDArray[np.floating[Any]] = values.astype(np.float32 if small else np.float64)
    if missing is None or not missing.any():
        return _interpolate_both(exact, rows, columns)
    exact[missing] = 0
    share = _interpolate_both((~missing).astype(exact.dtype), rows, columns)
    total = _interpolate_both(exact, rows, columns)
    np.divide(total, share, out=total, where=share > 0)
    return total


def _interpolate_both(values: NDArray[np.floating[Any]], rows: AxisMap, columns: AxisMap) -> NDArray[np.floating[Any]]:
    """Interpolate linearly along columns, then along rows, (N, H, W).

    Both run along the second to last axis, where complete rows are copied; along the last it takes three times as long.
    """
    turned = np.ascontiguousarray(values.swapaxes(-1, -2))
    wide = np.ascontiguousarray(_interpolate_rows(turned, columns).swapaxes(-1, -2))
    return _interpolate_rows(wide, rows)


def _interpolate_rows(values: NDArray[np.floating[Any]], axis: AxisMap) -> NDArray[np.floating[Any]]:
    """Interpolate linearly along the second to last axis; a + (b - a) * w reproduces a constant exactly."""
    lower = values.take(axis.lower, axis=-2)
    result: NDArray[np.floating[Any]] = values.take(axis.upper, axis=-2)
    result -= lower
    result *= axis.weight.astype(values.dtype)[:, None]
    result += lower
    return result
