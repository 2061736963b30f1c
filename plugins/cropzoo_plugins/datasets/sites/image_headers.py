"""Headers of the images of a site: date, grid and bands, without reading pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cropzoo import CropzooError, UsageError
from cropzoo.errors import suggest
from cropzoo.geo.raster.dates import days_since_epoch, find_image_date
from cropzoo.geo.raster.grid import Grid, open_raster, read_grid
from cropzoo.geo.raster.scan import resolve_band_names

LABELS = "labels"
"""Stem of the label raster, `labels.tif`, which is not an image."""

_SUFFIXES = (".tif", ".tiff")

SCL = "SCL"
"""Band of the Sentinel-2 scene classification: a mask, never a band of the series."""


@dataclass(frozen=True)
class ImageHeader:
    """Header of the file of one date.

    Args:
        path: Path of the file.
        day: Days since 1970-01-01.
        grid: Grid of the raster.
        names: Description of each band, "" if none.
        nodata: Nodata value of each band; None if not declared.
        dtype: Data type of the bands.
    """

    path: Path
    day: int
    grid: Grid
    names: tuple[str, ...]
    nodata: tuple[float | None, ...]
    dtype: str


def find_images(folder: Path) -> list[Path]:
    """Return the images of a folder: all GeoTIFFs except `labels.tif`."""
    rasters = (path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in rasters if path.stem.lower() != LABELS)


def find_labels(folder: Path) -> Path | None:
    """Return the label raster of a folder; None if there is none."""
    found = (path for path in sorted(folder.iterdir()) if path.stem.lower() == LABELS)
    return next((path for path in found if path.suffix.lower() in _SUFFIXES), None)


def read_image_headers(folder: Path) -> tuple[ImageHeader, ...]:
    """Read the headers of the images of a site, sorted by date.

    Raises:
        CropzooError: A file is not a raster, a date cannot be read or occurs twice, or the grid or data type differs
            from that of the first image. The message names the files.
    """
    images = sorted((_read_header(path) for path in find_images(folder)), key=lambda image: image.day)
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
                f"image {str(image.path)!r}; its grid differs from that of {first.path.name!r} ({different}); "
                "warp all images of a site to one grid"
            )
        if image.dtype != first.dtype:
            raise CropzooError(
                f"image {str(image.path)!r}; it has {image.dtype} values and {first.path.name!r} has {first.dtype}; "
                "store all images of a site with the same data type and unit"
            )
    return tuple(images)


def _read_header(path: Path) -> ImageHeader:
    with open_raster(path) as source:
        return ImageHeader(
            path=path,
            day=days_since_epoch(find_image_date(path, source.tags())),
            grid=read_grid(source),
            names=tuple(name or "" for name in source.descriptions),
            nodata=tuple(source.nodatavals),
            dtype=str(source.dtypes[0]),
        )


def choose_bands(first: ImageHeader, requested: Sequence[str]) -> tuple[str, ...]:
    """Return the bands of the series: the requested ones, or all of the first image, without the SCL band.

    Raises:
        UsageError: A band is requested twice, or SCL is the only band.
        CropzooError: The image has no band descriptions and no bands are requested.
    """
    if len(set(requested)) != len(requested):
        raise UsageError(f"option 'bands' is {tuple(requested)!r}; a band is named twice; name each once")
    bands = tuple(name for name in requested or number_bands(first, requested) if name != SCL)
    if not bands:
        raise UsageError("no band to read; the images or option 'bands' name only the SCL mask; name a band")
    return bands


def number_bands(image: ImageHeader, requested: Sequence[str]) -> dict[str, int]:
    """Return the number of each band of an image by name, from 1 as in the file.

    Raises:
        CropzooError: The bands have no descriptions and the number of requested names differs, or a description occurs
            twice.
    """
    names = resolve_band_names(image.path, image.names, requested)
    return {name: number for number, name in enumerate(names, start=1)}


def locate_bands(
    image: ImageHeader, bands: Sequence[str], requested: Sequence[str], mask: bool
) -> tuple[list[int], int | None]:
    """Return the numbers of the bands of the series in an image, and the number of its SCL band.

    Args:
        image: Header of the image.
        bands: Names of the bands of the series, in order.
        requested: Option `bands` of the user, which names bands without descriptions.
        mask: Whether the first image of the site has an SCL band, which then all images must have, otherwise none.

    Raises:
        CropzooError: A band is missing, or the image has bands that the first image lacks.
    """
    numbers = number_bands(image, requested)
    for band in [*bands, *([SCL] if mask else [])]:
        if band not in numbers:
            raise CropzooError(
                f"image {str(image.path)!r}; band {band!r} is missing; {suggest(band, numbers)}; "
                "add it, remove this date, or choose bands that every image has with option 'bands'"
            )
    extra = set(numbers) - set(bands)
    if (not mask and SCL in extra) or (not requested and extra - {SCL}):
        raise CropzooError(
            f"image {str(image.path)!r}; it has bands that the first image lacks ({', '.join(sorted(extra))}); "
            "choose bands that every image has with option 'bands', and give all dates an SCL band or none"
        )
    return [numbers[band] for band in bands], numbers[SCL] if mask else None
