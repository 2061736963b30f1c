"""Scanning image files: the bands of each file with their date, tile and product, from header and name."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cropzoo.errors import CropzooError
from cropzoo.geo.raster import naming
from cropzoo.geo.raster.dates import ImageDate, date_image, days_since_epoch
from cropzoo.geo.raster.file_search import ImageFile
from cropzoo.geo.raster.metadata import (
    Header,
    HeaderReader,
    Offset,
    header_offset,
    is_digital,
    is_new_baseline,
    tagged_baseline,
)
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo.geo.raster.quality import DATA_MASK, find_layer, is_mask
from cropzoo.geo.raster.scene import BandFile

_OFFSET_SINCE = days_since_epoch(date(2022, 1, 25))
"""First day of processing baseline 04.00."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundBand:
    """Band file with the keys by which it is grouped with others.

    Args:
        band: Band file.
        date: Date, and where it was found.
        tile: MGRS tile, "" if unknown.
        product: Key that the files of one product share.
        baseline: Processing baseline, 400 for 04.00; -1 if unknown.
        level: Processing level of an ESA product, "1C" or "2A"; "" if unknown.
        offset_reason: Which metadata declare the offset of the band; "" without an offset.
    """

    band: BandFile
    date: ImageDate
    tile: str
    product: str
    baseline: int
    level: str
    offset_reason: str = ""

    @property
    def day(self) -> int:
        """Days since 1970-01-01."""
        return self.date.day


@dataclass(frozen=True)
class NamedBands:
    """What the bands of a file are.

    Args:
        names: Index in the file, from 0, and name of each band that is used: bands of the series and known masks.
        mask_bands: Numbers, from 1, of the bands that mask the others: alpha and `dataMask`.
    """

    names: tuple[tuple[int, str], ...]
    mask_bands: tuple[int, ...] = ()


def scan_files(
    files: Sequence[ImageFile], bands: Sequence[str], headers: HeaderReader, notes: ImageNotes
) -> list[FoundBand]:
    """Bands of files.

    Args:
        files: Files to scan.
        bands: Band names given by the user.
        headers: Reader of the file headers.
        notes: Where bands that are left out are added.

    Raises:
        CropzooError: A file that cannot be read, has no date, or has bands without names.
    """
    found = [band for file in files for band in _scan_file(file, bands, headers, notes)]
    _warn_of_offsets(found)
    return found


def select_bands(header: Header, names: Sequence[str | None], bands: Sequence[str], notes: ImageNotes) -> NamedBands:
    """Decide which bands of a file are used.

    Args:
        header: Header of the file.
        names: Name of each band of the file in order; None for one that the user leaves out.
        bands: Band names given by the user.
        notes: Where bands that are left out are added.
    """
    requested = naming.series_bands(bands)
    standard = [name and naming.match_requested(name, requested) for name in names]
    count = Counter(standard)
    used: list[tuple[int, str]] = []
    masks: list[int] = []
    for index, (given, name) in enumerate(zip(names, standard, strict=True)):
        if given is None or name is None:
            continue
        layer = None if name in requested else find_layer(name)
        if layer is None:
            used.append((index, name if count[name] == 1 else given))
        elif layer.name == DATA_MASK and len(names) > 1:
            masks.append(index + 1)
        elif layer.is_mask:
            used.append((index, layer.name))
        else:
            notes.add_left_out(header.path, layer.name)
    return NamedBands(tuple(used), tuple(masks))


def make_band_file(
    header: Header,
    index: int,
    name: str,
    offset: int,
    nodata: float | None = None,
    mask_bands: tuple[int, ...] = (),
) -> BandFile:
    """Band file for one band of a file.

    Args:
        header: Header of the file.
        index: Index of the band, from 0.
        name: Name of the band.
        offset: Radiometric offset of the stored numbers.
        nodata: Stored number that means no data if the file declares none.
        mask_bands: Numbers of the bands that mask the others.

    Raises:
        CropzooError: A data type that is neither an integer nor a float.
    """
    dtype = header.dtypes[index]
    if not dtype.startswith(("int", "uint", "float")):
        raise CropzooError(
            f"image {str(header.path)!r}; band {name!r} has data type {dtype}; store reflectance as integers or floats"
        )
    declared = header.nodata[index]
    return BandFile(
        path=header.path,
        number=index + 1,
        name=name,
        grid=header.grid,
        nodata=nodata if declared is None else declared,
        dtype=dtype,
        offset=offset,
        masked=header.masked[index],
        mask_bands=mask_bands,
        block=header.blocks[index],
    )


def resolve_band_names(path: Path, descriptions: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """Names of the bands of a file in order: its descriptions, else the names given by the user.

    Args:
        path: Path of the file, for messages.
        descriptions: Band descriptions of the file, "" where missing.
        given: Names given by the user.

    Raises:
        CropzooError: Bands without descriptions and no, or not as many, given names; a repeated description.
    """
    names = tuple(descriptions)
    if not all(names):
        count = f"{len(names)} band{'s' if len(names) > 1 else ''}"
        if not given:
            raise CropzooError(
                f"image {str(path)!r}; its bands have no descriptions; name its {count} in order "
                "by option 'bands', write descriptions into the file, or name single-band files after their band, like "
                "'S2_2019-05-16_B02.tif'"
            )
        if len(given) != len(names):
            raise CropzooError(
                f"image {str(path)!r}; it has {count} without descriptions and option 'bands' "
                f"names {len(given)}; name every band of the file in order, with '{naming.LEFT_OUT}' for one to leave "
                "out"
            )
        names = tuple(given)
    named = [name for name in names if name != naming.LEFT_OUT]
    if len(set(named)) != len(named):
        raise CropzooError(f"image {str(path)!r}; two bands have the same description: {names!r}; rename one of them")
    return names


def find_data_masks(header: Header) -> list[bool]:
    """Whether each band of a file is a mask of the others: it is named `dataMask` or "alpha", or an alpha band.

    GDAL writes the fourth band of a file of bytes as alpha: if it has another name, it is the band of that name.
    """
    found = []
    for name, is_alpha in zip(header.names, header.alpha, strict=True):
        layer = find_layer(name) if name else None
        found.append(layer.name == DATA_MASK if layer else is_alpha and not name)
    return found if len(found) > 1 else [False]


def insert_data_masks(names: Sequence[str], masks: Sequence[bool]) -> list[str]:
    """Names of all bands of a file from those of the bands that are no data masks."""
    rest = iter(names)
    return [DATA_MASK if is_data_mask else next(rest) for is_data_mask in masks]


def has_band_names(header: Header) -> bool:
    """Whether all bands of a file have descriptions, except for those that mask the others."""
    return all(name or is_data_mask for name, is_data_mask in zip(header.names, find_data_masks(header), strict=True))


def _scan_file(file: ImageFile, bands: Sequence[str], headers: HeaderReader, notes: ImageNotes) -> list[FoundBand]:
    path = file.path
    header = headers.read(path)
    names, product = _name_bands(header, bands)
    selected = select_bands(header, names, bands, notes)
    if not selected.names:
        return []
    dated = date_image(path, file.folders, header.tags)
    above = naming.path_names(path.absolute())
    metadata, named = headers.read_product_metadata(path), naming.find_baseline(above)
    baseline = max(tagged_baseline(header.tags), metadata.baseline if metadata.baseline >= 0 else named)
    nodata = 0.0 if naming.is_esa_name(path) else None
    found = []
    for index, name in selected.names:
        offset = Offset() if is_mask(name) else header_offset(header, index, name, metadata, named)
        found.append(
            FoundBand(
                band=make_band_file(header, index, name, offset.value, nodata, selected.mask_bands),
                date=dated,
                tile=naming.find_mgrs_tile(above),
                product=product,
                baseline=baseline,
                level=naming.find_level(above),
                offset_reason=offset.reason,
            )
        )
    return found


def _name_bands(header: Header, bands: Sequence[str]) -> tuple[Sequence[str | None], str]:
    """Name of each band of a file, None for one that is left out, and the key of its product."""
    path = header.path
    folder = _product_folder(path)
    masks = find_data_masks(header)
    if masks.count(False) == 1:
        requested = naming.series_bands(bands)
        if band := naming.find_band(path.stem, requested):
            return insert_data_masks([band], masks), f"{folder}/{naming.remove_band(path.stem, band)}"
        if not header.names[masks.index(False)] and (band := naming.find_band(folder.name, requested)):
            return insert_data_masks([band], masks), f"{folder.parent}/{path.stem}"
    if len(bands) == len(masks) and not any(header.names):  # the user names alpha bands as well
        names = list(resolve_band_names(path, header.names, bands))
    else:
        kept = [name for name, is_data_mask in zip(header.names, masks, strict=True) if not is_data_mask]
        names = insert_data_masks(resolve_band_names(path, kept, bands), masks)
    return [None if name == naming.LEFT_OUT else name for name in names], f"{folder}/{path.stem}"


def _product_folder(path: Path) -> Path:
    """Folder that contains all bands of a product: above resolution folders such as R10m."""
    folder = path.absolute().parent
    return folder.parent if naming.is_resolution(folder.name) else folder


def _warn_of_offsets(found: Sequence[FoundBand]) -> None:
    """Warn where the stored numbers may carry an offset that cannot be determined."""
    unknown = [
        each.band.path
        for each in found
        if each.baseline < 0
        and each.day >= _OFFSET_SINCE
        and each.band.offset == 0
        and naming.is_esa_name(each.band.path)
        and naming.sentinel2_band(naming.standard_name(each.band.name))
    ]
    fractions = [
        each.band.path
        for each in found
        if is_new_baseline(each.baseline)
        and each.band.offset == 0
        and not is_digital(each.band.dtype)
        and naming.sentinel2_band(naming.standard_name(each.band.name))
    ]
    if unknown:
        _log.warning(
            "%d file(s) such as %r are later than processing baseline 04.00 and do not declare theirs, so an offset of "
            "1000 remains in their numbers; keep the product folder or its MTD_MSIL2A.xml, or set the offset",
            len(unknown),
            str(unknown[0]),
        )
    if fractions:
        _log.warning(
            "%d file(s) such as %r have processing baseline 04.00 or later and store floats; their offset is assumed "
            "to be subtracted already",
            len(fractions),
            str(fractions[0]),
        )
