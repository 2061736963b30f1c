"""Metadata of images: raster headers, product metadata files, and the radiometric offset that they declare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags

from cropzoo.geo.raster.grid import Grid, open_raster, read_grid
from cropzoo.geo.raster.naming import SENTINEL2_BANDS, sentinel2_band, standard_name

_METADATA = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
_LEVELS_UP = 5
"""Levels from a band in IMG_DATA/R10m to the folder of its product."""

_ADD_OFFSET = re.compile(r"<(?:BOA|RADIO)_ADD_OFFSET\s+band_id=\"([0-9]{1,2})\"\s*>\s*(-?[0-9]{1,5})\s*<")
_BASELINE = re.compile(r"<PROCESSING_BASELINE>\s*(\d+\.\d+)")


@dataclass(frozen=True)
class Header:
    """Header of a raster.

    Args:
        path: Path of the file.
        grid: Grid of the file.
        names: Band descriptions in the order of the file, "" where missing.
        dtypes: NumPy name of the data type of each band.
        nodata: Declared nodata value of each band.
        masked: Whether each band has a mask in the file or next to it (.msk), other than an alpha band.
        alpha: Whether the color interpretation of each band is alpha.
        scales: Declared scale of each band.
        offsets: Declared offset of each band.
        blocks: Height and width of the stored blocks of each band.
        tags: Tags of the file.
        band_tags: Tags of each band.
    """

    path: Path
    grid: Grid
    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    masked: tuple[bool, ...]
    alpha: tuple[bool, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    blocks: tuple[tuple[int, int], ...]
    tags: Mapping[str, str]
    band_tags: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class ProductMetadata:
    """Content of the metadata file of a product.

    Args:
        baseline: Processing baseline, 400 for 04.00; -1 if unknown.
        offsets: Radiometric offset of the stored numbers by band.
    """

    baseline: int = -1
    offsets: Mapping[str, int] = field(default_factory=dict)


class HeaderReader:
    """Reads headers and caches what many files share: grids and product metadata."""

    def __init__(self) -> None:
        self._grids: dict[tuple[Any, ...], Grid] = {}
        self._products: dict[Path, ProductMetadata] = {}

    def read(self, path: Path) -> Header:
        """Header of a raster.

        Raises:
            CropzooError: The file cannot be read.
        """
        with open_raster(path) as source:
            bands = range(1, source.count + 1)
            return Header(
                path=path,
                grid=self._shared(read_grid(source)),
                names=tuple((name or "").strip() for name in source.descriptions),
                dtypes=tuple(source.dtypes),
                nodata=tuple(source.nodatavals),
                masked=tuple(
                    MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags for flags in source.mask_flag_enums
                ),
                alpha=tuple(color == ColorInterp.alpha for color in source.colorinterp),
                scales=tuple(source.scales),
                offsets=tuple(source.offsets),
                blocks=tuple(source.block_shapes),
                tags=source.tags(),
                band_tags=tuple(source.tags(number) for number in bands),
            )

    def read_product_metadata(self, path: Path) -> ProductMetadata:
        """Metadata of the product that a raster belongs to; empty if there is no metadata file."""
        folder = path.absolute().parent
        if folder not in self._products:
            folders = [folder, *folder.parents][:_LEVELS_UP]
            files = (above / name for above in folders for name in _METADATA)
            found = next((file for file in files if file.is_file()), None)
            self._products[folder] = ProductMetadata() if found is None else _read_product_metadata(found)
        return self._products[folder]

    def _shared(self, grid: Grid) -> Grid:
        """One object for equal grids: comparing two CRS takes longer than everything else here."""
        key = (grid.height, grid.width, tuple(grid.transform), grid.crs.to_wkt() if grid.crs else "")
        return self._grids.setdefault(key, grid)


def _read_product_metadata(path: Path) -> ProductMetadata:
    """Read by regular expressions: an XML parser would expand the entities of a hostile file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    baseline = _BASELINE.search(text)
    offsets = {
        SENTINEL2_BANDS[int(match[1])]: -int(match[2])
        for match in _ADD_OFFSET.finditer(text)
        if int(match[1]) < len(SENTINEL2_BANDS)
    }
    return ProductMetadata(parse_baseline(baseline[1]) if baseline else -1, offsets)


def parse_baseline(text: object) -> int:
    """Processing baseline as a number, 400 for "04.00"; -1 if the text is not a baseline."""
    match = re.fullmatch(r"N?(\d{2})\.?(\d{2})", str(text).strip())
    return int(match[1] + match[2]) if match else -1


ADDED_OFFSET = 1000
"""Offset that ESA adds since processing baseline 04.00."""

_SINCE = 400
_TAGS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
_NEW_BASELINE = "processing baseline 04.00 or later"


@dataclass(frozen=True)
class Offset:
    """Radiometric offset of a band.

    Args:
        value: Offset of the stored numbers, 1000 for Sentinel-2 since processing baseline 04.00.
        reason: Which metadata declare it, for messages; "" without an offset.
    """

    value: int = 0
    reason: str = ""


def declared_offset(scale: object, offset: object) -> int | None:
    """Offset in stored numbers for a scale and offset with reflectance = scale * number + offset.

    None if they declare nothing, that is a scale of 1 and no offset.
    """
    scale, offset = _number(scale, 1.0), _number(offset, 0.0)
    if scale == 0 or (scale == 1 and offset == 0):
        return None
    found = -offset / scale
    return round(found) if np.isfinite(found) else None


def header_offset(header: Header, index: int, name: str, product: ProductMetadata, baseline: int) -> Offset:
    """Radiometric offset of one band of a file.

    The first source that declares it is used: tags BOA_ADD_OFFSET or RADIO_ADD_OFFSET (negative numbers, as ESA writes
    them); scale and offset of the band; for Sentinel-2 bands stored as integers also a tag PROCESSING_BASELINE, the
    metadata file of the product, and the baseline in its name. Floats are not digital numbers, so a baseline without
    another source says nothing about them.

    Args:
        header: Header of the file.
        index: Index of the band, from 0.
        name: Name of the band.
        product: Metadata of the product.
        baseline: Processing baseline in names, -1 if unknown.
    """
    for tags in (header.band_tags[index], header.tags):
        for tag in _TAGS:
            if tag in tags:
                return Offset(round(-_number(tags[tag], 0.0)), f"tag {tag}")
    declared = declared_offset(header.scales[index], header.offsets[index])
    if declared is not None:
        return Offset(declared, "scale and offset of the band")
    known = sentinel2_band(standard_name(name))
    if known is None or not is_digital(header.dtypes[index]):
        return Offset()
    tagged = tagged_baseline(header.tags)
    if tagged >= 0:
        return baseline_offset(tagged, "tag PROCESSING_BASELINE")
    if product.offsets:
        return Offset(product.offsets.get(known, 0), "metadata of the product")
    if product.baseline >= 0:
        return baseline_offset(product.baseline, "metadata of the product")
    return baseline_offset(baseline, "the product name")


def baseline_offset(baseline: int, source: str) -> Offset:
    """Radiometric offset of all bands of a processing baseline, which `source` states."""
    return Offset(ADDED_OFFSET, f"{_NEW_BASELINE} in {source}") if is_new_baseline(baseline) else Offset()


def is_new_baseline(baseline: int) -> bool:
    """Whether ESA adds an offset in a processing baseline."""
    return baseline >= _SINCE


def tagged_baseline(tags: Mapping[str, str]) -> int:
    """Processing baseline in the tags of a file, -1 if unknown."""
    return parse_baseline(tags.get("PROCESSING_BASELINE", ""))


def is_digital(dtype: str) -> bool:
    """Whether a data type can hold Sentinel-2 digital numbers: integers of 16 bits or more."""
    kind = np.dtype(dtype)
    return kind.kind in "iu" and kind.itemsize >= 2


def _number(value: Any, otherwise: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return number if np.isfinite(number) else otherwise
