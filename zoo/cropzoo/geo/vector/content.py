"""Checks of vector files before GDAL opens them: the content must be what the name says, and lead nowhere else."""

from __future__ import annotations

import json
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pyogrio

from cropzoo.errors import CropzooError, find_open_limit_error
from cropzoo.geo.local import GDAL_SETTINGS, HEAD_BYTES, leads_elsewhere

_BINARY = {
    ".shp": b"\0\0\x27\x0a",
    ".gpkg": b"SQLite format 3\0",
    ".sqlite": b"SQLite format 3\0",
    ".fgb": b"fgb",
    ".kmz": b"PK",
    ".xlsx": b"PK",
    ".ods": b"PK",
}
_JSON = (".geojson", ".json", ".geojsonl", ".geojsons", ".jsonl", ".ndjson", ".topojson")
_TEXT = (".gml", ".kml", ".gpx", ".csv", ".tab", ".mif", ".dxf", ".gmt", ".txt")

SUFFIXES = (*_BINARY, *_JSON, *_TEXT)
"""Suffixes of vector files that GDAL reads."""

_JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?[\s\x1e]*(?:(?:loadGeoJSON|jsonp)\()?\s*[{\[]")
"""Start of a file that GDAL reads as JSON, whatever its suffix."""

_MAX_ARCHIVED = 1 << 28
"""Largest text in an archive; it is decompressed in memory."""

_CRS_KEY = re.compile(rb"crs[\"']\s*[:/]", re.IGNORECASE)
_PLAIN_CRS = re.compile(
    rb"\s*(?:null|\"[^\"\\]*\"|[0-9]+|\{\s*\"type\"\s*:\s*\"name\"\s*,\s*"
    rb"\"properties\"\s*:\s*\{\s*\"name\"\s*:\s*(?:null|\"[^\"\\]*\")\s*\}\s*\})\s*[,}]"
)
"""Usual values of a CRS in GeoJSON: a name, or an attribute of that name."""

_ESCAPED_LETTER = re.compile(rb"\\u00(?:4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])", re.IGNORECASE)


def check_vector(path: Path, inner: str, what: str) -> None:
    """Check the content of a vector file or of a file in an archive.

    Args:
        path: Path of a file, folder or archive.
        inner: Name of the file in the archive; empty if the path is no archive.
        what: Content of the file, for messages.

    Raises:
        CropzooError: The format is unknown, the content is not what the suffix says, or it leads to the network.
    """
    subject = f"{what} {str(path)!r}"
    suffix = PurePosixPath(inner or path.name).suffix.lower()
    if suffix == ".gdb" or (path.is_dir() and not inner):
        return
    if suffix not in SUFFIXES:
        raise CropzooError(
            f"{subject}; files with the suffix {suffix!r} are not read as vector data; write it as a GeoPackage, "
            "GeoJSON or shapefile"
        )
    with _open_content(path, inner, subject, suffix) as content:
        head = content[:HEAD_BYTES]
        if suffix in _BINARY and not head.startswith(_BINARY[suffix]):
            raise CropzooError(
                f"{subject}; the file cannot be read as vector data, because its content is not that of a {suffix} "
                "file; copy it again, or write it as a GeoPackage, GeoJSON or shapefile"
            )
        if suffix not in _BINARY and leads_elsewhere(head):
            raise CropzooError(f"{subject}; it describes other data instead of containing features; pass those data")
        if suffix in _TEXT and _JSON_START.match(head):
            raise CropzooError(f"{subject}; its content is that of a JSON file; rename it so that it ends in .geojson")
        if suffix in _JSON:
            _check_crs_links(content, subject)


def _check_crs_links(content: Any, subject: str) -> None:
    """Refuse a CRS by its address, which GDAL would open."""
    keys = _CRS_KEY.finditer(content)
    if all(content[key.end() - 1 : key.end()] == b":" and _PLAIN_CRS.match(content, key.end()) for key in keys) and (
        content.find(b"\\u00") < 0 or not _ESCAPED_LETTER.search(content)
    ):
        return

    def check(pairs: list[tuple[str, Any]]) -> Any:
        for key, value in pairs:
            if key.lower() == "crs" and isinstance(value, _Address):
                raise CropzooError(
                    f"{subject}; its CRS is given by an address, which is not opened; give it by name, such as "
                    '{"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}'
                )
        kinds = [str(value).lower() for key, value in pairs if key.lower() == "type"]
        return _Address() if any(kind.startswith(("link", "url")) for kind in kinds) else {}

    try:
        if _is_sequence(content):
            for text in re.split(rb"[\n\x1e]", content[:]):
                if text.strip():
                    json.loads(text, object_pairs_hook=check)
        else:
            json.loads(content[:], object_pairs_hook=check)
    except (ValueError, RecursionError) as error:
        raise CropzooError(
            f"{subject}; the file cannot be read as vector data ({error}); it is not valid JSON"
        ) from None


class _Address:
    """Object of a JSON text whose type says that it is an address."""


def _is_sequence(content: Any) -> bool:
    """Whether every line is a JSON text of its own."""
    first = content[:HEAD_BYTES].lstrip(b"\x1e \r\n").partition(b"\n")
    return bool(first[2].strip()) and first[0].rstrip().endswith(b"}") and first[2].lstrip(b"\x1e \r\n")[:1] == b"{"


@contextmanager
def reading_parts(subject: str) -> Iterator[None]:
    """Turn failures of reading a file, or a part of an archive, into errors.

    Raises:
        CropzooError: The file or archive cannot be read.
    """
    try:
        yield
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, LookupError, struct.error) as error:
        if too_many := find_open_limit_error(error):
            raise too_many from error
        raise CropzooError(f"{subject}; the file cannot be read ({error}); copy or download it again") from error


@contextmanager
def _open_content(path: Path, inner: str, subject: str, suffix: str) -> Iterator[Any]:
    """Bytes of a file, mapped, or of a text in an archive; only the start of other files in archives."""
    with reading_parts(subject):
        if inner:
            with zipfile.ZipFile(path) as archive, archive.open(inner) as member:
                content = member.read(_MAX_ARCHIVED + 1 if suffix in _JSON else HEAD_BYTES)
            if len(content) > _MAX_ARCHIVED:
                raise CropzooError(
                    f"{subject}; {inner!r} in it is larger than {_MAX_ARCHIVED >> 20} MiB; extract it and pass the file"
                )
            yield content
            return
        with path.open("rb") as file:
            yield mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.read(1) else b""


@contextmanager
def without_network() -> Iterator[None]:
    """GDAL of pyogrio without network; its settings are restored afterwards."""
    before = {name: pyogrio.get_gdal_config_option(name) for name in GDAL_SETTINGS}
    pyogrio.set_gdal_config_options(GDAL_SETTINGS)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)
