"""Rasterizing polygons: which polygon contains the center of each cell of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.parcel_table import ParcelTable

_STEPS = 1024
"""Corners are rounded to this fraction of a cell, 2.4 mm for a cell of 2.5 m. Moving rounded corners by whole cells is
exact, so that a cell is the same in every window, and edges on grid lines stay on them."""

_CELLS = 1 << 22
"""Largest number of cells in memory."""

Shape = tuple[dict[str, Any], int]


def split_rows(window: Window, scale: int) -> Iterator[Window]:
    """Parts of a window with complete rows, whose cells (`scale` per pixel and axis) fit in memory."""
    rows = max(1, _CELLS // (window.width * scale * scale))
    for row in range(0, window.height, rows):
        yield Window(window.row + row, window.column, min(rows, window.height - row), window.width)


def to_cell_shapes(
    polygons: NDArray[Any], numbers: Iterable[int], grid: Grid, window: Window, scale: int
) -> list[Shape]:
    """Polygons in cell coordinates of a window, each with a number, for `rasterize_shapes`.

    Args:
        polygons: Polygons of shapely in the CRS of the grid, (n,).
        numbers: Number of each polygon, from 1.
        grid: Grid of the image.
        window: Window of the grid, in pixels.
        scale: Cells per pixel and axis.
    """
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    turn = np.linalg.inv(np.array([[a, b], [d, e]])) * scale
    corner = np.array([window.column, window.row]) * scale

    def to_cells(points: NDArray[np.float64]) -> NDArray[np.float64]:
        cells: NDArray[np.float64] = np.round((points - (c, f)) @ turn.T * _STEPS) / _STEPS - corner
        return cells

    moved = shapely.transform(polygons, to_cells)
    return [(shapely.geometry.mapping(polygon), number) for polygon, number in zip(moved, numbers, strict=True)]


def rasterize_shapes(shapes: Sequence[Shape], height: int, width: int) -> NDArray[np.int32]:
    """Number of the shape that contains the center of each cell, (height, width), 0 for none; the last one wins."""
    cells = np.zeros((height, width), np.int32)
    if shapes:
        rasterize(shapes, out=cells)
    return cells


def rasterize_centers(table: ParcelTable, grid: Grid, window: Window, *, label_scale: int = 1) -> NDArray[np.int32]:
    """Parcel that contains the center of each label pixel; where parcels overlap, the later one.

    Args:
        table: Parcels in any CRS that can be transformed to that of the grid.
        grid: Grid of the image.
        window: Window of the grid, in pixels.
        label_scale: Label pixels per image pixel and axis.

    Returns:
        1 + the position of the parcel in the table, 0 for none, (height * label_scale, width * label_scale).
    """
    table = table.to_crs(grid.crs)
    parts = []
    for strip in split_rows(window, label_scale):
        near = find_parcels(table, grid, strip)
        shapes = to_cell_shapes(table.geometry[near], (near + 1).tolist(), grid, strip, label_scale)
        parts.append(rasterize_shapes(shapes, strip.height * label_scale, strip.width * label_scale))
    return np.concatenate(parts)


def find_parcels(table: ParcelTable, grid: Grid, window: Window) -> NDArray[np.intp]:
    """Positions of the parcels that intersect a window; the table is in the CRS of the grid."""
    return table.within(grid.window_corners(window))
