"""Information in the names of files and folders: band, tile, product, processing baseline and level."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

SCL = "SCL"
"""Sentinel-2 scene classification: a mask, never a band of the series."""

SENTINEL2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Spectral bands of Sentinel-2, in the order of `band_id` in product metadata."""

AUXILIARY_BANDS = ("TCI", "PVI", "AOT", "WVP")
"""Rasters of a Sentinel-2 product that are not spectral bands: true-color images, aerosol and water vapor. They are
used only if requested by name."""

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")

_TOKENS = re.compile(r"[_.\-\s]+")
_BAND = re.compile(r"B(\d{1,2}|0?8A)", re.IGNORECASE)
_RESOLUTION = re.compile(r"R?\d+m", re.IGNORECASE)
_STRUCTURE = re.compile(r"R?\d+m|IMG_DATA|GRANULE|B\d{1,2}|B8A|SCL", re.IGNORECASE)
_TILE = re.compile(r"(?<![A-Za-z0-9])T(\d{2}[C-HJ-NP-X][A-HJ-NP-Z]{2})(?![A-Za-z0-9])")
_BASELINE = re.compile(r"_N(\d{4})(?![0-9A-Za-z])")
_PRODUCT = re.compile(r"S2[A-Z]_MSIL(1C|2A)_\d{8}T\d{6}")
_GRANULE = re.compile(r"(?:L2A_)?T\d{2}[A-Z]{3}_\d{8}T\d{6}_")


def sentinel2_band(name: str) -> str | None:
    """Name of a band as in `SENTINEL2_BANDS`, such as "B04" for "b4"; None if it is not a Sentinel-2 band."""
    match = _BAND.fullmatch(name)
    if match is None:
        return None
    digits = match[1].upper()
    full = "B8A" if digits.endswith("A") else f"B{int(digits):02d}"
    return full if full in SENTINEL2_BANDS else None


def find_band(stem: str, requested: Sequence[str]) -> str | None:
    """Band named between separators in a file or folder name, the last one if there are several; None without one.

    Args:
        stem: File name without suffix, or folder name.
        requested: Band names given by the user; they take precedence over Sentinel-2 names.
    """
    for name in sorted(requested, key=len, reverse=True):
        if re.search(rf"(?:^|[_.\-\s]){re.escape(name)}(?:$|[_.\-\s])", stem, re.IGNORECASE):
            return name
    for token in reversed(_TOKENS.split(stem)):
        if token.upper() in (SCL, *AUXILIARY_BANDS):
            return token.upper()
        if found := sentinel2_band(token):
            return found
    return None


def remove_band(stem: str, band: str) -> str:
    """File name without band and resolution: the part that the files of one product share."""
    stem = re.sub(rf"(?:^|[_.\-\s]){re.escape(band)}(?=$|[_.\-\s])", "", stem, flags=re.IGNORECASE)
    kept = [
        token for token in _TOKENS.split(stem) if not _RESOLUTION.fullmatch(token) and sentinel2_band(token) != band
    ]
    return "_".join(token for token in kept if token)


def is_structure(name: str) -> bool:
    """Whether a folder name is only a position in a product: R10m, IMG_DATA, GRANULE, B04."""
    return _STRUCTURE.fullmatch(name) is not None


def is_resolution(name: str) -> bool:
    """Whether a folder name is a resolution, such as R10m."""
    return _RESOLUTION.fullmatch(name) is not None


def path_names(path: Path) -> list[str]:
    """Names of a file and of the folders above it, nearest first."""
    return list(reversed(path.parts))


def find_mgrs_tile(names: Iterable[str]) -> str:
    """MGRS tile in the first name that contains one, such as "T31UFS"; empty without one."""
    return next((f"T{match[1]}" for name in names if (match := _TILE.search(name))), "")


def find_baseline(names: Iterable[str]) -> int:
    """Processing baseline in the first name that contains one, 400 for `_N0400_`; -1 without one."""
    return next((int(match[1]) for name in names if (match := _BASELINE.search(name))), -1)


def find_level(names: Iterable[str]) -> str:
    """Processing level in the first name of an ESA product, "1C" or "2A"; empty without one."""
    return next((match[1] for name in names if (match := _PRODUCT.search(name))), "")


def is_esa_name(path: Path) -> bool:
    """Whether a file is named as in ESA's products, where 0 is no data although the file does not declare it."""
    return _GRANULE.match(path.stem) is not None
