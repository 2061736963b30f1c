"""What the header of a raster says, and what lies beside it about its product."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import MaskFlags

from cropzoo.geo.raster.grid import Grid, open_raster, read_grid
from cropzoo.geo.raster.naming import SCL, SENTINEL2_BANDS, sentinel2_band

_METADATA = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
_LEVELS_UP = 5
"""From a band in IMG_DATA/R10m to the folder of its product."""

_ADD_OFFSET = re.compile(r"<(?:BOA|RADIO)_ADD_OFFSET\s+band_id=\"([0-9]{1,2})\"\s*>\s*(-?[0-9]{1,5})\s*<")
_BASELINE = re.compile(r"<PROCESSING_BASELINE>\s*(\d+\.\d+)")


@dataclass(frozen=True)
class Header:
    """A raster's grid and, per band in the order of the file: description ("" if none), type, nodata and so on."""

    path: Path
    grid: Grid
    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    masked: tuple[bool, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    blocks: tuple[tuple[int, int], ...]
    tags: Mapping[str, str]
    band_tags: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class ProductMetadata:
    """What a product's metadata file says: its baseline (-1 unknown), and by band what its numbers carry too much."""

    baseline: int = -1
    offsets: Mapping[str, int] = field(default_factory=dict)


class HeaderReader:
    """Reads headers and remembers what many files share: grids, and the metadata of products."""

    def __init__(self) -> None:
        self._grids: dict[tuple[Any, ...], Grid] = {}
        self._notes: dict[Path, ProductMetadata] = {}

    def read(self, path: Path) -> Header:
        """The header of a raster.

        Raises:
            CropzooError: the file cannot be read.
        """
        with open_raster(path) as source:
            bands = range(1, source.count + 1)
            return Header(
                path=path,
                grid=self._shared(read_grid(source)),
                names=tuple((name or "").strip() for name in source.descriptions),
                dtypes=tuple(source.dtypes),
                nodata=tuple(source.nodatavals),
                masked=tuple(MaskFlags.per_dataset in flags for flags in source.mask_flag_enums),
                scales=tuple(source.scales),
                offsets=tuple(source.offsets),
                blocks=tuple(source.block_shapes),
                tags=source.tags(),
                band_tags=tuple(source.tags(number) for number in bands),
            )

    def notes(self, path: Path) -> ProductMetadata:
        """What the metadata file of the product says that a raster belongs to; nothing where there is none."""
        folder = path.absolute().parent
        if folder not in self._notes:
            folders = [folder, *folder.parents][:_LEVELS_UP]
            files = (above / name for above in folders for name in _METADATA)
            found = next((file for file in files if file.is_file()), None)
            self._notes[folder] = ProductMetadata() if found is None else _read_notes(found)
        return self._notes[folder]

    def _shared(self, grid: Grid) -> Grid:
        """One object for equal grids: comparing two CRS takes longer than all else here."""
        key = (grid.height, grid.width, tuple(grid.transform), grid.crs.to_wkt() if grid.crs else "")
        return self._grids.setdefault(key, grid)


def _read_notes(path: Path) -> ProductMetadata:
    """Read by pattern: an XML parser would expand what a hostile file asks it to."""
    text = path.read_text(encoding="utf-8", errors="replace")
    baseline = _BASELINE.search(text)
    offsets = {
        SENTINEL2_BANDS[int(match[1])]: -int(match[2])
        for match in _ADD_OFFSET.finditer(text)
        if int(match[1]) < len(SENTINEL2_BANDS)
    }
    return ProductMetadata(parse_baseline(baseline[1]) if baseline else -1, offsets)


def parse_baseline(text: object) -> int:
    """400 of "04.00"; -1 of what is no baseline."""
    match = re.fullmatch(r"N?(\d{2})\.?(\d{2})", str(text).strip())
    return int(match[1] + match[2]) if match else -1


ADDED = 1000
"""What ESA adds since baseline 04.00."""

_SINCE = 400
_TAGS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")


def declared_offset(scale: object, offset: object) -> int | None:
    """The offset in stored numbers, of a scale and an offset that give reflectance = scale * number + offset.

    None where they declare nothing, that is a scale of 1 and no offset.
    """
    scale, offset = _number(scale, 1.0), _number(offset, 0.0)
    if scale == 0 or (scale == 1 and offset == 0):
        return None
    found = -offset / scale
    return round(found) if np.isfinite(found) else None


def header_offset(header: Header, index: int, name: str, notes: ProductMetadata, baseline: int) -> int:
    """The offset of one band of a file.

    The nearest source counts: tags BOA_ADD_OFFSET or RADIO_ADD_OFFSET (negative numbers, as ESA writes them); scale and
    offset of the band; for Sentinel-2's bands of integers also a tag PROCESSING_BASELINE, the metadata file of the
    product, and the baseline in a name. Numbers with a fraction are no digital numbers any more, so a baseline alone
    says nothing about them.

    Args:
        header: of the file.
        index: of the band, from 0.
        name: of the band.
        notes: what the product's metadata file says.
        baseline: that names tell, -1 unknown.
    """
    if name == SCL:
        return 0
    for tags in (header.band_tags[index], header.tags):
        for tag in _TAGS:
            if tag in tags:
                return round(-_number(tags[tag], 0.0))
    declared = declared_offset(header.scales[index], header.offsets[index])
    if declared is not None:
        return declared
    known = sentinel2_band(name)
    if known is None or not is_digital(header.dtypes[index]):
        return 0
    tagged = tagged_baseline(header.tags)
    if tagged < 0 and notes.offsets:
        return notes.offsets.get(known, 0)
    return baseline_offset(next((each for each in (tagged, notes.baseline) if each >= 0), baseline))


def baseline_offset(baseline: int) -> int:
    """The offset of all bands of a processing baseline."""
    return ADDED if baseline >= _SINCE else 0


def tagged_baseline(tags: Mapping[str, str]) -> int:
    """The processing baseline that a file's tags tell, -1 unknown."""
    return parse_baseline(tags.get("PROCESSING_BASELINE", ""))


def is_digital(dtype: str) -> bool:
    """Whether stored numbers can be Sentinel-2's digital numbers: integers of 16 bits or more."""
    kind = np.dtype(dtype)
    return kind.kind in "iu" and kind.itemsize >= 2


def _number(value: Any, otherwise: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return number if np.isfinite(number) else otherwise
