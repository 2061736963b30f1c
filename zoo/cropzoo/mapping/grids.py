"""Grids of pixels that belong together: several images on one lattice, parts of a grid, and finer ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rasterio import Affine

from cropzoo.errors import CropzooError
from cropzoo.images.layers import Tile
from cropzoo.images.rasters import Grid, name_crs
from cropzoo.regions import Window

_TOLERANCE = 0.01
"""Share of a pixel by which images may lie beside a common lattice."""


def common_grid(tiles: Sequence[Tile]) -> tuple[list[tuple[int, int]], Grid]:
    """Row and column of each tile in the smallest grid that holds all, and that grid.

    Raises:
        CropzooError: naming the tiles that don't lie on one lattice.
    """
    first = tiles[0]
    corners = [_offset(first, tile) for tile in tiles]
    top, left = min(row for row, _ in corners), min(column for _, column in corners)
    bottom = max(row + tile.grid.height for (row, _), tile in zip(corners, tiles, strict=True))
    right = max(column + tile.grid.width for (_, column), tile in zip(corners, tiles, strict=True))
    whole = part(first.grid, Window(top, left, bottom - top, right - left))
    return [(row - top, column - left) for row, column in corners], whole


def _offset(first: Tile, tile: Tile) -> tuple[int, int]:
    """Row and column of a tile's first pixel, in pixels from the first tile's."""
    which, how = f"images {_some(first)} and {_some(tile)}", "warp them to one grid, or make a map of each"
    if tile.grid.crs != first.grid.crs:
        raise CropzooError(
            f"{which}; their CRS are {name_crs(first.grid.crs)} and {name_crs(tile.grid.crs)}, and a map has one; {how}"
        )
    a, b, c, d, e, f = tuple(first.grid.transform)[:6]
    theirs = tuple(tile.grid.transform)[:6]
    side = math.hypot(a, d)
    across = max(tile.grid.height, tile.grid.width)
    if any(abs(theirs[k] - own) * across > _TOLERANCE * side for k, own in ((0, a), (1, b), (3, d), (4, e))):
        raise CropzooError(
            f"{which}; their pixels differ in size or direction, {(a, b, d, e)} and "
            f"{(*theirs[:2], *theirs[3:5])}; {how}"
        )
    matrix = np.array([[a, b], [d, e]], np.float64)
    column, row = np.linalg.solve(matrix, np.array([theirs[2] - c, theirs[5] - f]))
    if max(abs(row - round(row)), abs(column - round(column))) > _TOLERANCE:
        raise CropzooError(
            f"{which}; their pixels lie {row - math.floor(row):.2f} and "
            f"{column - math.floor(column):.2f} of a pixel beside each other's; {how}"
        )
    return round(row), round(column)


def _some(tile: Tile) -> str:
    """A file of a tile, by which the user knows it."""
    return repr(str(next(iter(tile.acquisitions[0].layers.values()))[0].path))


def part(grid: Grid, window: Window) -> Grid:
    """The grid of a window."""
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    x, y = grid.locate(window.row, window.column)
    return Grid(window.height, window.width, Affine(a, b, x, d, e, y), grid.crs)


def finer(grid: Grid, scale: int) -> Grid:
    """The grid with pixels `scale` times finer."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    transform = Affine(a / scale, b / scale, c, d / scale, e / scale, f)
    return Grid(scale * grid.height, scale * grid.width, transform, grid.crs)


def coarse(window: Window, scale: int, whole: Grid) -> Window:
    """The smallest window of whole pixels of the images that holds one of finer pixels."""
    top, left = window.row // scale, window.column // scale
    bottom = min(-(-(window.row + window.height) // scale), whole.height)
    right = min(-(-(window.column + window.width) // scale), whole.width)
    return Window(top, left, bottom - top, right - left)
