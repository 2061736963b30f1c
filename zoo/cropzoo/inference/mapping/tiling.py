"""How an image is cut into chunks whose series stay small in memory."""

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
"""Of a chunk's series. It bounds memory whatever the number of dates, and must not depend on the machine: batches are
cut within a chunk, so that it decides the last bits of a result."""

_DECODING = 0.25
"""What it costs to decode a pixel's series, beside what it costs a network to see it: between a processor, for which
it is nothing, and a large GPU, which waits for it."""

_SHAPES = (1, 2, 4, 8, 16, 32)


def chunk_size(
    image: Sequence[int], *, block: Sequence[int], size: int, stride: int, pixel_bytes: int
) -> tuple[int, int]:
    """Height and width of chunks, px: whole strides of the network's windows, as many as fit in `MOST_BYTES`.

    A chunk reads what its outermost windows see beyond it, and images decode whole blocks. So images in square blocks
    get square chunks, and those stored in rows of pixels wide ones.

    Args:
        image: height and width, px.
        block: height and width of the pieces in which the images are stored.
        size: side of the network's windows.
        stride: between them.
        pixel_bytes: of the series of a pixel.
    """
    most = max(MOST_BYTES // pixel_bytes, size * size)
    candidates = []
    for flat in _SHAPES:
        for shape in {(1 / flat, flat), (flat, 1 / flat)}:
            sides = [
                _whole(((most * part) ** 0.5) - size, stride, length) for part, length in zip(shape, image, strict=True)
            ]
            rows, columns = sides
            if flat == 1 or (rows + size) * (columns + size) <= most:
                candidates.append((_cost(sides, image, block, size), rows, columns))
    _, rows, columns = min(candidates)
    return rows, columns


def _whole(side: float, stride: int, length: int) -> int:
    """Strides that fit in a side, one at least; all of the image where it is no longer."""
    fitting = max(int(side) // stride, 1) * stride
    return length if fitting >= length else fitting


def _cost(sides: Sequence[int], image: Sequence[int], block: Sequence[int], size: int) -> float:
    """Pixels that are seen and decoded for each that is made."""
    seen = decoded = made = 1.0
    for side, length, piece in zip(sides, image, block, strict=True):
        made *= side
        seen *= min(side + size, length)
        decoded *= min(side + size + piece, length)
    return (seen + _DECODING * decoded) / made


def cut(inside: Window, rows: int, columns: int, size: int) -> Iterator[Window]:
    """Chunks that cover a part of an image, in rows; the edges lie on a lattice anchored at the image's first pixel.

    They lie in the middle of a network's window, so that this one alone is seen from both sides. What is left at the
    end, if it is less than half a window, goes to the chunk before it.
    """
    for row, height in _pieces(inside.row, inside.height, rows, size):
        for column, width in _pieces(inside.column, inside.width, columns, size):
            yield Window(row, column, height, width)


def _pieces(start: int, length: int, side: int, size: int) -> list[tuple[int, int]]:
    end, half = start + length, size // 2
    first = start - (start - half) % side + side if start >= half else side + half
    edges = [start, *(edge for edge in range(first, end, side) if end - edge > half), end]
    return [(edge, after - edge) for edge, after in pairwise(edges)]


_TOLERANCE = 0.01
"""Share of a pixel by which images may lie beside a common lattice."""


def common_grid(tiles: Sequence[ImageStack]) -> tuple[list[tuple[int, int]], Grid]:
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


def _offset(first: ImageStack, tile: ImageStack) -> tuple[int, int]:
    """Row and column of a tile's first pixel, in pixels from the first tile's."""
    which, how = f"images {_some(first)} and {_some(tile)}", "warp them to one grid, or make a map of each"
    if tile.grid.crs != first.grid.crs:
        raise CropzooError(
            f"{which}; their CRS are {format_crs(first.grid.crs)} and {format_crs(tile.grid.crs)}, and a map has one; "
            f"{how}"
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


def _some(tile: ImageStack) -> str:
    """A file of a tile, by which the user knows it."""
    return repr(str(next(iter(tile.acquisitions[0].files.values()))[0].path))


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
