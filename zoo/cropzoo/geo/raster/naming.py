"""Information in the names of bands, files and folders: band, tile, product, processing baseline and level."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from cropzoo.geo.raster.quality import SCL, find_layer, split_name

SENTINEL2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Spectral bands of Sentinel-2, in the order of `band_id` in product metadata."""

LEFT_OUT = "-"
"""Given in place of the name of a band without a description that is left out."""

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")

_BAND = re.compile(r"B(\d{1,2}|0?8A)", re.IGNORECASE)
_RESOLUTION = re.compile(r"R?\d+m", re.IGNORECASE)
_STRUCTURE = re.compile(r"R?\d+m|IMG_DATA|GRANULE|B\d{1,2}|B8A|SCL", re.IGNORECASE)
_TILE = re.compile(r"(?<![A-Za-z0-9])T(\d{2}[C-HJ-NP-X][A-HJ-NP-Z]{2})(?![A-Za-z0-9])")
_PRODUCT = re.compile(r"(?<![A-Za-z0-9])S2[A-Z]_MSIL(1C|2A)_\d{8}T\d{6}(?:_N(\d{4})_)?")
_GRANULE = re.compile(r"(?:L2A_)?T\d{2}[A-Z]{3}_\d{8}T\d{6}_")
_SENTINEL2 = re.compile(r"S2[A-D]?|(S2)?L(1C|2A)|Sentinel2", re.IGNORECASE)
_LAYER_PARTS = 3
"""Parts between separators of the longest name of a quality layer, Scene_Classification_Map."""


def sentinel2_band(name: str) -> str | None:
    """Name of a band as in `SENTINEL2_BANDS`, such as "B04" for "b4"; None if it is not a Sentinel-2 band."""
    match = _BAND.fullmatch(name)
    if match is None:
        return None
    digits = match[1].upper()
    full = "B8A" if digits.endswith("A") else f"B{int(digits):02d}"
    return full if full in SENTINEL2_BANDS else None


@lru_cache(maxsize=4096)
def standard_name(name: str) -> str:
    """Standard name of a band: "B04" for "b4" and "B04_10m", "SCL" for "Scene classification", else the name itself.

    Names that GDAL gives to bands of Sentinel-2 products, "B4, central wavelength 665 nm", are known as well, and
    names that start with the satellite or the level, such as "S2_B04" and "L2A_SCL".
    """
    parts = split_name(name.partition(",")[0])
    while len(parts) > 1 and _SENTINEL2.fullmatch(parts[0]):
        parts = parts[1:]
    if layer := find_layer(name) or find_layer("_".join(parts)):
        return layer.name
    return (sentinel2_band(parts[0]) if len(parts) == 1 else None) or name


def match_requested(name: str, requested: Sequence[str]) -> str:
    """The name in `requested` that means the same band, else the standard name: "B2" of a network is the band "B02"."""
    standard = standard_name(name)
    return next((each for each in requested if each == name or standard_name(each) == standard), standard)


def series_bands(given: Sequence[str]) -> tuple[str, ...]:
    """The names given by the user that are bands of the series: no masks, quality layers, and places to leave out."""
    layers = [(name, find_layer(name)) for name in given if name != LEFT_OUT]
    return tuple(name for name, layer in layers if layer is None or layer.on_request)


def find_band(stem: str, requested: Sequence[str]) -> str | None:
    """Band named between separators in a file or folder name, the last one if there are several; None without one.

    The name of a quality layer must be the last part of the name, except for those of Sentinel-2 products.

    Args:
        stem: File name without suffix, or folder name.
        requested: Band names given by the user; they take precedence over Sentinel-2 names.
    """
    for name in sorted(requested, key=len, reverse=True):
        if re.search(rf"(?:^|[_.\-\s]){re.escape(name)}(?:$|[_.\-\s])", stem, re.IGNORECASE):
            return name
    parts = split_name(stem)
    for end in range(len(parts), 0, -1):
        for start in range(max(0, end - _LAYER_PARTS), end):
            layer = find_layer("_".join(parts[start:end]))
            if layer and (end == len(parts) or layer.name == SCL or layer.own_file):
                return match_requested(layer.name, requested)
        if band := sentinel2_band(parts[end - 1]):
            return match_requested(band, requested)
    return None


def remove_band(stem: str, band: str) -> str:
    """File name without band and resolution: the part that the files of one product share."""
    parts = split_name(stem)
    if len(parts) > 1 and find_layer("_".join(parts[-2:])):  # CLM_R1 of MAJA
        return "_".join(parts[:-2])
    rest = re.sub(rf"(?:^|[_.\-\s]){re.escape(band)}(?=$|[_.\-\s])", "", stem, flags=re.IGNORECASE)
    return "_".join(part for part in split_name(rest) if standard_name(part) != standard_name(band))


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
    """Processing baseline in the first name of an ESA product that has one, 400 for `..._N0400_...`; -1 without one.

    Only the complete beginning of a product name counts, `S2A_MSIL2A_20220516T104031_N0400_`: `_N0400` alone is found
    in names of farms and plots, too.
    """
    found = (match for name in names if (match := _PRODUCT.search(name)))
    return next((int(match[2]) for match in found if match[2]), -1)


def find_level(names: Iterable[str]) -> str:
    """Processing level in the first name of an ESA product, "1C" or "2A"; empty without one."""
    return next((match[1] for name in names if (match := _PRODUCT.search(name))), "")


def is_esa_name(path: Path) -> bool:
    """Whether a file is named as in ESA's products, where 0 is no data although the file does not declare it."""
    return _GRANULE.match(path.stem) is not None
