"""What the headers of a site's images say: day, grid, bands; nothing of the pixels is read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cropzoo import CropzooError
from cropzoo.geo.raster.dates import days_since_epoch, find_image_date
from cropzoo.geo.raster.grid import Grid, open_raster, read_grid

LABELS = "labels"
"""The stem of the label raster, `labels.tif`; it is no image."""

_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Image:
    """One date's file: its day in days since 1970-01-01, its grid, and per band its name ("" if none) and nodata."""

    path: Path
    day: int
    grid: Grid
    names: tuple[str, ...]
    nodata: tuple[float | None, ...]
    dtype: str


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
            day=days_since_epoch(find_image_date(path, source.tags())),
            grid=read_grid(source),
            names=tuple(name or "" for name in source.descriptions),
            nodata=tuple(source.nodatavals),
            dtype=str(source.dtypes[0]),
        )
