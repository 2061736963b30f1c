"""Sample windows: which windows of the images become samples, and which of them are read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.warp import transform
from shapely import STRtree, union_all
from shapely.geometry import Polygon

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.longitudes import align_longitudes, join_at_180
from cropzoo.geo.vector.parcel_table import ParcelTable

_MIN_REGION_WINDOWS = 4
"""Windows per side of a region of images stored in small blocks: few reads, and work for all processes."""

_MAX_REGION_PIXELS = 2**22
"""Largest region in pixels; one date of ten bands then takes 84 MB."""

MAX_WINDOWS = 10_000_000
"""Largest number of listed windows of a stack; with 24 pixels of 10 m they cover Germany and France."""

_MIN_WIDTH = 0.25
"""A window narrower than this fraction of the others would be drawn in training as often as they are."""

_MIN_NEW = 0.01
"""Fraction of the pixels of a window below which those that only it covers are not worth a sample."""

_COUNTED_BELOW = 0.1
"""Fraction of the area of a window that only it covers, below which its pixels are counted; that takes longer."""

_TOUCHING = 1e-6
"""Fraction of a window that windows which only touch may seem to share, by rounding."""

PlacedWindow = tuple[int, Window]
"""Index of an image stack, and a window of its grid."""


@dataclass(frozen=True)
class SampleWindow:
    """Window that becomes one sample.

    Args:
        id: Id of the sample.
        stack: Index of the image stack.
        window: Window of the stack's grid, in pixels.
        year: Harvest year; None for all dates.
        region: Number of the region; windows of a stack and year with one number are neighbors and are read together.
        earlier: Windows of earlier stacks that overlap it; the labels of pixels that these cover are ignored.
    """

    id: str
    stack: int
    window: Window
    year: int | None = None
    region: int = 0
    earlier: tuple[PlacedWindow, ...] = ()


def split_windows(
    height: int,
    width: int,
    size: int,
    block: tuple[int, int] = (1, 1),
    boxes: NDArray[np.float64] | None = None,
) -> list[list[Window]]:
    """Windows that cover a raster without overlap, from its upper left corner, grouped into regions.

    If the size does not divide the raster, the last row and column of windows are smaller, or larger by less than a
    quarter, so that no pixel is left out; a raster smaller than the size is one window. A region contains complete
    blocks of the stored images as long as one date of it stays small: strips make regions of a row of windows, large
    blocks make large squares.

    Args:
        height, width: Size of the raster in pixels.
        size: Pixels per side of a window.
        block: Height and width of the blocks in which the images are stored.
        boxes: First row, first column, last row and last column of rectangles in pixels, (n, 4); only windows that
            one of them intersects are listed, and time and memory do not grow with the rest. None for all windows.

    Raises:
        CropzooError: There are more than ten million windows.
    """
    rows, columns = _split_length(height, size), _split_length(width, size)
    across = max(_MIN_REGION_WINDOWS, -(-min(block[1], width) // size))
    down = max(_MIN_REGION_WINDOWS, -(-min(block[0], height) // size))
    down = max(1, min(down, _MAX_REGION_PIXELS // (min(across, len(columns)) * size * size)))
    listed, count = [], 0
    for row, numbers in _list_columns(rows, columns, boxes):
        listed.append((row, numbers))
        count += len(numbers)
        if count > MAX_WINDOWS:
            near = "" if boxes is None else " near parcels"
            raise CropzooError(
                f"samples of {size} pixels from images of {height} x {width} pixels; these are more than "
                f"{MAX_WINDOWS:,} windows{near}, and no image may have more; crop the images to the parcels "
                f"(gdalwarp -te), enlarge --window{', or leave out --keep-empty' if boxes is None else ''}"
            )
    regions: dict[tuple[int, int], list[Window]] = {}
    for row, numbers in listed:
        top, bottom = rows[row : row + 2].tolist()
        edges = zip(numbers.tolist(), columns[numbers].tolist(), columns[numbers + 1].tolist(), strict=True)
        for column, left, right in edges:
            window = Window(top, left, bottom - top, right - left)
            regions.setdefault((row // down, column // across), []).append(window)
    return [regions[key] for key in sorted(regions)]


def count_windows(height: int, width: int, size: int) -> int:
    """Number of windows that cover a raster, see `split_windows`."""
    return (len(_split_length(height, size)) - 1) * (len(_split_length(width, size)) - 1)


def _split_length(length: int, size: int) -> NDArray[np.int64]:
    """Edges of the windows along an axis, from 0 to the length, (windows + 1)."""
    starts = np.arange(0, length, size)
    if len(starts) > 1 and length - starts[-1] < _MIN_WIDTH * size:
        starts = starts[:-1]
    return np.append(starts, length)


def _list_columns(
    rows: NDArray[np.int64], columns: NDArray[np.int64], boxes: NDArray[np.float64] | None
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Number of each row of windows, and the numbers of its windows that a box intersects, increasing.

    Args:
        rows, columns: Edges of the windows along each axis.
        boxes: See `split_windows`.
    """
    if boxes is None:
        everything = np.arange(len(columns) - 1)
        yield from ((row, everything) for row in range(len(rows) - 1))
        return
    inside = (boxes[:, :2] <= (rows[-1], columns[-1])).all(axis=1) & (boxes[:, 2:] >= 0).all(axis=1)
    boxes = boxes[inside]
    first_row, last_row = (_find_interval(rows, boxes[:, side]) for side in (0, 2))
    first_column, last_column = (_find_interval(columns, boxes[:, side]) for side in (1, 3))
    order = np.argsort(first_row, kind="stable")
    starts, open_boxes, row = 0, order[:0], -1
    while starts < len(order) or len(open_boxes):
        row = row + 1 if len(open_boxes) else int(first_row[order[starts]])
        stop = int(np.searchsorted(first_row, row, "right", sorter=order))
        open_boxes = np.append(open_boxes, order[starts:stop])
        starts = stop
        changes = np.zeros(len(columns), np.int64)
        np.add.at(changes, first_column[open_boxes], 1)
        np.add.at(changes, last_column[open_boxes] + 1, -1)
        yield row, np.flatnonzero(np.cumsum(changes))
        open_boxes = open_boxes[last_row[open_boxes] > row]


def _find_interval(edges: NDArray[np.int64], positions: NDArray[np.float64]) -> NDArray[np.intp]:
    """Number of the interval between edges that contains each position; the nearest one for those outside."""
    found: NDArray[np.intp] = np.clip(np.searchsorted(edges, positions, "right") - 1, 0, len(edges) - 2)
    return found


def locate_parcels(table: ParcelTable, grid: Grid) -> NDArray[np.float64]:
    """Rectangles around the parts of parcels in pixels of a grid, for `split_windows`, (n, 4).

    They are a pixel larger, since rasterization rounds corners. Parts outside the area of the CRS have none.

    Args:
        table: Parcels.
        grid: Grid of the images.
    """
    bounds = shapely.bounds(shapely.get_parts(table.to_crs(grid.crs).geometry))
    west, south, east, north = bounds[np.isfinite(bounds).all(axis=1)].T
    x, y = np.stack([west, west, east, east]), np.stack([south, north, south, north])
    columns, rows = _apply_affine(~grid.transform, x, y)
    return np.stack([rows.min(axis=0) - 1, columns.min(axis=0) - 1, rows.max(axis=0) + 1, columns.max(axis=0) + 1], 1)


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


def find_overlaps(
    grids: Sequence[Grid], windows: Sequence[Sequence[Window]]
) -> list[list[tuple[PlacedWindow, ...] | None]]:
    """Windows of earlier tiles that overlap each window of each tile; None for a window without ground of its own.

    Sentinel-2 tiles overlap; a field in two samples could be used for training and for testing.

    Args:
        grids: Grid of each tile.
        windows: Windows of each tile.
    """
    found: list[list[tuple[PlacedWindow, ...] | None]] = []
    outlines: list[Any] = []
    longitude = next(
        (window_lon_lat(grid, mine[0])[0][0] for grid, mine in zip(grids, windows, strict=True) if mine), 0.0
    )
    placed: list[PlacedWindow] = []
    for number, (grid, mine) in enumerate(zip(grids, windows, strict=True)):
        tree = STRtree(outlines)
        corners = np.array([Polygon(window_lon_lat(grid, window)) for window in mine], object)
        here = align_longitudes(join_at_180(corners), longitude)
        overlaps = [
            _find_overlap(outline, outlines, placed, tree, SampleWindow("", number, window), grids)
            for outline, window in zip(here, mine, strict=True)
        ]
        found.append(overlaps)
        for outline, window, overlap in zip(here, mine, overlaps, strict=True):
            if overlap is not None:
                outlines.append(outline)
                placed.append((number, window))
    return found


def _find_overlap(
    outline: Any,
    others: Sequence[Any],
    placed: Sequence[PlacedWindow],
    tree: Any,
    sample: SampleWindow,
    grids: Sequence[Grid],
) -> tuple[PlacedWindow, ...] | None:
    near = [
        index
        for index in sorted(np.atleast_1d(tree.query(outline)).tolist())
        if outline.intersection(others[index]).area > _TOUCHING * outline.area
    ]
    earlier = tuple(placed[index] for index in near)
    if near and outline.difference(union_all([others[index] for index in near])).area < _COUNTED_BELOW * outline.area:
        covered = find_covered(replace(sample, earlier=earlier), grids)
        return None if (~covered).mean() < _MIN_NEW else earlier
    return earlier


def find_covered(sample: SampleWindow, grids: Sequence[Grid]) -> NDArray[np.bool_]:
    """Pixels of a sample whose center is in a window of an earlier tile, (H, W).

    Args:
        sample: Window of the sample.
        grids: Grid of each tile.
    """
    covered = np.zeros((sample.window.height, sample.window.width), np.bool_)
    for number in sorted({number for number, _ in sample.earlier}):
        rows, columns = _locate_pixels(grids[sample.stack], sample.window, grids[number])
        for _, (row, column, height, width) in (each for each in sample.earlier if each[0] == number):
            inside = (rows >= row) & (rows < row + height) & (columns >= column) & (columns < column + width)
            covered |= inside
    return covered


def _locate_pixels(grid: Grid, window: Window, other: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of the pixel centers of a window in another grid, each (H, W)."""
    rows, columns = np.indices((window.height, window.width)) + 0.5
    x, y = _apply_affine(grid.transform, columns + window.column, rows + window.row)
    if grid.crs != other.crs:
        shape = x.shape
        x, y = (np.reshape(each, shape) for each in transform(grid.crs, other.crs, x.ravel(), y.ravel()))
    columns, rows = _apply_affine(~other.transform, x, y)
    return rows, columns


def _apply_affine(
    affine: Any, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b, c, d, e, f = tuple(affine)[:6]
    return a * x + b * y + c, d * x + e * y + f
