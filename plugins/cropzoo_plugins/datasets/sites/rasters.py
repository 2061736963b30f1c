"""What the headers of a site's images say: day, grid, bands; nothing of the pixels is read."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from cropzoo import CropzooError
from cropzoo_plugins.datasets.sites.dates import date_of

LABELS = "labels"
"""The stem of the label raster, `labels.tif`; it is no image."""

_SUFFIXES = (".tif", ".tiff")
_EPOCH = date(1970, 1, 1)


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
            return f"CRS {name_crs(other.crs)} against {name_crs(self.crs)}"
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


@dataclass(frozen=True)
class Image:
    """One date's file: its day in days since 1970-01-01, its grid, and per band its name ("" if none) and nodata."""

    path: Path
    day: int
    grid: Grid
    names: tuple[str, ...]
    nodata: tuple[float | None, ...]
    dtype: str


def name_crs(crs: Any) -> str:
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
        raise CropzooError(
            f"raster {str(path)!r}; it cannot be read, so it is truncated or no GeoTIFF; copy or download it again"
        ) from error
    finally:
        log.removeFilter(lost)


class _LostTags(logging.Filter):
    """Notes that GDAL could not read a tag: it opens a file whose end is cut off, without its CRS or band names."""

    seen = False

    def filter(self, record: logging.LogRecord) -> bool:
        lost = "IO error during reading" in record.getMessage()
        self.seen |= lost
        return not lost


def grid_of(source: Any) -> Grid:
    """The grid of an open raster."""
    return Grid(source.height, source.width, source.transform, source.crs)


def image_paths(folder: Path) -> list[Path]:
    """The rasters of a folder that are images: every GeoTIFF but `labels.tif`."""
    rasters = (path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in rasters if path.stem.lower() != LABELS)


def label_path(folder: Path) -> Path | None:
    """The label raster of a folder, None without one."""
    found = (path for path in sorted(folder.iterdir()) if path.stem.lower() == LABELS)
    return next((path for path in found if path.suffix.lower() in _SUFFIXES), None)


def scan_images(folder: Path) -> tuple[Image, ...]:
    """The images of a site in order of their dates, all on one grid.

    Raises:
        CropzooError: a file that is no raster, a date that cannot be read or occurs twice, another grid or data type
            than the first image's; each names the files.
    """
    images = sorted((_scan(path) for path in image_paths(folder)), key=lambda image: image.day)
    first = images[0]
    for before, image in pairwise(images):
        if image.day == before.day:
            raise CropzooError(
                f"site {str(folder)!r}; {before.path.name!r} and {image.path.name!r} are of the same date; "
                "merge them, or keep one"
            )
        different = first.grid.difference(image.grid)
        if different:
            raise CropzooError(
                f"image {str(image.path)!r}; its grid is not that of {first.path.name!r} ({different}); "
                "warp all images of a site to one grid"
            )
        if image.dtype != first.dtype:
            raise CropzooError(
                f"image {str(image.path)!r}; it holds {image.dtype} and {first.path.name!r} holds {first.dtype}; "
                "store all images of a site in one data type and one unit"
            )
    return tuple(images)


def _scan(path: Path) -> Image:
    with open_raster(path) as source:
        return Image(
            path=path,
            day=(date_of(path, source.tags()) - _EPOCH).days,
            grid=grid_of(source),
            names=tuple(name or "" for name in source.descriptions),
            nodata=tuple(source.nodatavals),
            dtype=str(source.dtypes[0]),
        )
