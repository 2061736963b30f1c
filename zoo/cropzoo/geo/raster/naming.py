"""What the names of files and folders tell of an image: band, tile, product, processing baseline and level."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

from cropzoo.errors import CropzooError

SCL = "SCL"
"""Sentinel-2's scene classification: a mask, never a band of the series."""

SPECTRAL = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Sentinel-2's bands, in the order of `band_id` in the metadata of its products."""

NO_BANDS = ("TCI", "PVI", "AOT", "WVP")
"""Rasters of a Sentinel-2 product that are no band: pictures, aerosol and water vapour. They can be asked for."""

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")

_TOKENS = re.compile(r"[_.\-\s]+")
_BAND = re.compile(r"B(\d{1,2}|0?8A)", re.IGNORECASE)
_RESOLUTION = re.compile(r"R?\d+m", re.IGNORECASE)
_STRUCTURE = re.compile(r"R?\d+m|IMG_DATA|GRANULE|B\d{1,2}|B8A|SCL", re.IGNORECASE)
_TILE = re.compile(r"(?<![A-Za-z0-9])T(\d{2}[C-HJ-NP-X][A-HJ-NP-Z]{2})(?![A-Za-z0-9])")
_BASELINE = re.compile(r"_N(\d{4})(?![0-9A-Za-z])")
_PRODUCT = re.compile(r"S2[A-Z]_MSIL(1C|2A)_\d{8}T\d{6}")
_GRANULE = re.compile(r"(?:L2A_)?T\d{2}[A-Z]{3}_\d{8}T\d{6}_")


def spectral(name: str) -> str | None:
    """A band's name as in `SPECTRAL`, "B04" of "b4" as well; None for what is no band of Sentinel-2."""
    match = _BAND.fullmatch(name)
    if match is None:
        return None
    digits = match[1].upper()
    full = "B8A" if digits.endswith("A") else f"B{int(digits):02d}"
    return full if full in SPECTRAL else None


def band_in(stem: str, asked: Sequence[str]) -> str | None:
    """The band that a file or folder name holds between separators, the last one if several; None without one.

    Names that the user asks for count before Sentinel-2's own.
    """
    for name in sorted(asked, key=len, reverse=True):
        if re.search(rf"(?:^|[_.\-\s]){re.escape(name)}(?:$|[_.\-\s])", stem, re.IGNORECASE):
            return name
    for token in reversed(_TOKENS.split(stem)):
        if token.upper() in (SCL, *NO_BANDS):
            return token.upper()
        if found := spectral(token):
            return found
    return None


def without_band(stem: str, band: str) -> str:
    """The name without the band and the resolution: what the files of one product have in common."""
    stem = re.sub(rf"(?:^|[_.\-\s]){re.escape(band)}(?=$|[_.\-\s])", "", stem, flags=re.IGNORECASE)
    kept = [token for token in _TOKENS.split(stem) if not _RESOLUTION.fullmatch(token) and spectral(token) != band]
    return "_".join(token for token in kept if token)


def is_structure(name: str) -> bool:
    """Whether a folder's name only tells where in a product it stands: R10m, IMG_DATA, GRANULE, B04."""
    return _STRUCTURE.fullmatch(name) is not None


def is_resolution(name: str) -> bool:
    """Whether a folder's name is that of a resolution, as R10m."""
    return _RESOLUTION.fullmatch(name) is not None


def parts(path: Path) -> list[str]:
    """The names of a file and of the folders above it, nearest first."""
    return list(reversed(path.parts))


def tile_in(names: Iterable[str]) -> str:
    """The MGRS tile of the first name that holds one, as "T31UFS"; empty without one."""
    return next((f"T{match[1]}" for name in names if (match := _TILE.search(name))), "")


def baseline_in(names: Iterable[str]) -> int:
    """The processing baseline of the first name that holds one, 400 of `_N0400_`; -1 without one."""
    return next((int(match[1]) for name in names if (match := _BASELINE.search(name))), -1)


def level_in(names: Iterable[str]) -> str:
    """The level of the first name of an ESA product, "1C" or "2A"; empty without one."""
    return next((match[1] for name in names if (match := _PRODUCT.search(name))), "")


def is_esa(path: Path) -> bool:
    """Whether a file is named as those in ESA's products: there 0 is no data, and the file does not say so."""
    return _GRANULE.match(path.stem) is not None


_DATE = re.compile(r"(?<!\d)(\d{4})([-_]?)(\d{2})\2(\d{2})(?!\d)")
_TAG_DATE = re.compile(r"(\d{4})[:-](\d{2})[:-](\d{2})")
_TAGS = ("ACQUISITION_DATE", "TIFFTAG_DATETIME")
_FIRST_YEAR, _LAST_YEAR = 1972, 2100
"""The first land satellite flew in 1972; a number that reads as an earlier or far later day is no date."""


def date_of(path: Path, tags: Mapping[str, str]) -> date:
    """The day that an image shows.

    The first date in the file's name counts, `2019-05-16`, `2019_05_16` or `20190516`; without one the tag
    ACQUISITION_DATE, then TIFFTAG_DATETIME, which many tools fill with the day of processing.

    Raises:
        CropzooError: naming the file and the forms that are read.
    """
    named = find_date(path.stem)
    if named is not None:
        return named
    for tag in _TAGS:
        stamp = _TAG_DATE.match(tags.get(tag, ""))
        day = _day(stamp[1], stamp[2], stamp[3]) if stamp else None
        if day is not None:
            return day
    raise CropzooError(
        f"image {str(path)!r}; neither its name nor its tags hold a date; name it like 'S2_2019-05-16.tif' or "
        "'S2_20190516.tif', or set TIFFTAG_DATETIME; move rasters that are no image of one day elsewhere"
    )


def find_date(text: str) -> date | None:
    """The first date in a text, `2019-05-16`, `2019_05_16` or `20190516`; None without one."""
    days = (_day(match[1], match[3], match[4]) for match in _DATE.finditer(text))
    return next((day for day in days if day is not None), None)


def _day(year: str, month: str, day: str) -> date | None:
    """None where the digits are no day of the calendar."""
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year <= _LAST_YEAR else None
