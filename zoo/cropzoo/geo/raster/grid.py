"""Grids and windows of rasters, and opening rasters with errors that name the file."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyproj
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from cropzoo.errors import CropzooError, find_open_limit_error
from cropzoo.geo.local import GDAL_SETTINGS
from cropzoo.geo.raster.virtual import MAX_SIDE, check_overviews, check_raster, raster_driver

RASTER_FAILURES = (RasterioError, CPLE_BaseError)
"""Errors of GDAL: rasterio raises those of some functions, such as copies and masks, without a class of its own."""


class Window(NamedTuple):
    """Rectangle of pixels: first row and column, height and width."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class Grid:
    """Position of the pixels of a raster.

    Args:
        height: Number of rows.
        width: Number of columns.
        transform: Affine transform from columns and rows to the CRS.
        crs: CRS; None if unknown.
    """

    height: int
    width: int
    transform: Any
    crs: Any

    def difference(self, other: Grid) -> str:
        """Description of how another grid differs; empty if it is equal to a hundredth of a pixel."""
        if (self.height, self.width) != (other.height, other.width):
            return f"{other.height} x {other.width} pixels against {self.height} x {self.width}"
        if self.crs != other.crs:
            return f"CRS {format_crs(other.crs)} against {format_crs(self.crs)}"
        mine, theirs = tuple(self.transform)[:6], tuple(other.transform)[:6]
        tolerance = 0.01 * math.hypot(mine[0], mine[3])
        for here, there in zip(self.corners(), other.corners(), strict=True):
            if math.dist(here, there) > tolerance:
                return f"transform {theirs} against {mine}"
        return ""

    def corners(self) -> list[tuple[float, float]]:
        """Outer corners of the raster in CRS units, in order around it."""
        return self.window_corners(Window(0, 0, self.height, self.width))

    def window_corners(self, window: Window) -> list[tuple[float, float]]:
        """Outer corners of a window in CRS units, in order around it."""
        row, column, height, width = window
        ends = ((row, column), (row, column + width), (row + height, column + width), (row + height, column))
        return [self.locate(*end) for end in ends]

    def locate(self, row: float, column: float) -> tuple[float, float]:
        """Upper left corner of a pixel, or a point within one, in CRS units."""
        a, b, c, d, e, f = tuple(self.transform)[:6]
        return a * column + b * row + c, d * column + e * row + f


def pixel_size(grid: Grid) -> float | None:
    """Side in meters of a square with the area of the pixel in the middle of a grid; None without a usable CRS."""
    if not grid.crs:
        return None
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    try:
        crs = pyproj.CRS.from_user_input(grid.crs)
    except pyproj.exceptions.CRSError:
        return None
    geod = crs.get_geod()
    if not crs.is_geographic or geod is None:
        return float(abs(a * e - b * d) ** 0.5 * crs.axis_info[0].unit_conversion_factor)
    row, column = grid.height // 2, grid.width // 2
    corners = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
    x, y = zip(*((a * k + b * r + c, d * k + e * r + f) for r, k in corners), strict=True)
    return float(abs(geod.polygon_area_perimeter(x, y)[0]) ** 0.5)


def format_crs(crs: Any) -> str:
    """Code of a CRS, such as "EPSG:32631", or its definition if it has no code; "none" without a CRS."""
    return str(crs.to_string()) if crs else "none"


@contextmanager
def open_raster(path: Path) -> Iterator[Any]:
    """Open a raster; any GDAL failure inside the block becomes an error that names the file.

    Raises:
        CropzooError: The file cannot be read.
    """
    if path.is_file():
        check_raster(path)
    tag_errors = _TagErrorFilter()
    log = logging.getLogger("rasterio._env")
    log.addFilter(tag_errors)
    try:
        with warnings.catch_warnings():
            # A raster without a georeference is fine unless parcels are rasterized on it, which is an error then.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.Env(**GDAL_SETTINGS), rasterio.open(path, driver=raster_driver(path)) as source:
                if tag_errors.seen:
                    raise RasterioIOError("the end of the file is missing")
                check_overviews(source, path)
                if max(source.width, source.height) > MAX_SIDE:
                    raise CropzooError(
                        f"raster {str(path)!r}; it has {source.width} x {source.height} pixels, and {MAX_SIDE:,} are "
                        "the most on a side; check the file, or divide it"
                    )
                yield source
    except RASTER_FAILURES as error:
        raise unreadable_error(path, error) from error
    finally:
        log.removeFilter(tag_errors)


def unreadable_error(path: Path, error: Exception) -> CropzooError:
    """Error for a file that GDAL cannot read, or not now because too many files are open."""
    if too_many := find_open_limit_error(error):
        return too_many
    kind = "GeoTIFF" if path.suffix.lower() in (".tif", ".tiff") else "raster"
    return CropzooError(
        f"raster {str(path)!r}; it cannot be read, so it is truncated or not a {kind}; copy or download it again"
    )


class _TagErrorFilter(logging.Filter):
    """Records that GDAL could not read a tag: it opens a truncated file without its CRS or band names."""

    seen = False

    def filter(self, record: logging.LogRecord) -> bool:
        is_tag_error = "IO error during reading" in record.getMessage()
        self.seen |= is_tag_error
        return not is_tag_error


def read_grid(source: Any) -> Grid:
    """Grid of an open raster."""
    return Grid(source.height, source.width, source.transform, source.crs)
