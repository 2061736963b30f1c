"""A map as pictures that a browser shows: its classes, its confidence, and how much ground each class has."""

from __future__ import annotations

import base64
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from cropzoo.images.rasters import Grid, open_raster, unreadable
from cropzoo.images.reading import reading_environment
from cropzoo.mapping.map_file import MapFile

LARGEST = 2000
"""Pixels of a picture's side; browsers of phones refuse much larger ones."""

_SIDE = 2048
_CACHE_MB = 64


def picture_size(grid: Grid) -> tuple[int, int]:
    """Height and width of the pictures of a map; a pixel of theirs stands for one of the map's, or for several."""
    factor = max(1, -(-max(grid.height, grid.width) // LARGEST))
    return -(-grid.height // factor), -(-grid.width // factor)


def class_picture(source: MapFile) -> NDArray[np.uint8]:
    """(h, w), the label index that most of a picture's pixel has, 255 without data."""
    return _shrunk(source.path, source.grid, Resampling.mode)


def confidence_picture(source: MapFile) -> NDArray[np.uint8] | None:
    """(h, w), confidence in steps of 1/250, 255 without data; None where no such file lies beside the map."""
    return None if source.confidence is None else _shrunk(source.confidence, source.grid, Resampling.average)


def hectares(source: MapFile) -> NDArray[np.float64]:
    """(K,), the ground of each class, counted over every pixel of the map."""
    counts = np.zeros(len(source.classes))
    grid = source.grid
    with open_raster(source.path) as raster, reading_environment(_CACHE_MB):
        for row in range(0, grid.height, _SIDE):
            rows = min(_SIDE, grid.height - row)
            area = pixel_hectares(grid, row + rows / 2, grid.width / 2)
            for column in range(0, grid.width, _SIDE):
                window = ((row, row + rows), (column, min(column + _SIDE, grid.width)))
                try:
                    labels = raster.read(1, window=window)
                except RasterioError as error:
                    raise unreadable(source.path) from error
                counts += area * np.bincount(labels.ravel(), minlength=256)[: len(counts)]
    return counts


def pixel_hectares(grid: Grid, row: float, column: float) -> float:
    """The ground of the pixel at a place, by the ellipsoid where the CRS counts in degrees."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    crs = pyproj.CRS.from_user_input(grid.crs)
    geod = crs.get_geod()
    if not crs.is_geographic or geod is None:
        unit = crs.axis_info[0].unit_conversion_factor
        return float(abs(a * e - b * d) * unit * unit / 1e4)
    corners = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
    x, y = zip(*((a * k + b * r + c, d * k + e * r + f) for r, k in corners), strict=True)
    return float(abs(geod.polygon_area_perimeter(x, y)[0]) / 1e4)


def as_png(values: NDArray[np.uint8]) -> str:
    """A picture in grey, number by number, as a data URI; without loss."""
    return _uri(values[None], "PNG")


def as_jpeg(colours: NDArray[np.uint8]) -> str:
    """A picture (h, w, 3) in colours as a data URI; imagery takes a fifth of what it would as PNG."""
    return _uri(np.moveaxis(colours, -1, 0), "JPEG", quality=85)


def _shrunk(path: Path, grid: Grid, how: Resampling) -> NDArray[np.uint8]:
    height, width = picture_size(grid)
    try:
        with open_raster(path) as raster, reading_environment(_CACHE_MB):
            values: NDArray[np.uint8] = raster.read(1, out_shape=(height, width), resampling=how)
    except RasterioError as error:
        raise unreadable(path) from error
    return values


def _uri(bands: NDArray[np.uint8], driver: str, **options: Any) -> str:
    count, height, width = bands.shape
    profile = {"driver": driver, "dtype": "uint8", "count": count, "height": height, "width": width, **options}
    with rasterio.MemoryFile() as memory:
        with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED=False):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with memory.open(**profile) as target:
                target.write(bands)
        content = memory.read()
    return f"data:image/{driver.lower()};base64,{base64.b64encode(content).decode('ascii')}"
