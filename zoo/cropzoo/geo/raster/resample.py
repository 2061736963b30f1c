"""From coarse pixels to fine ones on the same ground, the same in whatever window it is done."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AxisMap:
    """Which coarse rows (or columns) a run of fine ones is made of.

    Args:
        start, stop: the coarse rows to read.
        lower, upper: per fine row, the coarse rows above and below its center, counted from `start`.
        weight: per fine row, the share of `upper`, in [0, 1).
        nearest: per fine row, the coarse row that holds its center, counted from `start`.
    """

    start: int
    stop: int
    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    weight: NDArray[np.float64]
    nearest: NDArray[np.intp]


@lru_cache(maxsize=256)
def make_axis_map(first: int, count: int, fine: int, coarse: int) -> AxisMap:
    """The axis for `count` fine rows from `first` on, of a raster with `fine` rows over one with `coarse` rows.

    All follows from the fine row's own number in whole numbers, so that no window sees another result. At the edge of
    the raster the outermost coarse row counts alone. `fine` may be the smaller one where only `nearest` is used.
    Kept, as every band and date of a window asks for the same one: not to be changed.
    """
    rows = np.arange(first, first + count, dtype=np.int64)
    # The center of a fine row lies at (2 * row + 1) * coarse / (2 * fine), that of a coarse one at its number + 1/2.
    position = (2 * rows + 1) * coarse
    lower, rest = np.divmod(position - fine, 2 * fine)
    nearest = position // (2 * fine)
    upper = np.minimum(lower + 1, coarse - 1)
    lower = np.maximum(lower, 0)
    start, stop = int(min(lower[0], nearest[0])), int(max(upper[-1], nearest[-1])) + 1
    return AxisMap(start, stop, lower - start, upper - start, rest / (2 * fine), nearest - start)


def pick_nearest(values: NDArray[Any], rows: AxisMap, columns: AxisMap) -> NDArray[Any]:
    """The coarse values (..., h, w) at the center of each fine pixel, (..., H, W)."""
    return values.take(columns.nearest, axis=-1).take(rows.nearest, axis=-2)


def interpolate(
    values: NDArray[Any], lost: NDArray[np.bool_] | None, rows: AxisMap, columns: AxisMap
) -> NDArray[np.floating[Any]]:
    """Coarse values brought to the fine grid bilinearly; lost ones are left out of the mean.

    Where the pixel at the center is lost itself, the result means nothing.

    Args:
        values: (N, h, w), the coarse rows and columns that the axes name.
        lost: like values, True where there is no data; None if nowhere.
        rows: of the window.
        columns: of the window.

    Returns:
        (N, H, W), float32 for types of up to 16 bits and float32, else float64.
    """
    small = values.dtype.itemsize <= 2 or values.dtype == np.float32
    exact: NDArray[np.floating[Any]] = values.astype(np.float32 if small else np.float64)
    if lost is None or not lost.any():
        return _between(exact, rows, columns)
    exact[lost] = 0
    share = _between((~lost).astype(exact.dtype), rows, columns)
    total = _between(exact, rows, columns)
    np.divide(total, share, out=total, where=share > 0)
    return total


def _between(values: NDArray[np.floating[Any]], rows: AxisMap, columns: AxisMap) -> NDArray[np.floating[Any]]:
    """Linear along columns, then along rows, (N, H, W).

    Each goes along the last axis but one, where a step copies whole rows; along the last it takes three times as long.
    """
    turned = np.ascontiguousarray(values.swapaxes(-1, -2))
    wide = np.ascontiguousarray(_down(turned, columns).swapaxes(-1, -2))
    return _down(wide, rows)


def _down(values: NDArray[np.floating[Any]], axis: AxisMap) -> NDArray[np.floating[Any]]:
    """Linear along the last axis but one; a + (b - a) * w gives a constant back exactly."""
    lower = values.take(axis.lower, axis=-2)
    result: NDArray[np.floating[Any]] = values.take(axis.upper, axis=-2)
    result -= lower
    result *= axis.weight.astype(values.dtype)[:, None]
    result += lower
    return result
