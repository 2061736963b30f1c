"""Rasters on disk: where their pixels lie, and opening them with errors that name the file."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from cropzoo.errors import CropzooError


class Window(NamedTuple):
    """A rectangle of pixels: its first row and column, its height and width."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie: height and width in pixels, affine transform, CRS (None if unknown)."""

    height: int
    width: int
    transform: Any
    crs: Any

    def difference(self, other: Grid) -> str:
        """How the other grid differs, in words; empty where it is the same to a hundredth of a pixel."""
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
        """The outer corners in the CRS's units, around the raster."""
        rows_columns = ((0, 0), (0, self.width), (self.height, self.width), (self.height, 0))
        return [self.locate(row, column) for row, column in rows_columns]

    def locate(self, row: int, column: int) -> tuple[float, float]:
        """The upper left corner of a pixel in the CRS's units."""
        a, b, c, d, e, f = tuple(self.transform)[:6]
        return a * column + b * row + c, d * column + e * row + f


def format_crs(crs: Any) -> str:
    """Code of a CRS, as "EPSG:32631", its definition where it has none, "none" for no CRS."""
    return str(crs.to_string()) if crs else "none"


@contextmanager
def open_raster(path: Path) -> Iterator[Any]:
    """An open raster; whatever GDAL fails at inside the block becomes an error that names the file."""
    lost = _LostTags()
    log = logging.getLogger("rasterio._env")
    log.addFilter(lost)
    try:
        with warnings.catch_warnings():
            # A raster without a georeference is fine until parcels are to be laid on it, and then it is an error.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                if lost.seen:
                    raise RasterioIOError("the end of the file is missing")
                yield source
    except RasterioError as error:
        raise unreadable_error(path) from error
    finally:
        log.removeFilter(lost)


def unreadable_error(path: Path) -> CropzooError:
    """The error for a file that GDAL fails at."""
    kind = "GeoTIFF" if path.suffix.lower() in (".tif", ".tiff") else "raster"
    return CropzooError(
        f"raster {str(path)!r}; it cannot be read, so it is truncated or no {kind}; copy or download it again"
    )


class _LostTags(logging.Filter):
    """Notes that GDAL could not read a tag: it opens a file whose end is cut off, without its CRS or band names."""

    seen = False

    def filter(self, record: logging.LogRecord) -> bool:
        lost = "IO error during reading" in record.getMessage()
        self.seen |= lost
        return not lost


def read_grid(source: Any) -> Grid:
    """The grid of an open raster."""
    return Grid(source.height, source.width, source.transform, source.crs)
