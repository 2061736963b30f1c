"""Which band of a file is which: by description, or by the names that the user gives."""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import CropzooError, UsageError
from cropzoo.errors import suggest
from cropzoo.geo.raster.scan import resolve_band_names
from cropzoo_plugins.datasets.sites.scanning import Image

SCL = "SCL"
"""Sentinel-2's scene classification: a mask, never a band of the series."""


def choose_bands(first: Image, asked: Sequence[str]) -> tuple[str, ...]:
    """The bands of the series: the ones asked for, else all that the first image has, without the SCL band.

    Raises:
        UsageError: a name asked for twice, or nothing but SCL.
        CropzooError: the image names no bands and none are asked for.
    """
    if len(set(asked)) != len(asked):
        raise UsageError(f"option 'bands' is {tuple(asked)!r}; a band is named twice; name each once")
    bands = tuple(name for name in asked or band_numbers(first, asked) if name != SCL)
    if not bands:
        raise UsageError("no band to read; the images or option 'bands' name nothing but the SCL mask; name a band")
    return bands


def band_numbers(image: Image, asked: Sequence[str]) -> dict[str, int]:
    """The number of each named band in an image, from 1 as in the file.

    Raises:
        CropzooError: bands without descriptions and no, or not as many, names asked for; a description twice.
    """
    names = resolve_band_names(image.path, image.names, asked)
    return {name: number for number, name in enumerate(names, start=1)}


def locate_bands(image: Image, bands: Sequence[str], asked: Sequence[str], mask: bool) -> tuple[list[int], int | None]:
    """The numbers of the series' bands in one image, and that of its SCL band.

    Args:
        image: the file.
        bands: names of the series' bands in order.
        asked: the user's option, which names bands that have no descriptions.
        mask: whether the site's first image has an SCL band: then all must, and else none may.

    Raises:
        CropzooError: a band is missing, or too many to be the same product.
    """
    numbers = band_numbers(image, asked)
    for band in [*bands, *([SCL] if mask else [])]:
        if band not in numbers:
            raise CropzooError(
                f"image {str(image.path)!r}; band {band!r} is missing; {suggest(band, numbers)}; "
                "add it, remove this date, or choose bands that every image has by option 'bands'"
            )
    extra = set(numbers) - set(bands)
    if (not mask and SCL in extra) or (not asked and extra - {SCL}):
        raise CropzooError(
            f"image {str(image.path)!r}; it has bands that the first image lacks ({', '.join(sorted(extra))}); "
            "choose bands that every image has by option 'bands', and give every date an SCL band or none"
        )
    return [numbers[band] for band in bands], numbers[SCL] if mask else None
