"""Orientation of rasters: which way their rows and columns run, and turning them upright for pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine

from cropzoo.geo.raster.grid import Grid

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class Orientation:
    """How the pixels of a raster are reordered to a picture with x to the right and y upward.

    Rows and columns are swapped first, then reversed. A raster whose rotation is no multiple of 90 degrees keeps less
    than 45 degrees of it.

    Args:
        transpose: Whether rows and columns are swapped.
        flip_rows: Whether rows are reversed, as for a raster whose first row is the southernmost.
        flip_columns: Whether columns are reversed.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @classmethod
    def of(cls, transform: Any) -> Orientation:
        """The orientation of a raster with an affine transform from columns and rows to x and y."""
        a, b, _, d, e, _ = tuple(transform)[:6]
        transpose = a * a + e * e < b * b + d * d
        x_by_column, y_by_row = (b, d) if transpose else (a, e)
        return cls(transpose, flip_rows=y_by_row > 0, flip_columns=x_by_column < 0)

    def turn(self, values: NDArray[Value], axes: tuple[int, int] = (-2, -1)) -> NDArray[Value]:
        """Return a view of the pixels of a raster as a picture.

        Args:
            values: Array with one axis for rows and one for columns.
            axes: The axis of the rows and that of the columns.
        """
        if self.transpose:
            values = values.swapaxes(*axes)
        flipped = tuple(axis for axis, flip in zip(axes, (self.flip_rows, self.flip_columns), strict=True) if flip)
        return np.flip(values, flipped) if flipped else values

    def turn_grid(self, grid: Grid) -> Grid:
        """Return the grid of the picture of a raster."""
        height, width = grid.height, grid.width
        a, b, c, d, e, f = tuple(grid.transform)[:6]
        if self.transpose:
            height, width, a, b, d, e = width, height, b, a, e, d
        if self.flip_rows:
            b, c, e, f = -b, c + b * height, -e, f + e * height
        if self.flip_columns:
            a, c, d, f = -a, c + a * width, -d, f + d * width
        return replace(grid, height=height, width=width, transform=Affine(a, b, c, d, e, f))
