"""Tiling: image chunks whose series fit in memory, and the common grid of several image stacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from rasterio import Affine

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window, format_crs
from cropzoo.geo.raster.scene import ImageStack

MOST_BYTES = 96_000_000
"""Maximum size of a chunk's series. It bounds memory for any number of dates and must not depend on the machine:
batches are formed within a chunk, so that it affects the last bits of a result."""

_DECODING_COST = 0.25
"""Cost of decoding a pixel's series relative to that of predicting it: a compromise between a CPU, where decoding is
negligible, and a large GPU, which waits for it."""

_ASPECT_RATIOS = (1, 2, 4, 8, 16, 32)

_TOLERANCE = 0.01
"""Maximum misalignment of images with a common grid, in pixels."""


def chunk_size(
    image: Sequence[int], *, block: Sequence[int], size: int, stride: int, pixel_bytes: int
) -> tuple[int, int]:
    """Height and width of chunks in pixels: the largest multiples of the window stride that fit in `MOST_BYTES`.

    A chunk also reads the margin that its outermost windows cover, and files are decoded in blocks. Images in square
    blocks therefore get square chunks, and images stored by rows get wide ones.

    Args:
        image: Height and width of the image, px.
        block: Height and width of the blocks of the image files, px.
        size: Side of the network's windows, px.
        stride: Distance between neighboring windows, px.
        pixel_bytes: Bytes of a pixel's series.
    """
    most = max(MOST_BYTES // pixel_bytes, size * size)
    candidates = []
    for ratio in _ASPECT_RATIOS:
        for shape in {(1 / ratio, ratio), (ratio, 1 / ratio)}:
            sides = [
                _fit_side(((most * share) ** 0.5) - size, stride, length)
                for share, length in zip(shape, image, strict=True)
            ]
            rows, columns = sides
            if ratio == 1 or (rows + size) * (columns + size) <= most:
                candidates.append((_cost(sides, image, block, size), rows, columns))
    _, rows, columns = min(candidates)
    return rows, columns


def _fit_side(side: float, stride: int, length: int) -> int:
    """The largest multiple of the stride within a side, at least one stride; at most the length of the image."""
    fitting = max(int(side) // stride, 1) * stride
    return length if fitting >= length else fitting


def _cost(sides: Sequence[int], image: Sequence[int], block: Sequence[int], size: int) -> float:
    """Cost of predicting and decoding per pixel of a chunk."""
    predicted = decoded = area = 1.0
    for side, length, piece in zip(sides, image, block, strict=True):
        area *= side
        predicted *= min(side + size, length)
        decoded *= min(side + size + piece, length)
    return (predicted + _DECODING_COST * decoded) / area


def split_window(inside: Window, rows: int, columns: int, size: int) -> Iterator[Window]:
    """Split a window of an image into chunks, in row-major order, along a lattice anchored at the image's first pixel.

    Edges of chunks are in the middle of a network's window, so that only this window is predicted for both chunks. A
    remainder of less than half a window is added to the chunk before it.
    """
    for row, height in _pieces(inside.row, inside.height, rows, size):
        for column, width in _pieces(inside.column, inside.width, columns, size):
            yield Window(row, column, height, width)


def _pieces(start: int, length: int, side: int, size: int) -> list[tuple[int, int]]:
    end, half = start + length, size // 2
    first = start - (start - half) % side + side if start >= half else side + half
    edges = [start, *(edge for edge in range(first, end, side) if end - edge > half), end]
    return [(edge, after - edge) for edge, after in pairwise(edges)]


def common_grid(tiles: Sequence[ImageStack]) -> tuple[list[tuple[int, int]], Grid]:
    """Row and column of each tile in the smallest grid that contains all tiles, and that grid.

    Raises:
        CropzooError: Tiles are not aligned to one grid; the message names them.
    """
    first = tiles[0]
    corners = [_offset(first, tile) for tile in tiles]
    top, left = min(row for row, _ in corners), min(column for _, column in corners)
    bottom = max(row + tile.grid.height for (row, _), tile in zip(corners, tiles, strict=True))
    right = max(column + tile.grid.width for (_, column), tile in zip(corners, tiles, strict=True))
    union = subgrid(first.grid, Window(top, left, bottom - top, right - left))
    return [(row - top, column - left) for row, column in corners], union


def _offset(first: ImageStack, tile: ImageStack) -> tuple[int, int]:
    """Row and column of a tile's first pixel, in pixels from the first tile's."""
    which, how = f"images {_example(first)} and {_example(tile)}", "warp them to one grid, or make one map of each"
    if tile.grid.crs != first.grid.crs:
        raise CropzooError(
            f"{which}; their CRS differ, {format_crs(first.grid.crs)} and {format_crs(tile.grid.crs)}; {how}"
        )
    a, b, c, d, e, f = tuple(first.grid.transform)[:6]
    theirs = tuple(tile.grid.transform)[:6]
    side = math.hypot(a, d)
    across = max(tile.grid.height, tile.grid.width)
    if any(abs(theirs[k] - own) * across > _TOLERANCE * side for k, own in ((0, a), (1, b), (3, d), (4, e))):
        raise CropzooError(
            f"{which}; their pixels differ in size or orientation, {(a, b, d, e)} and "
            f"{(*theirs[:2], *theirs[3:5])}; {how}"
        )
    matrix = np.array([[a, b], [d, e]], np.float64)
    column, row = np.linalg.solve(matrix, np.array([theirs[2] - c, theirs[5] - f]))
    if max(abs(row - round(row)), abs(column - round(column))) > _TOLERANCE:
        raise CropzooError(
            f"{which}; their grids are shifted by {abs(row - math.floor(row)):.2f} rows and "
            f"{abs(column - math.floor(column)):.2f} columns; {how}"
        )
    return round(row), round(column)


def _example(tile: ImageStack) -> str:
    """A file of a tile, for messages."""
    return repr(str(next(iter(tile.acquisitions[0].files.values()))[0].path))


def subgrid(grid: Grid, window: Window) -> Grid:
    """The grid of a window."""
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    x, y = grid.locate(window.row, window.column)
    return Grid(window.height, window.width, Affine(a, b, x, d, e, y), grid.crs)


def refine_grid(grid: Grid, scale: int) -> Grid:
    """The grid with `scale` times smaller pixels."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    transform = Affine(a / scale, b / scale, c, d / scale, e / scale, f)
    return Grid(scale * grid.height, scale * grid.width, transform, grid.crs)


def coarsen_window(window: Window, scale: int, grid: Grid) -> Window:
    """The smallest window of a grid that contains a window of the `scale` times finer grid."""
    top, left = window.row // scale, window.column // scale
    bottom = min(-(-(window.row + window.height) // scale), grid.height)
    right = min(-(-(window.column + window.width) // scale), grid.width)
    return Window(top, left, bottom - top, right - left)
