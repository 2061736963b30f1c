"""Pictures of a map and its images, and time series of points on a coarse lattice, for the map page."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from cropzoo.data.classified_map import NODATA, STEPS, MapFile
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import RASTER_FAILURES, Grid, Window, open_raster, unreadable_error
from cropzoo.geo.raster.reader import CLEAR_SCL, StackReader, reading_environment
from cropzoo.geo.raster.scene import ImageStack
from cropzoo.io import ProgressCallback
from cropzoo.reports.imagery import compute_index, find_color_bands, find_index_bands

MAX_SIDE = 2000
"""Maximum side of a picture in pixels; browsers on phones refuse much larger ones."""

MAX_POINTS = 200
"""Maximum number of points of the lattice along the longer side."""

_MAX_VALUES = 3_000_000
"""Maximum number of points times dates, one byte each: the page stays below 10 MB."""

_STRIP_PIXELS = 4 << 20
"""Pixels that are read at a time."""

_PICTURE_CACHE_MB = 64
_CURVE_CACHE_MB = 128
_PICTURE_DATES = 3
"""Dates of the imagery; the median of three removes a cloud that one of them has."""

_MIN_RANGE = 0.02
"""Minimum range of reflectance of a stretched channel, so that noise is not amplified."""


def picture_size(grid: Grid) -> tuple[int, int]:
    """Height and width of the pictures of a map; a pixel shows one or several pixels of the map."""
    factor = max(1, -(-max(grid.height, grid.width) // MAX_SIDE))
    return -(-grid.height // factor), -(-grid.width // factor)


def class_picture(source: MapFile) -> NDArray[np.uint8]:
    """Most frequent label index in each pixel of the picture, (h, w); 255 without data."""
    return _downsample(source.path, source.grid, Resampling.mode)


def confidence_picture(source: MapFile) -> NDArray[np.uint8] | None:
    """Mean confidence in steps of 1/250, (h, w), 255 without data; None if the map has no confidence."""
    return None if source.confidence is None else _downsample(source.confidence, source.grid, Resampling.average)


def _downsample(path: Path, grid: Grid, how: Resampling) -> NDArray[np.uint8]:
    height, width = picture_size(grid)
    try:
        with open_raster(path) as raster, reading_environment(_PICTURE_CACHE_MB):
            values: NDArray[np.uint8] = raster.read(1, out_shape=(height, width), resampling=how)
    except RASTER_FAILURES as error:
        raise unreadable_error(path, error) from error
    return values


@dataclass(frozen=True, eq=False)
class PageImages:
    """Images of a tile and their position in a map.

    Args:
        tile: The images.
        row: Row of the tile's first pixel, in pixels of the images from the map's first pixel.
        column: Column of the tile's first pixel, likewise.
        used: Positions of the dates of the map.
        scale: Reflectance of one stored unit.
        clear_scl: Classes of an SCL band that count as clear.
        offset: Radiometric offset subtracted from pixel values; None to read it from metadata.
    """

    tile: ImageStack
    row: int
    column: int
    used: Sequence[int]
    scale: float
    clear_scl: Sequence[int] = CLEAR_SCL
    offset: int | None = None

    def reader(self, bands: Sequence[str]) -> StackReader:
        """A reader of these bands."""
        return StackReader(self.tile, bands=bands, clear_scl=self.clear_scl, offset=self.offset)


@dataclass(frozen=True, eq=False)
class CurveGrid:
    """Time series of points on a lattice.

    Args:
        first_row: Row of the first point, in pixels of the images from the map's first pixel.
        first_column: Column of the first point, likewise.
        step: Pixels between points.
        days: (T,), days since 1970-01-01.
        values: (T, n, m), uint8, 250 steps from `low` to `high`; 255 where not clear.
        low: Value of byte 0.
        high: Value of byte 250.
        name: Name of the values.
    """

    first_row: int
    first_column: int
    step: int
    days: tuple[int, ...]
    values: NDArray[np.uint8]
    low: float
    high: float
    name: str


def read_curves(
    images: Sequence[PageImages], height: int, width: int, advance: ProgressCallback = lambda done, total: None
) -> list[CurveGrid]:
    """Read time series of each tile: NDVI if there are red and near infrared, else the reflectance of a band.

    The points of all tiles are on one lattice. An unreadable image counts as not clear, because prediction reports it.

    Args:
        images: Images with their positions.
        height: Height of the map, in pixels of the images.
        width: Width of the map, in pixels of the images.
        advance: Called with (images read, total).
    """
    dates = max((len(each.used) for each in images), default=1) or 1
    side = max(1, min(MAX_POINTS, int((_MAX_VALUES / dates) ** 0.5)))
    step = max(1, -(-max(height, width) // side))
    total, done, curves = sum(len(each.used) for each in images), 0, []
    for each in images:
        rows = _lattice_points(each.row, each.tile.grid.height, height, step)
        columns = _lattice_points(each.column, each.tile.grid.width, width, step)
        if not (len(rows) and len(columns) and len(each.used)):
            continue
        bands, name, low, high = find_index_bands(each.tile.bands)
        values = np.full((len(each.used), len(rows), len(columns)), NODATA, np.uint8)
        with each.reader(bands) as reader, reading_environment(_CURVE_CACHE_MB):
            for number, date in enumerate(each.used):
                series, clear = _read_at(reader, date, rows - each.row, columns - each.column)
                index = compute_index(series * each.scale)
                good = clear & np.isfinite(index)
                steps = np.rint(STEPS * (np.nan_to_num(index) - low) / (high - low)).clip(0, STEPS)
                values[number][good] = steps[good]
                done += 1
                advance(done, total)
        days = tuple(int(each.tile.dates[date]) for date in each.used)
        curves.append(CurveGrid(int(rows[0]), int(columns[0]), step, days, values, low, high, name))
    return curves


def read_picture(
    images: Sequence[PageImages], curves: Sequence[CurveGrid], grid: Grid, upsample: int
) -> NDArray[np.uint8] | None:
    """Read true-color imagery: the median of the clearest and greenest dates in `curves`.

    Args:
        images: Images with their positions.
        curves: Time series from `read_curves`.
        grid: Grid of the map.
        upsample: Map pixels per image pixel along an axis.

    Returns:
        (h, w, 3), uint8, of the size of the other pictures of the map; None if no image can be shown.
    """
    height, width = picture_size(grid)
    # The image pixel at the center of each pixel of the picture.
    at_row = ((np.arange(height) + 0.5) * grid.height / height / upsample).astype(np.int64)
    at_column = ((np.arange(width) + 0.5) * grid.width / width / upsample).astype(np.int64)
    layers = np.full((_PICTURE_DATES, 3, height, width), np.nan, np.float32)
    for each in images:
        own = next((c for c in curves if c.days == tuple(int(each.tile.dates[date]) for date in each.used)), None)
        rows = np.flatnonzero((at_row >= each.row) & (at_row < each.row + each.tile.grid.height))
        columns = np.flatnonzero((at_column >= each.column) & (at_column < each.column + each.tile.grid.width))
        if own is None or not (len(rows) and len(columns)):
            continue
        bands = find_color_bands(each.tile.bands)
        target = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        with each.reader(tuple(dict.fromkeys(bands))) as reader, reading_environment(_CURVE_CACHE_MB):
            pick = [reader.bands.index(band) for band in bands]
            for layer, number in zip(layers, _best_dates(own), strict=False):
                date = each.used[number]
                series, clear = _read_at(reader, date, at_row[rows] - each.row, at_column[columns] - each.column)
                values = np.where(clear, series[pick] * each.scale, np.nan)
                layer[target] = np.where(np.isfinite(layer[target]), layer[target], values)
    if not np.isfinite(layers).any():
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        # One channel and row at a time, because NumPy makes several copies of its input.
        image = (np.stack([np.nanmedian(row, axis=0) for row in layers[:, k].swapaxes(0, 1)]) for k in range(3))
        return np.stack([_stretch(channel) for channel in image], axis=-1)


def _lattice_points(start: int, length: int, most: int, step: int) -> NDArray[np.int64]:
    """The points of the map's lattice along an axis that are in a tile."""
    points = np.arange(step // 2, most, step)
    return points[(points >= start) & (points < start + length)]


def _read_at(
    reader: StackReader, date: int, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read values at increasing rows and columns of a tile, (C, n, m), and whether they are clear, (n, m)."""
    values = np.zeros((len(reader.bands), len(rows), len(columns)), np.float32)
    clear = np.zeros((len(rows), len(columns)), np.bool_)
    for part in _strips(rows, int(columns[-1] - columns[0]) + 1):
        top, left = int(rows[part][0]), int(columns[0])
        window = Window(top, left, int(rows[part][-1]) - top + 1, int(columns[-1]) - left + 1)
        try:
            series, seen = reader.read_date(date, window)
        except CropzooError:
            continue
        here = np.ix_(rows[part] - top, columns - left)
        values[:, part] = series[:, here[0], here[1]]
        clear[part] = seen[here]
    return values, clear


def _strips(rows: NDArray[np.int64], width: int) -> Iterator[slice]:
    """Runs of rows that are close enough to be read at once."""
    most, start = max(1, _STRIP_PIXELS // width), 0
    for stop in range(1, len(rows) + 1):
        if stop == len(rows) or rows[stop] - rows[start] >= most:
            yield slice(start, stop)
            start = stop


def _best_dates(curves: CurveGrid) -> list[int]:
    """Positions of the dates with the largest clear and green area."""
    clear = curves.values != NODATA
    green = np.where(clear, curves.values, 0).sum(axis=(1, 2)) / STEPS
    order: list[int] = np.argsort(-green, kind="stable").tolist()
    return order[:_PICTURE_DATES]


def _stretch(channel: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stretch a channel to 0..255 from its 2nd to its 98th percentile; gray where it is NaN."""
    seen = np.isfinite(channel)
    if not seen.any():
        return np.full(channel.shape, 128, np.uint8)
    low, high = np.percentile(channel[seen], (2, 98))
    values = np.clip((np.nan_to_num(channel) - low) / max(high - low, _MIN_RANGE), 0, 1)
    return np.where(seen, np.rint(255 * values), 128).astype(np.uint8)
