"""Images listed by STAC items on disk: an item, or a collection of items as searches give them.

Read as plain JSON: of the STAC model only dates, assets and what they say of their bands are needed, in the forms of
STAC 1.0 (`eo:bands`, `raster:bands`) and 1.1 (`bands`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cropzoo.errors import CropzooError
from cropzoo.geo.raster import naming as names
from cropzoo.geo.raster.dates import days_since_epoch, find_date
from cropzoo.geo.raster.metadata import (
    HeaderReader,
    ProductMetadata,
    baseline_offset,
    declared_offset,
    header_offset,
    is_digital,
    parse_baseline,
    tagged_baseline,
)
from cropzoo.geo.raster.scan import FoundBand, check_local, make_band_file
from cropzoo.io import read_json

_COMMON = {
    "coastal": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "rededge1": "B05",
    "rededge071": "B05",
    "rededge2": "B06",
    "rededge075": "B06",
    "rededge3": "B07",
    "rededge078": "B07",
    "nir": "B08",
    "nir08": "B8A",
    "nir09": "B09",
    "cirrus": "B10",
    "swir16": "B11",
    "swir22": "B12",
    "scl": "SCL",
}
"""The common names of Sentinel-2's bands; "rededge" alone stands for three of them, so it names none."""

_NO_DATA_ROLES = {"thumbnail", "overview", "metadata", "visual", "cloud", "snow-ice"}
_PICTURES = {"visual", "preview", "thumbnail", "overview", "rendered_preview"}
_MEDIA = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff")


@dataclass(frozen=True)
class _Asset:
    """One raster of an item: what its bands are called (None: as in the file), and what is said of each."""

    key: str
    href: str
    bands: tuple[str, ...] | None
    notes: tuple[Mapping[str, Any], ...]


def read_items(path: Path, asked: Sequence[str], headers: HeaderReader) -> list[FoundBand]:
    """The layers of all items in a file.

    Assets that are no raster, pictures and masks are passed over, and with `asked` all other bands than these and SCL.
    Where an item has a band in several files, those on this disk count.

    Args:
        path: of an item collection or an item; relative addresses of assets are relative to it.
        asked: bands that the user names.
        headers: for the rasters' headers.

    Raises:
        CropzooError: no STAC; an item without a date; a raster that is missing or on the network.
    """
    return [found for item in _items(path) for found in _read_item(item, path, asked, headers)]


def _items(path: Path) -> list[dict[str, Any]]:
    value = read_json(path)
    kind = value.get("type") if isinstance(value, dict) else None
    items = value.get("features") if kind == "FeatureCollection" else [value] if kind == "Feature" else None
    if not isinstance(items, list) or not all(isinstance(item, dict) and _mapping(item, "assets") for item in items):
        raise CropzooError(
            f"images {str(path)!r}; it is no STAC item or item collection (a FeatureCollection whose features have "
            "assets); save the result of a search as one, or give the image files themselves"
        )
    return items


def _read_item(item: dict[str, Any], path: Path, asked: Sequence[str], headers: HeaderReader) -> Iterator[FoundBand]:
    properties = _mapping(item, "properties")
    name = str(item.get("id", ""))
    stamp = str(properties.get("datetime") or properties.get("start_datetime") or "")
    day = find_date(stamp[:10])
    if day is None:
        raise CropzooError(f"item {name!r} of {str(path)!r}; it has no datetime; give it one")
    files = list(_on_disk(item, path, asked))
    if not files:
        raise CropzooError(
            f"item {name!r} of {str(path)!r}; none of its assets is a raster of {', '.join(asked) or 'bands'}; "
            "take the item out, or check option 'bands'"
        )
    for asset, file in files:
        header = headers.read(file)
        bands = asset.bands or header.names
        if len(bands) != len(header.names) or not all(bands):
            raise CropzooError(
                f"item {name!r} of {str(path)!r}; asset {asset.key!r} has {len(bands)} named band(s) and {str(file)!r} "
                f"{len(header.names)}; give the asset a name for every band of the file in 'eo:bands' or 'bands'"
            )
        above = [name, *names.path_names(file)]
        product_notes = headers.notes(file)
        said = parse_baseline(properties.get("s2:processing_baseline", properties.get("processing:version", "")))
        named = said if said >= 0 else names.find_baseline(above)
        baseline = max(tagged_baseline(header.tags), named if named >= 0 else product_notes.baseline)
        for index, band in enumerate(bands):
            notes = asset.notes[index] if index < len(asset.notes) else {}
            offset = _item_offset(properties, notes, band, header.dtypes[index])
            if offset is None:
                offset = header_offset(header, index, band, ProductMetadata() if said >= 0 else product_notes, named)
            yield FoundBand(
                layer=make_band_file(header, index, band, offset, _nodata(notes, file)),
                day=days_since_epoch(day),
                tile=_tile(properties) or names.find_mgrs_tile(above),
                product=f"{path}/{name}",
                baseline=baseline,
                level=names.find_level(above),
            )


def _on_disk(item: dict[str, Any], path: Path, asked: Sequence[str]) -> Iterator[tuple[_Asset, Path]]:
    """The rasters of an item that are to be read, each with its file."""
    by_bands: dict[tuple[str, ...] | str, list[_Asset]] = {}
    for asset in _assets(item, asked):
        by_bands.setdefault(asset.bands or asset.key, []).append(asset)
    for several in by_bands.values():
        local = [(asset, file) for asset in several if (file := _file(asset.href, path)) is not None]
        if local:
            yield from local
            continue
        what = f"item {str(item.get('id', ''))!r} of {str(path)!r}, asset {several[0].key!r}"
        check_local(several[0].href, what)
        raise CropzooError(
            f"{what}; there is no file {several[0].href!r}; addresses are relative to the JSON file; "
            "correct them, download the asset, or choose the bands that you have by option 'bands'"
        )


def _assets(item: dict[str, Any], asked: Sequence[str]) -> Iterator[_Asset]:
    """The assets of an item that are rasters of bands."""
    for key, asset in sorted(_mapping(item, "assets").items()):
        if key.partition("-")[0] in _PICTURES or not isinstance(asset, dict) or not _is_raster(asset):
            continue
        listed = _list(asset, "bands") or _list(asset, "eo:bands")
        bands = tuple(found for entry in listed if (found := _band_name(entry, key, asked, alone=len(listed) == 1)))
        if not listed and (alone := _band_name({}, key, asked, alone=True)):
            bands = (alone,)
        if any(name in names.AUXILIARY_BANDS and name not in asked for name in bands):
            continue
        if asked and bands and not {*bands} & {*asked, names.SCL}:
            continue
        raster = _list(asset, "raster:bands") or _list(asset, "bands") or [{}]
        yield _Asset(key, str(asset.get("href", "")), bands or None, tuple({**asset, **entry} for entry in raster))


def _is_raster(asset: dict[str, Any]) -> bool:
    """By its address, else its media type; pictures are none."""
    roles = asset.get("roles")
    if isinstance(roles, list) and any(role in _NO_DATA_ROLES for role in roles if isinstance(role, str)):
        return False
    suffix = Path(str(asset.get("href", "")).partition("?")[0]).suffix.lower()
    return suffix in names.RASTER_SUFFIXES or (not suffix and str(asset.get("type", "")).startswith(_MEDIA))


def _band_name(entry: Mapping[str, Any], key: str, asked: Sequence[str], *, alone: bool) -> str:
    """What a band is called: the first known one of its name, its asset's key and its common name, else its name."""
    given = [str(entry.get("name", "")), *([key.removesuffix("-jp2")] if alone else [])]
    common = str(entry.get("eo:common_name", entry.get("common_name", "")))
    for text in (*given, common):
        if text in asked:
            return text
        known = names.find_band(text, asked) or _COMMON.get(text.lower())
        if known:
            return known
    return given[0] or ("" if not alone else given[-1])


def _item_offset(properties: Mapping[str, Any], notes: Mapping[str, Any], band: str, dtype: str) -> int | None:
    """The offset that an item tells of; None where it tells nothing.

    Earth Search says in a property of its own that it has taken the offset off, and leaves it in `raster:bands`.
    """
    if band == names.SCL:
        return 0
    if any(properties.get(f"{prefix}:boa_offset_applied") is True for prefix in ("earthsearch", "sentinel")):
        return 0
    scale, offset = (notes.get(f"raster:{key}", notes.get(key)) for key in ("scale", "offset"))
    declared = None if offset is None else declared_offset(scale, offset)
    if declared:
        return declared
    said = parse_baseline(properties.get("s2:processing_baseline", properties.get("processing:version", "")))
    if said >= 0 and declared is None and names.sentinel2_band(band) and is_digital(dtype):
        return baseline_offset(said)
    return declared


def _nodata(notes: Mapping[str, Any], file: Path) -> float | None:
    value = notes.get("nodata", 0 if names.is_esa_name(file) else None)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _tile(properties: Mapping[str, Any]) -> str:
    parts = [properties.get(f"mgrs:{part}") for part in ("utm_zone", "latitude_band", "grid_square")]
    joined = f"{parts[0]:0>2}{parts[1]}{parts[2]}" if all(parts) else ""
    texts = (properties.get("s2:mgrs_tile"), str(properties.get("grid:code", "")).removeprefix("MGRS-"), joined)
    return names.find_mgrs_tile(f"T{str(text).removeprefix('T')}" for text in texts if text)


def _file(href: str, path: Path) -> Path | None:
    """The file on this disk that an address means; None where there is none."""
    text = href.removeprefix("file://")
    return next((file for each in (text, unquote(text)) if (file := path.parent / each).is_file()), None)


def _mapping(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _list(value: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = value.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
