"""From a file to its layers: which bands it has, of which day, tile and product."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cropzoo.errors import CropzooError
from cropzoo.images import names
from cropzoo.images.dates import date_of, find_date
from cropzoo.images.headers import Header, HeaderReader
from cropzoo.images.layers import Layer
from cropzoo.images.offsets import baseline_offset, header_offset, is_digital, tagged_baseline
from cropzoo.images.searching import Candidate

_EPOCH = date(1970, 1, 1)
_OFFSET_SINCE = (date(2022, 1, 25) - _EPOCH).days
"""The day of processing baseline 04.00."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A layer and what groups it with others.

    Args:
        layer: the layer.
        day: days since 1970-01-01.
        tile: MGRS tile, "" if unknown.
        product: what the files of one product have in common.
        baseline: processing baseline as 400 for 04.00, -1 unknown.
        level: of an ESA product, "1C" or "2A", "" if unknown.
    """

    layer: Layer
    day: int
    tile: str
    product: str
    baseline: int
    level: str


def scan(candidates: Sequence[Candidate], asked: Sequence[str], headers: HeaderReader) -> list[Found]:
    """The layers of files.

    Raises:
        CropzooError: a file that cannot be read, without a date, or with bands that nobody names.
    """
    found = [layer for candidate in candidates for layer in _scan_file(candidate, asked, headers)]
    _warn_of_offsets(found)
    return found


def days_since_epoch(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days


def make_layer(header: Header, index: int, name: str, offset: int, nodata: float | None = None) -> Layer:
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
    return Layer(
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


def band_names(path: Path, found: tuple[str, ...], asked: Sequence[str]) -> tuple[str, ...]:
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


def _scan_file(candidate: Candidate, asked: Sequence[str], headers: HeaderReader) -> list[Found]:
    path = candidate.path
    header = headers.read(path)
    day = days_since_epoch(_date(candidate, header.tags))
    bands, product = _bands_and_product(header, asked)
    above = names.parts(path.absolute())
    notes, named = headers.notes(path), names.baseline_in(above)
    baseline = max(tagged_baseline(header.tags), notes.baseline if notes.baseline >= 0 else named)
    nodata = 0.0 if names.is_esa(path) else None
    return [
        Found(
            layer=make_layer(header, index, band, header_offset(header, index, band, notes, named), nodata),
            day=day,
            tile=names.tile_in(above),
            product=product,
            baseline=baseline,
            level=names.level_in(above),
        )
        for index, band in enumerate(bands)
    ]


def _date(candidate: Candidate, tags: Mapping[str, str]) -> date:
    """Name, then folders, then tags: those are often of the day of processing."""
    texts = (candidate.path.stem, *candidate.folders)
    named = next((day for text in texts if (day := find_date(text))), None)
    return named or date_of(candidate.path, tags)


def _bands_and_product(header: Header, asked: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The names of a file's bands, and what its product's other files have in common with it."""
    path = header.path
    folder = _product_folder(path)
    if len(header.names) == 1:
        if band := names.band_in(path.stem, asked):
            return (band,), f"{folder}/{names.without_band(path.stem, band)}"
        if not header.names[0] and (band := names.band_in(folder.name, asked)):
            return (band,), f"{folder.parent}/{path.stem}"
    return band_names(header.path, header.names, asked), f"{folder}/{path.stem}"


def _product_folder(path: Path) -> Path:
    """The folder that all bands of a product lie in: R10m and R20m are parts of it."""
    folder = path.absolute().parent
    return folder.parent if names.is_resolution(folder.name) else folder


def _warn_of_offsets(found: Sequence[Found]) -> None:
    """Say where an offset may be in the numbers and nobody can tell."""
    unknown = [
        each.layer.path
        for each in found
        if each.baseline < 0
        and each.day >= _OFFSET_SINCE
        and each.layer.offset == 0
        and names.is_esa(each.layer.path)
        and names.spectral(each.layer.name)
    ]
    fractions = [
        each.layer.path
        for each in found
        if baseline_offset(each.baseline)
        and each.layer.offset == 0
        and not is_digital(each.layer.dtype)
        and names.spectral(each.layer.name)
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
