"""From a file to its layers: which bands it has, of which day, tile and product."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cropzoo.errors import CropzooError
from cropzoo.geo.raster import naming as names
from cropzoo.geo.raster.dates import days_since_epoch, find_date, find_image_date
from cropzoo.geo.raster.metadata import (
    Header,
    HeaderReader,
    baseline_offset,
    header_offset,
    is_digital,
    tagged_baseline,
)
from cropzoo.geo.raster.naming import (
    AUXILIARY_BANDS,
    RASTER_SUFFIXES,
    SCL,
    find_band,
    is_structure,
)
from cropzoo.geo.raster.scene import BandFile

_ITEM_SUFFIXES = (".json", ".geojson")
_NO_IMAGES = ("QI_DATA", "AUX_DATA", "HTML", "rep_info")
"""Folders of a Sentinel-2 product with rasters that are no bands: masks of quality and pictures."""

_REMOTE = re.compile(r"(?!file:)[a-z][a-z0-9+.]+:/|/vsi", re.IGNORECASE)
_REMOTE_SOURCE = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)|<SourceFilename[^>]*>\s*(https?|ftp)://")
_VRT_BYTES = 2**24


@dataclass(frozen=True)
class Candidate:
    """A raster that may be an image; `folders` are the names that may hold its date, nearest first."""

    path: Path
    folders: tuple[str, ...]


def find_files(patterns: Sequence[str | Path], asked: Sequence[str] = ()) -> tuple[list[Candidate], list[Path]]:
    """The rasters and the item collections that patterns mean, each once, in order of their paths.

    Args:
        patterns: paths, globs (also with `**` and `~`), folders (the rasters in and below them).
        asked: bands that the user names; AOT, WVP and the like are passed over unless they are among them.

    Raises:
        CropzooError: a pattern that means no raster, or one on the network.
    """
    rasters: dict[Path, Candidate] = {}
    collections: dict[Path, None] = {}
    for pattern in patterns:
        check_local(str(pattern), f"images {str(pattern)!r}")
        text = os.path.expanduser(str(pattern))
        if Path(text).suffix.lower() in _ITEM_SUFFIXES:
            found = [Path(name) for name in _expand(text)]
            collections.update(dict.fromkeys(path.resolve() for path in found))
        else:
            root = _fixed_part(text)
            found = [path for name in _expand(text) for path in _rasters(Path(name)) if _is_band(path, asked)]
            for path in found:
                if path.suffix.lower() == ".vrt":
                    _check_sources(path)
                rasters.setdefault(path.resolve(), Candidate(path, dated_folders(path, root)))
        if not found:
            raise CropzooError(
                f"images {str(pattern)!r}; no image ({', '.join(RASTER_SUFFIXES)}) is there; check the path, "
                "quote the pattern, unpack archives, and keep labels and masks apart"
            )
    return sorted(rasters.values(), key=lambda candidate: candidate.path), sorted(collections)


def check_local(address: str, what: str) -> None:
    """Raises.

    Raises:
        CropzooError: for an address on the network; images are read from disk alone.
    """
    if _REMOTE.match(address):
        raise CropzooError(f"{what}; {address!r} is not on this disk; download the images first and give their paths")


def _check_sources(path: Path) -> None:
    """Refuse a virtual raster whose sources are on the network."""
    try:
        text = path.read_bytes()[:_VRT_BYTES].decode(errors="replace")
    except OSError:
        return  # what cannot be read is told when it is opened
    if _REMOTE_SOURCE.search(text):
        raise CropzooError(f"image {str(path)!r}; its sources are not on this disk; download them and make it anew")


def dated_folders(path: Path, root: Path) -> tuple[str, ...]:
    """The folders of a file that may hold its date: those below `root`, else the first that names no part of a product.

    Farther up a date is that of a download or a project, not of an image.
    """
    names: list[str] = []
    for parent in path.absolute().parents:
        named = any(not is_structure(name) for name in names)
        if named and root.absolute() not in parent.parents:
            break
        names.append(parent.name)
    return tuple(names)


def _expand(text: str) -> list[str]:
    """A path that exists stands for itself, though it holds brackets."""
    return [text] if os.path.lexists(text) else sorted(glob.glob(text, recursive=True))


def _fixed_part(text: str) -> Path:
    """The folder above which a pattern leaves nothing open."""
    path = Path(text)
    if path.is_dir():
        return path
    if path.exists():
        return path.parent
    while glob.has_magic(str(path)):
        path = path.parent
    return path


def _rasters(path: Path) -> list[Path]:
    """The path itself if it is a raster, those in and below it if it is a folder."""
    if not path.is_dir():
        return [path] if path.suffix.lower() in RASTER_SUFFIXES else []
    found = []
    for folder, below, files in os.walk(path):
        below[:] = sorted(name for name in below if not name.startswith(".") and name not in _NO_IMAGES)
        found += [Path(folder, name) for name in files if Path(name).suffix.lower() in RASTER_SUFFIXES]
    return found


def _is_band(path: Path, asked: Sequence[str]) -> bool:
    """Whether a raster can be an image by its name: no label raster, no quality mask, no picture."""
    stem = path.stem
    if stem.startswith((".", "MSK_")) or stem.lower() == "labels" or {*path.parts[-3:-1]} & {*_NO_IMAGES}:
        return False
    band = find_band(stem, ())
    return band not in AUXILIARY_BANDS or band in asked or band == SCL


_OFFSET_SINCE = days_since_epoch(date(2022, 1, 25))
"""The day of processing baseline 04.00."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundBand:
    """A layer and what groups it with others.

    Args:
        layer: the layer.
        day: days since 1970-01-01.
        tile: MGRS tile, "" if unknown.
        product: what the files of one product have in common.
        baseline: processing baseline as 400 for 04.00, -1 unknown.
        level: of an ESA product, "1C" or "2A", "" if unknown.
    """

    layer: BandFile
    day: int
    tile: str
    product: str
    baseline: int
    level: str


def scan_files(candidates: Sequence[Candidate], asked: Sequence[str], headers: HeaderReader) -> list[FoundBand]:
    """The layers of files.

    Raises:
        CropzooError: a file that cannot be read, without a date, or with bands that nobody names.
    """
    found = [layer for candidate in candidates for layer in _scan_file(candidate, asked, headers)]
    _warn_of_offsets(found)
    return found


def make_band_file(header: Header, index: int, name: str, offset: int, nodata: float | None = None) -> BandFile:
    """The layer of one band of a file; `nodata` counts where the file declares none.

    Raises:
        CropzooError: a type that is no number that a network can take.
    """
    dtype = header.dtypes[index]
    if not dtype.startswith(("int", "uint", "float")):
        raise CropzooError(
            f"image {str(header.path)!r}; band {name!r} holds {dtype}; store reflectance as integers or floats"
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


def resolve_band_names(path: Path, found: tuple[str, ...], asked: Sequence[str]) -> tuple[str, ...]:
    """The names of a file's bands in order: its descriptions, else the ones that the user names.

    Raises:
        CropzooError: bands without descriptions and no, or not as many, names asked for; a description twice.
    """
    if not all(found):
        count = f"{len(found)} band{'s' if len(found) > 1 else ''}"
        if not asked:
            raise CropzooError(
                f"image {str(path)!r}; its bands have no descriptions; name its {count} in order "
                "by option 'bands', write descriptions into the file, or name files of one band after it, like "
                "'S2_2019-05-16_B02.tif'"
            )
        if len(asked) != len(found):
            raise CropzooError(
                f"image {str(path)!r}; it has {count} without descriptions and option 'bands' "
                f"names {len(asked)}; name every band of the file in order"
            )
        found = tuple(asked)
    if len(set(found)) != len(found):
        raise CropzooError(f"image {str(path)!r}; two bands have one description: {found!r}; rename one")
    return found


def _scan_file(candidate: Candidate, asked: Sequence[str], headers: HeaderReader) -> list[FoundBand]:
    path = candidate.path
    header = headers.read(path)
    day = days_since_epoch(_date(candidate, header.tags))
    bands, product = _bands_and_product(header, asked)
    above = names.path_names(path.absolute())
    notes, named = headers.notes(path), names.find_baseline(above)
    baseline = max(tagged_baseline(header.tags), notes.baseline if notes.baseline >= 0 else named)
    nodata = 0.0 if names.is_esa_name(path) else None
    return [
        FoundBand(
            layer=make_band_file(header, index, band, header_offset(header, index, band, notes, named), nodata),
            day=day,
            tile=names.find_mgrs_tile(above),
            product=product,
            baseline=baseline,
            level=names.find_level(above),
        )
        for index, band in enumerate(bands)
    ]


def _date(candidate: Candidate, tags: Mapping[str, str]) -> date:
    """Name, then folders, then tags: those are often of the day of processing."""
    texts = (candidate.path.stem, *candidate.folders)
    named = next((day for text in texts if (day := find_date(text))), None)
    return named or find_image_date(candidate.path, tags)


def _bands_and_product(header: Header, asked: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The names of a file's bands, and what its product's other files have in common with it."""
    path = header.path
    folder = _product_folder(path)
    if len(header.names) == 1:
        if band := names.find_band(path.stem, asked):
            return (band,), f"{folder}/{names.remove_band(path.stem, band)}"
        if not header.names[0] and (band := names.find_band(folder.name, asked)):
            return (band,), f"{folder.parent}/{path.stem}"
    return resolve_band_names(header.path, header.names, asked), f"{folder}/{path.stem}"


def _product_folder(path: Path) -> Path:
    """The folder that all bands of a product lie in: R10m and R20m are parts of it."""
    folder = path.absolute().parent
    return folder.parent if names.is_resolution(folder.name) else folder


def _warn_of_offsets(found: Sequence[FoundBand]) -> None:
    """Say where an offset may be in the numbers and nobody can tell."""
    unknown = [
        each.layer.path
        for each in found
        if each.baseline < 0
        and each.day >= _OFFSET_SINCE
        and each.layer.offset == 0
        and names.is_esa_name(each.layer.path)
        and names.sentinel2_band(each.layer.name)
    ]
    fractions = [
        each.layer.path
        for each in found
        if baseline_offset(each.baseline)
        and each.layer.offset == 0
        and not is_digital(each.layer.dtype)
        and names.sentinel2_band(each.layer.name)
    ]
    if unknown:
        _log.warning(
            "%d file(s) such as %r are later than baseline 04.00 and do not tell theirs, so an offset of 1000 stays in "
            "their numbers; keep the product's folder or its MTD_MSIL2A.xml, or give the offset",
            len(unknown),
            str(unknown[0]),
        )
    if fractions:
        _log.warning(
            "%d file(s) such as %r are of baseline 04.00 or later and hold fractions; their offset counts as taken off",
            len(fractions),
            str(fractions[0]),
        )
