"""Scanning image files: the bands of each file with their date, tile and product, from header and name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cropzoo.errors import CropzooError
from cropzoo.geo.raster import naming
from cropzoo.geo.raster.dates import days_since_epoch, find_date, find_image_date
from cropzoo.geo.raster.file_search import ImageFile
from cropzoo.geo.raster.metadata import (
    Header,
    HeaderReader,
    baseline_offset,
    header_offset,
    is_digital,
    tagged_baseline,
)
from cropzoo.geo.raster.scene import BandFile

_OFFSET_SINCE = days_since_epoch(date(2022, 1, 25))
"""First day of processing baseline 04.00."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundBand:
    """Band file with the keys by which it is grouped with others.

    Args:
        band: Band file.
        day: Days since 1970-01-01.
        tile: MGRS tile, "" if unknown.
        product: Key that the files of one product share.
        baseline: Processing baseline, 400 for 04.00; -1 if unknown.
        level: Processing level of an ESA product, "1C" or "2A"; "" if unknown.
    """

    band: BandFile
    day: int
    tile: str
    product: str
    baseline: int
    level: str


def scan_files(files: Sequence[ImageFile], bands: Sequence[str], headers: HeaderReader) -> list[FoundBand]:
    """Bands of files.

    Args:
        files: Files to scan.
        bands: Band names given by the user.
        headers: Reader of the file headers.

    Raises:
        CropzooError: A file that cannot be read, has no date, or has bands without names.
    """
    found = [band for file in files for band in _scan_file(file, bands, headers)]
    _warn_of_offsets(found)
    return found


def make_band_file(header: Header, index: int, name: str, offset: int, nodata: float | None = None) -> BandFile:
    """Band file for one band of a file.

    Args:
        header: Header of the file.
        index: Index of the band, from 0.
        name: Name of the band.
        offset: Radiometric offset of the stored numbers.
        nodata: Stored number that means no data if the file declares none.

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
        block=header.blocks[index],
    )


def resolve_band_names(path: Path, descriptions: tuple[str, ...], given: Sequence[str]) -> tuple[str, ...]:
    """Names of the bands of a file in order: its descriptions, else the names given by the user.

    Args:
        path: Path of the file, for messages.
        descriptions: Band descriptions of the file, "" where missing.
        given: Names given by the user.

    Raises:
        CropzooError: Bands without descriptions and no, or not as many, given names; a repeated description.
    """
    if not all(descriptions):
        count = f"{len(descriptions)} band{'s' if len(descriptions) > 1 else ''}"
        if not given:
            raise CropzooError(
                f"image {str(path)!r}; its bands have no descriptions; name its {count} in order "
                "by option 'bands', write descriptions into the file, or name single-band files after their band, like "
                "'S2_2019-05-16_B02.tif'"
            )
        if len(given) != len(descriptions):
            raise CropzooError(
                f"image {str(path)!r}; it has {count} without descriptions and option 'bands' "
                f"names {len(given)}; name every band of the file in order"
            )
        descriptions = tuple(given)
    if len(set(descriptions)) != len(descriptions):
        raise CropzooError(
            f"image {str(path)!r}; two bands have the same description: {descriptions!r}; rename one of them"
        )
    return descriptions


def _scan_file(file: ImageFile, bands: Sequence[str], headers: HeaderReader) -> list[FoundBand]:
    path = file.path
    header = headers.read(path)
    day = days_since_epoch(_find_date(file, header.tags))
    names, product = _name_bands(header, bands)
    above = naming.path_names(path.absolute())
    metadata, named = headers.read_product_metadata(path), naming.find_baseline(above)
    baseline = max(tagged_baseline(header.tags), metadata.baseline if metadata.baseline >= 0 else named)
    nodata = 0.0 if naming.is_esa_name(path) else None
    return [
        FoundBand(
            band=make_band_file(header, index, name, header_offset(header, index, name, metadata, named), nodata),
            day=day,
            tile=naming.find_mgrs_tile(above),
            product=product,
            baseline=baseline,
            level=naming.find_level(above),
        )
        for index, name in enumerate(names)
    ]


def _find_date(file: ImageFile, tags: Mapping[str, str]) -> date:
    """Date from the name, else the folders, else the tags, which are often of the day of processing."""
    texts = (file.path.stem, *file.folders)
    named = next((day for text in texts if (day := find_date(text))), None)
    return named or find_image_date(file.path, tags)


def _name_bands(header: Header, bands: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Names of the bands of a file, and the key of its product."""
    path = header.path
    folder = _product_folder(path)
    if len(header.names) == 1:
        if band := naming.find_band(path.stem, bands):
            return (band,), f"{folder}/{naming.remove_band(path.stem, band)}"
        if not header.names[0] and (band := naming.find_band(folder.name, bands)):
            return (band,), f"{folder.parent}/{path.stem}"
    return resolve_band_names(header.path, header.names, bands), f"{folder}/{path.stem}"


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
        and naming.sentinel2_band(each.band.name)
    ]
    fractions = [
        each.band.path
        for each in found
        if baseline_offset(each.baseline)
        and each.band.offset == 0
        and not is_digital(each.band.dtype)
        and naming.sentinel2_band(each.band.name)
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
