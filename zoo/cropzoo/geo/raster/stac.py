"""Images listed by STAC items on local disk: a single item or an item collection, as a search returns it.

Bands are read in the forms of STAC 1.0 (`eo:bands`, `raster:bands`) and 1.1 (`bands`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pystac

from cropzoo.errors import CropzooError, quote
from cropzoo.geo.raster import naming
from cropzoo.geo.raster.dates import ImageDate, days_since_epoch, find_date
from cropzoo.geo.raster.file_search import check_local
from cropzoo.geo.raster.metadata import (
    HeaderReader,
    Offset,
    ProductMetadata,
    baseline_offset,
    declared_offset,
    header_offset,
    is_digital,
    parse_baseline,
    tagged_baseline,
)
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo.geo.raster.quality import find_layer, is_mask
from cropzoo.geo.raster.scan import FoundBand, find_data_masks, insert_data_masks, make_band_file, select_bands

_MAX_BYTES = 2**28
"""Largest STAC file that is read: about 5,000 items of Sentinel-2."""

_COMMON_NAMES = {
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
}
"""Common names of Sentinel-2's bands. "rededge" without a number is used for three bands, so it names none."""

_SKIPPED_ROLES = {"thumbnail", "overview", "metadata", "visual"}
_MASK_ROLES = {"cloud", "snow-ice"}
_SKIPPED_ASSETS = {"visual", "preview", "thumbnail", "overview", "rendered_preview"}
_MEDIA_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff")


class LocalStacIO(pystac.StacIO):
    """Reads STAC files of bounded size from local disk.

    It never uses the network, so `--offline` changes nothing.
    """

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Text of a file.

        Raises:
            CropzooError: A URL, or a file that is larger than 256 MiB.
            OSError: The file cannot be read.
            UnicodeDecodeError: The file is not UTF-8.
        """
        href = os.fspath(source)
        check_local(href, f"images {href!r}")
        with Path(href.removeprefix("file://")).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)  # a pipe or device has no size that could be checked before
        if len(content) > _MAX_BYTES:
            raise CropzooError(
                f"images {href!r}; the file is larger than {_MAX_BYTES >> 20} MiB; split it into several files of items"
            )
        return content.decode()

    def write_text(self, dest: Any, txt: str, *args: Any, **kwargs: Any) -> None:
        """Not supported: STAC files are only read."""
        raise CropzooError(f"writing the STAC file {os.fspath(dest)!r}; STAC files are only read; write it with pystac")


@dataclass(frozen=True)
class _RasterAsset:
    """Raster of an item.

    Args:
        key: Key of the asset.
        href: Path or URL of the file.
        bands: Names of the bands; None to use the descriptions in the file.
        metadata: What the asset declares about each band: scale, offset, nodata.
    """

    key: str
    href: str
    bands: tuple[str, ...] | None
    metadata: tuple[Mapping[str, Any], ...]


def read_items(path: Path, bands: Sequence[str], headers: HeaderReader, notes: ImageNotes) -> list[FoundBand]:
    """Band files of all items in a file.

    Assets that are not rasters, previews and quality layers that cannot be decoded are skipped. If `bands` are given,
    all other bands but masks are skipped too. If an item has a band in several files, those on local disk are used.

    Args:
        path: Path of an item or item collection; relative hrefs of assets are relative to it.
        bands: Names of the bands of the series given by the user.
        headers: Reader of the file headers.
        notes: Where bands that are left out are added.

    Raises:
        CropzooError: The file is not valid STAC, an item has no date, or a raster is missing or on the network.
    """
    return [found for item in load_items(path) for found in _read_item(item, path, bands, headers, notes)]


def load_items(path: Path) -> list[pystac.Item]:
    """STAC items in a file: an item, an item collection, or a GeoJSON FeatureCollection of items.

    Raises:
        CropzooError: The file cannot be read, is too large, or is not valid STAC.
    """
    try:
        content: Any = LocalStacIO().read_json(str(path))
    except (OSError, ValueError, RecursionError) as error:
        raise CropzooError(f"images {str(path)!r}; the file cannot be read ({error}); download it again") from error
    kind = content.get("type") if isinstance(content, dict) else None
    features = content.get("features") if kind == "FeatureCollection" else [content] if kind == "Feature" else None
    if not isinstance(features, list) or not all(isinstance(each, dict) and _dict(each, "assets") for each in features):
        raise CropzooError(
            f"images {str(path)!r}; the file is not a STAC item or item collection (a FeatureCollection whose features "
            "have assets); save the result of a search as one, or pass the image files themselves"
        )
    return [_parse_item(feature, path) for feature in features]


def _parse_item(feature: dict[str, Any], path: Path) -> pystac.Item:
    name, properties = str(feature.get("id", "")), _dict(feature, "properties")
    stamp = str(properties.get("datetime") or properties.get("start_datetime") or "")
    if find_date(stamp[:10]) is None:
        raise CropzooError(f"item {name!r} of {str(path)!r}; it has no datetime; add one")
    # Links and geometry are not needed, and pystac would follow and check them.
    assets = {key: asset for key, asset in _dict(feature, "assets").items() if _is_asset(asset)}
    known = {"type": "Feature", "id": name, "geometry": None, "stac_version": pystac.get_stac_version()}
    try:
        return pystac.Item.from_dict(
            {**known, "properties": {**properties, "datetime": stamp}, "assets": assets},
            migrate=False,
            preserve_dict=False,
        )
    except (pystac.STACError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise CropzooError(f"item {name!r} of {str(path)!r}; it is not a valid STAC item ({error}); fix it") from error


def _is_asset(asset: Any) -> bool:
    return isinstance(asset, dict) and isinstance(asset.get("href"), str)


def _read_item(
    item: pystac.Item, path: Path, requested: Sequence[str], headers: HeaderReader, notes: ImageNotes
) -> Iterator[FoundBand]:
    assert item.datetime is not None  # set by `_parse_item`
    rasters = list(_find_rasters(item, path, requested, notes))
    if not rasters:
        raise CropzooError(
            f"item {item.id!r} of {str(path)!r}; none of its assets is a raster of {', '.join(requested) or 'bands'}; "
            "remove the item, or check option 'bands'"
        )
    declared = parse_baseline(
        item.properties.get("s2:processing_baseline", item.properties.get("processing:version", ""))
    )
    dated = ImageDate(
        days_since_epoch(item.datetime.date()), "the STAC item", item.datetime.strftime("%H%M%S"), is_product=True
    )
    for asset, file in rasters:
        header = headers.read(file)
        masks = find_data_masks(header)
        described = [name for name, is_data_mask in zip(header.names, masks, strict=True) if not is_data_mask]
        bands: Sequence[str] = asset.bands or described
        if len(bands) == masks.count(False) < len(masks):
            bands = insert_data_masks(bands, masks)
        if len(bands) != len(header.names) or not all(bands):
            raise CropzooError(
                f"item {item.id!r} of {str(path)!r}; asset {asset.key!r} has {len(bands)} named band(s) and "
                f"{str(file)!r} {len(header.names)}; name every band of the file in 'eo:bands' or 'bands' of the asset"
            )
        above = [item.id, *naming.path_names(file)]
        metadata = headers.read_product_metadata(file)
        named = declared if declared >= 0 else naming.find_baseline(above)
        baseline = max(tagged_baseline(header.tags), named if named >= 0 else metadata.baseline)
        selected = select_bands(header, bands, requested, notes)
        for index, band in selected.names:
            entry = asset.metadata[index] if index < len(asset.metadata) else {}
            offset = _declared_item_offset(item.properties, entry, band, header.dtypes[index])
            if offset is None:
                offset = header_offset(header, index, band, ProductMetadata() if declared >= 0 else metadata, named)
            nodata = _declared_nodata(entry, file)
            yield FoundBand(
                band=make_band_file(header, index, band, offset.value, nodata, selected.mask_bands),
                date=dated,
                tile=_find_tile(item.properties) or naming.find_mgrs_tile(above),
                product=f"{path}/{item.id}",
                baseline=baseline,
                level=naming.find_level(above),
                offset_reason=offset.reason,
            )


def _find_rasters(
    item: pystac.Item, path: Path, requested: Sequence[str], notes: ImageNotes
) -> Iterator[tuple[_RasterAsset, Path]]:
    """Rasters of an item that are to be read, each with its file."""
    by_bands: dict[tuple[str, ...] | str, list[_RasterAsset]] = {}
    for asset in _list_raster_assets(item, requested, path, notes):
        by_bands.setdefault(asset.bands or asset.key, []).append(asset)
    for several in by_bands.values():
        local = [(asset, file) for asset in several if (file := _find_file(asset.href, path)) is not None]
        if local:
            yield from local
            continue
        subject = f"item {item.id!r} of {str(path)!r}, asset {several[0].key!r}"
        check_local(several[0].href, subject)
        raise CropzooError(
            f"{subject}; there is no file {quote(several[0].href)}; hrefs are relative to the JSON file; "
            "correct them, download the asset, or choose the available bands by option 'bands'"
        )


def _list_raster_assets(
    item: pystac.Item, requested: Sequence[str], path: Path, notes: ImageNotes
) -> Iterator[_RasterAsset]:
    """Assets of an item that are rasters of requested bands."""
    for key, asset in sorted(item.assets.items()):
        if key.partition("-")[0] in _SKIPPED_ASSETS or not _is_raster(asset):
            continue
        fields = asset.extra_fields
        listed = _dicts(fields, "bands") or _dicts(fields, "eo:bands")
        single = len(listed) == 1
        bands = tuple(name for entry in listed if (name := _find_band_name(entry, key, requested, single=single)))
        if not listed and (name := _find_band_name({}, key, requested, single=True)):
            bands = (name,)
        layers = [None if name in requested else find_layer(name) for name in bands]
        if not any(layers) and _has_role(asset, _MASK_ROLES):
            continue
        unknown = [layer.name for layer in layers if layer and not layer.is_mask]
        if unknown and len(unknown) == len(bands):
            if _find_file(asset.href, path) is not None:
                notes.add_left_out(path.parent / asset.href, unknown[0])
            continue
        if requested and bands and not any(name in requested or is_mask(name) for name in bands):
            continue
        declared = _dicts(fields, "raster:bands") or _dicts(fields, "bands") or [{}]
        yield _RasterAsset(key, asset.href, bands or None, tuple({**fields, **entry} for entry in declared))


def _is_raster(asset: pystac.Asset) -> bool:
    """Whether suffix, media type and roles are those of a raster of bands."""
    if _has_role(asset, _SKIPPED_ROLES):
        return False
    suffix = Path(asset.href.partition("?")[0]).suffix.lower()
    return suffix in naming.RASTER_SUFFIXES or (not suffix and str(asset.media_type).startswith(_MEDIA_TYPES))


def _has_role(asset: pystac.Asset, roles: set[str]) -> bool:
    own: Any = asset.roles
    return isinstance(own, list) and any(role in roles for role in own if isinstance(role, str))


def _find_band_name(entry: Mapping[str, Any], key: str, requested: Sequence[str], *, single: bool) -> str:
    """Name of a band: the first known one of its name, the key of its asset and its common name, else its name."""
    given = [str(entry.get("name", "")), *([key.removesuffix("-jp2")] if single else [])]
    common = str(entry.get("eo:common_name", entry.get("common_name", "")))
    for text in (*given, common):
        if text in requested:
            return text
        known = naming.find_band(text, requested) or _find_common_name(text, requested)
        if known:
            return known
    return given[0] or (given[-1] if single else "")


def _find_common_name(text: str, requested: Sequence[str]) -> str | None:
    known = _COMMON_NAMES.get(text.lower())
    return known and naming.match_requested(known, requested)


def _declared_item_offset(
    properties: Mapping[str, Any], entry: Mapping[str, Any], band: str, dtype: str
) -> Offset | None:
    """Radiometric offset declared by an item; None if it declares nothing.

    Earth Search says in a property that the offset is subtracted already, and leaves it in `raster:bands`.
    """
    if is_mask(band):
        return Offset()
    if any(properties.get(f"{prefix}:boa_offset_applied") is True for prefix in ("earthsearch", "sentinel")):
        return Offset()
    scale, offset = (entry.get(f"raster:{key}", entry.get(key)) for key in ("scale", "offset"))
    declared = None if offset is None else declared_offset(scale, offset)
    if declared:
        return Offset(declared, "scale and offset of the STAC asset")
    baseline = parse_baseline(properties.get("s2:processing_baseline", properties.get("processing:version", "")))
    known = naming.sentinel2_band(naming.standard_name(band))
    if baseline >= 0 and declared is None and known and is_digital(dtype):
        return baseline_offset(baseline, "the STAC item")
    return None if declared is None else Offset()


def _declared_nodata(entry: Mapping[str, Any], file: Path) -> float | None:
    value = entry.get("nodata", 0 if naming.is_esa_name(file) else None)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _find_tile(properties: Mapping[str, Any]) -> str:
    parts = [str(properties.get(f"mgrs:{part}") or "") for part in ("utm_zone", "latitude_band", "grid_square")]
    joined = f"{parts[0]:0>2}{parts[1]}{parts[2]}" if all(parts) else ""
    texts = (properties.get("s2:mgrs_tile"), str(properties.get("grid:code", "")).removeprefix("MGRS-"), joined)
    return naming.find_mgrs_tile(f"T{str(text).removeprefix('T')}" for text in texts if text)


def _find_file(href: str, path: Path) -> Path | None:
    """File on local disk that an href points to; None if there is none.

    Joined as paths, not as URLs: folder names may contain '#', '?' and '%'.
    """
    text = href.removeprefix("file://")
    try:
        return next((file for each in (text, unquote(text)) if (file := path.parent / each).is_file()), None)
    except OSError:  # a name that is too long
        return None


def _dict(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _dicts(value: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = value.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
