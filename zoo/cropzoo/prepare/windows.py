"""Sample windows: which windows of the images become samples, and which of them are read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.warp import transform
from shapely import STRtree
from shapely.geometry import Polygon

from cropzoo.geo.raster.grid import Grid, Window

_MIN_REGION_WINDOWS = 4
"""Windows per side of a region of images stored in small blocks: few reads, and work for all processes."""

_MAX_REGION_PIXELS = 2**22
"""Largest region in pixels; one date of ten bands then takes 84 MB."""

_MIN_WIDTH = 0.25
"""A window narrower than this fraction of the others would be drawn in training as often as they are."""

_MAX_OVERLAP = 0.01
"""Fraction of a window that two tiles may share; reprojection makes edges overlap slightly."""


@dataclass(frozen=True)
class SampleWindow:
    """Window that becomes one sample.

    Args:
        id: Id of the sample.
        stack: Index of the image stack.
        window: Window of the stack's grid, in pixels.
        year: Harvest year; None for all dates.
        region: Number of the region; windows of a stack and year with one number are neighbors and are read together.
    """

    id: str
    stack: int
    window: Window
    year: int | None = None
    region: int = 0


def split_windows(height: int, width: int, size: int, block: tuple[int, int] = (1, 1)) -> list[list[Window]]:
    """Windows that cover a raster without overlap, from its upper left corner, grouped into regions.

    If the size does not divide the raster, the last row and column of windows are smaller, or larger by less than a
    quarter, so that no pixel is left out; a raster smaller than the size is one window. A region contains complete
    blocks of the stored images as long as one date of it stays small: strips make regions of a row of windows, large
    blocks make large squares.

    Args:
        height, width: Size of the raster in pixels.
        size: Pixels per side of a window.
        block: Height and width of the blocks in which the images are stored.
    """
    rows, columns = _split_length(height, size), _split_length(width, size)
    across = max(_MIN_REGION_WINDOWS, -(-min(block[1], width) // size))
    down = max(_MIN_REGION_WINDOWS, -(-min(block[0], height) // size))
    down = max(1, min(down, _MAX_REGION_PIXELS // (min(across, len(columns)) * size * size)))
    return [
        [Window(row, column, high, wide) for row, high in band for column, wide in group]
        for band in _batch(rows, down)
        for group in _batch(columns, across)
    ]


def _split_length(length: int, size: int) -> list[tuple[int, int]]:
    pieces = [(start, min(size, length - start)) for start in range(0, length, size)]
    if len(pieces) > 1 and pieces[-1][1] < _MIN_WIDTH * size:
        *pieces, (start, _), (_, rest) = pieces
        pieces.append((start, size + rest))
    return pieces


def _batch(pieces: Sequence[tuple[int, int]], count: int) -> Iterator[Sequence[tuple[int, int]]]:
    return (pieces[start : start + count] for start in range(0, len(pieces), count))


def bounding_window(windows: Sequence[Window]) -> Window:
    """Smallest window that contains all windows."""
    row, column = min(window.row for window in windows), min(window.column for window in windows)
    bottom = max(window.row + window.height for window in windows)
    right = max(window.column + window.width for window in windows)
    return Window(row, column, bottom - row, right - column)


def window_lon_lat(grid: Grid, window: Window) -> list[tuple[float, float]]:
    """Corners of a window in degrees, (longitude, latitude), in order around it."""
    xs, ys = zip(*grid.window_corners(window), strict=True)
    longitudes, latitudes = transform(grid.crs, "EPSG:4326", xs, ys)
    return list(zip(longitudes, latitudes, strict=True))


def find_new_windows(grids: Sequence[Grid], windows: Sequence[Sequence[Window]]) -> list[list[bool]]:
    """Whether each window of each tile covers an area that no earlier tile covers.

    Sentinel-2 tiles overlap; a field in two samples could be used for training and for testing.

    Args:
        grids: Grid of each tile.
        windows: Windows of each tile.
    """
    kept: list[list[bool]] = []
    outlines: list[Any] = []
    for grid, mine in zip(grids, windows, strict=True):
        tree = STRtree(outlines)
        here = [Polygon(window_lon_lat(grid, window)) for window in mine]
        new = [_is_new(outline, outlines, tree) for outline in here]
        kept.append(new)
        outlines += [outline for outline, is_new in zip(here, new, strict=True) if is_new]
    return kept


def _is_new(outline: Any, others: Sequence[Any], tree: Any) -> bool:
    near = np.atleast_1d(tree.query(outline))
    shared = sum(outline.intersection(others[int(index)]).area for index in near)
    return bool(shared <= _MAX_OVERLAP * outline.area)
