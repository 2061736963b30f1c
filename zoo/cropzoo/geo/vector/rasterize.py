"""Parcels on a grid of cells: which parcel holds the center of a cell."""

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
"""Steps of a cell to which corners are rounded, 2.4 mm of a cell of 2.5 m. On whole steps moving a polygon by cells is
exact, so that a cell comes out the same in every window, and edges on the lines of the grid lie on them."""

_CELLS = 1 << 22
"""Cells that are held at a time."""

Shape = tuple[dict[str, Any], int]


def split_rows(window: Window, finer: int) -> Iterator[Window]:
    """A window in parts of whole rows, few enough for their cells (`finer` a pixel and axis) to fit in memory."""
    rows = max(1, _CELLS // (window.width * finer * finer))
    for row in range(0, window.height, rows):
        yield Window(window.row + row, window.column, min(rows, window.height - row), window.width)


def to_cell_shapes(
    polygons: NDArray[Any], numbers: Iterable[int], grid: Grid, window: Window, finer: int
) -> list[Shape]:
    """Polygons in cells from the upper left corner of a window, each with a number, for `rasterize_shapes`.

    Args:
        polygons: (n,) objects of shapely in the grid's CRS.
        numbers: n, from 1.
        grid: of the image.
        window: part of it, in pixels.
        finer: cells a pixel and axis.
    """
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    turn = np.linalg.inv(np.array([[a, b], [d, e]])) * finer
    corner = np.array([window.column, window.row]) * finer

    def to_cells(points: NDArray[np.float64]) -> NDArray[np.float64]:
        cells: NDArray[np.float64] = np.round((points - (c, f)) @ turn.T * _STEPS) / _STEPS - corner
        return cells

    moved = shapely.transform(polygons, to_cells)
    return [(shapely.geometry.mapping(polygon), number) for polygon, number in zip(moved, numbers, strict=True)]


def rasterize_shapes(shapes: Sequence[Shape], height: int, width: int) -> NDArray[np.int32]:
    """The number of the shape that holds the center of each cell, (height, width), 0 for none; the last one wins."""
    cells = np.zeros((height, width), np.int32)
    if shapes:
        rasterize(shapes, out=cells)
    return cells


def rasterize_centers(table: ParcelTable, grid: Grid, window: Window, *, label_scale: int = 1) -> NDArray[np.int32]:
    """The parcel that holds the center of each label pixel, the later one where parcels overlap.

    Args:
        table: in any CRS that the grid's can be made of.
        grid: of the image.
        window: part of it, in pixels.
        label_scale: label pixels a pixel and axis.

    Returns:
        (height * label_scale, width * label_scale), 1 + the parcel's position in the table, 0 for none.
    """
    table = table.to_crs(grid.crs)
    parts = []
    for strip in split_rows(window, label_scale):
        near = find_parcels(table, grid, strip)
        shapes = to_cell_shapes(table.geometry[near], (near + 1).tolist(), grid, strip, label_scale)
        parts.append(rasterize_shapes(shapes, strip.height * label_scale, strip.width * label_scale))
    return np.concatenate(parts)


def find_parcels(table: ParcelTable, grid: Grid, window: Window) -> NDArray[np.intp]:
    """Positions of the parcels that touch a window; the table is in the grid's CRS."""
    row, column, height, width = window
    ends = ((row, column), (row, column + width), (row + height, column + width), (row + height, column))
    return table.within([grid.locate(*end) for end in ends])
