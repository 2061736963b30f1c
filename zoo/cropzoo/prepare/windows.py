"""Which windows of the images become samples, and which of them are read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform
from shapely import STRtree
from shapely.geometry import Polygon

from cropzoo.data.labels import Labels, rasterize_labels
from cropzoo.data.legend import Legend
from cropzoo.data.sample import IGNORE
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.raster.scene import ImageStack
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.geo.vector.rasterize import rasterize_centers
from cropzoo.prepare.options import PrepareOptions

NEAR = 4
"""Windows on a side of a region whose images are stored in small pieces: few reads, and work for all processes."""

_REGION = 2**22
"""Pixels of a region; one date of ten bands takes 84 MB then."""

_LEAST = 0.25
"""A window narrower than this share of the others would be drawn in training as often as they."""

_SHARED = 0.01
"""Share of a window that two tiles may both show; reprojection makes edges overlap by a little."""


@dataclass(frozen=True)
class SampleWindow:
    """One sample to make: its id, which tile, which window of it, which year (None for all dates).

    Args:
        region: the places of a tile and year with one number lie near each other and are read together.
    """

    id: str
    tile: int
    window: Window
    year: int | None = None
    region: int = 0


def split_windows(height: int, width: int, size: int, block: tuple[int, int] = (1, 1)) -> list[list[Window]]:
    """Windows that cover a raster without overlap, from its upper left corner, grouped to regions.

    Where the size does not divide the raster, the last row and column of them are smaller, or larger by less than a
    quarter, so that no pixel is left out; a raster smaller than the size is one window. A region holds whole pieces in
    which the images are stored, as far as its one date stays small: strips make regions of a whole row of windows,
    large tiles make large squares.

    Args:
        height, width: of the raster.
        size: pixels on a side of a window.
        block: height and width of the pieces in which images are stored.
    """
    rows, columns = _pieces(height, size), _pieces(width, size)
    across = max(NEAR, -(-min(block[1], width) // size))
    down = max(NEAR, -(-min(block[0], height) // size))
    down = max(1, min(down, _REGION // (min(across, len(columns)) * size * size)))
    return [
        [Window(row, column, high, wide) for row, high in band for column, wide in group]
        for band in _groups(rows, down)
        for group in _groups(columns, across)
    ]


def _pieces(length: int, size: int) -> list[tuple[int, int]]:
    pieces = [(start, min(size, length - start)) for start in range(0, length, size)]
    if len(pieces) > 1 and pieces[-1][1] < _LEAST * size:
        *pieces, (start, _), (_, rest) = pieces
        pieces.append((start, size + rest))
    return pieces


def _groups(pieces: Sequence[tuple[int, int]], count: int) -> Iterator[Sequence[tuple[int, int]]]:
    return (pieces[start : start + count] for start in range(0, len(pieces), count))


def bounding_window(windows: Sequence[Window]) -> Window:
    """The smallest window that holds all of these."""
    row, column = min(window.row for window in windows), min(window.column for window in windows)
    bottom = max(window.row + window.height for window in windows)
    right = max(window.column + window.width for window in windows)
    return Window(row, column, bottom - row, right - column)


def window_corners(grid: Grid, window: Window) -> list[tuple[float, float]]:
    """The outer corners of a window in the CRS's units, around it."""
    row, column, height, width = window
    ends = ((row, column), (row, column + width), (row + height, column + width), (row + height, column))
    return [grid.locate(*end) for end in ends]


def window_lon_lat(grid: Grid, window: Window) -> list[tuple[float, float]]:
    """The corners in degrees east and north."""
    xs, ys = zip(*window_corners(grid, window), strict=True)
    longitudes, latitudes = transform(grid.crs, "EPSG:4326", xs, ys)
    return list(zip(longitudes, latitudes, strict=True))


def find_new_windows(grids: Sequence[Grid], windows: Sequence[Sequence[Window]]) -> list[list[bool]]:
    """Of the windows of each tile: whether it shows no ground of a tile before it.

    Tiles of Sentinel-2 overlap; the same field in two samples could train in one and test in the other.
    """
    kept: list[list[bool]] = []
    outlines: list[Any] = []
    for grid, mine in zip(grids, windows, strict=True):
        tree = STRtree(outlines)
        here = [Polygon(window_lon_lat(grid, window)) for window in mine]
        new = [_is_new(outline, outlines, tree) for outline in here]
        kept.append(new)
        outlines += [outline for outline, fresh in zip(here, new, strict=True) if fresh]
    return kept


def _is_new(outline: Any, others: Sequence[Any], tree: Any) -> bool:
    near = np.atleast_1d(tree.query(outline))
    shared = sum(outline.intersection(others[int(index)]).area for index in near)
    return bool(shared <= _SHARED * outline.area)


EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of a place: positions of its parcels among all, (k,), how many each has, (k,), and how many none has."""

    parcels: NDArray[np.intp]
    pixels: NDArray[np.int64]
    outside: int


@dataclass(frozen=True, eq=False)  # one equals itself alone, so that readers can be kept for it
class PrepareInputs:
    """What a preparation starts from.

    Args:
        options: what was asked for.
        tiles: the images.
        parcels: those that touch the images.
    """

    options: PrepareOptions
    tiles: tuple[ImageStack, ...]
    parcels: ParcelTable

    @cached_property
    def years(self) -> dict[int | None, NDArray[np.bool_]]:
        """Which parcels are of which harvest year; all of them of None without a column of years."""
        if not self.options.year_column:
            return {None: np.ones(len(self.parcels), np.bool_)}
        found = np.array(self.parcels.years)
        return {int(year): found == year for year in np.unique(found)}

    @cached_property
    def _of_year(self) -> dict[int | None, ParcelTable]:
        """One table a year, which keeps itself in the CRS of each tile."""
        return {year: self.parcels.subset(mask) for year, mask in self.years.items()}

    def dates(self, place: SampleWindow) -> NDArray[np.intp]:
        """Positions of the acquisitions of a place's season, (T,)."""
        days = self.tiles[place.tile].dates
        if place.year is None:
            return np.arange(len(days))
        first, last = self.options.span(place.year)
        return np.flatnonzero((days >= (first - EPOCH).days) & (days <= (last - EPOCH).days))

    def count_pixels(self, place: SampleWindow) -> PixelCounts:
        """Whose the centers of a place's pixels are: quick, and near enough to deal folds and to know rare classes."""
        table, grid, scale = self._of_year[place.year], self.tiles[place.tile].grid, self.options.label_scale
        found, pixels = np.unique(rasterize_centers(table, grid, place.window, label_scale=scale), return_counts=True)
        inside = found > 0
        positions = np.flatnonzero(self.years[place.year])[found[inside] - 1]
        return PixelCounts(positions, pixels[inside].astype(np.int64), int(pixels[~inside].sum()))

    def labels(self, place: SampleWindow, legend: Legend, hidden: NDArray[np.bool_] | None = None) -> Labels:
        """Classes and parcels of the pixels of a place; those of `hidden` parcels (n,) are ignored."""
        table, grid = self._of_year[place.year], self.tiles[place.tile].grid
        indices = legend.indices(table.crops)
        if hidden is not None:
            indices[hidden[self.years[place.year]]] = IGNORE
        return rasterize_labels(
            table.to_crs(grid.crs),
            indices,
            grid,
            place.window,
            label_scale=self.options.label_scale,
            conflict=self.options.conflict,
            background=legend.background,
        )

    def parcel_pixels(self, place: SampleWindow, labels: Labels) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Positions of the parcels of a place, (k,), and how many of its pixels count for each, (k,)."""
        ids, pixels = np.unique(labels.parcels[labels.labels != IGNORE], return_counts=True)
        pixels, ids = pixels[ids > 0], ids[ids > 0]
        own = np.flatnonzero(self.years[place.year])
        order = np.argsort(self.parcels.ids[own])
        return own[order[np.searchsorted(self.parcels.ids[own][order], ids)]], pixels.astype(np.int64)
