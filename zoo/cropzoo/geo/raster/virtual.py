"""Checks of rasters before GDAL opens them: virtual rasters name other files, and these may be on the network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from cropzoo.errors import CropzooError
from cropzoo.geo.local import HEAD_BYTES, NETWORK_DRIVERS, leads_elsewhere

_RASTER_DRIVERS = {".tif": "GTiff", ".tiff": "GTiff", ".jp2": "JP2OpenJPEG", ".vrt": "VRT"}
_OTHER_SOURCES = (".img", ".nc", ".hdf", ".h5", ".png", ".jpg", ".bin", ".dat", ".bil", ".raw", ".envi", "")

MAX_SIDE = 1 << 24
"""Longest side of a raster in pixels; the globe has four million of 10 m."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAGIC = {".tif": _TIFF, ".tiff": _TIFF, ".jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")}
_MAX_VRT_BYTES = 1 << 26
_MAX_SOURCES = 100_000
_REMOTE = re.compile(rf"(?i)/vsi(?!zip/|gzip/|tar/)|[a-z0-9+.-]{{2,}}:/|^\s*(?:{'|'.join(NETWORK_DRIVERS)}|PG|VRT):")
_REMOTE_SRS = re.compile(r"(?i)\s*[a-z0-9+.-]{2,}:/")
_SUBDATASET = re.compile(r"(?i)(?:netcdf|hdf[45]\w*|sentinel2_l\w+|gtiff_dir):(?!.*(?:/vsi|://))")
"""Address of a part of a local file; GDAL opens it with the driver that the prefix names."""

_NOT_READ = ("metadata", "description", "categorynames", "histograms", "gcplist", "colortable")
"""Elements of a virtual raster whose texts GDAL never opens; metadata often have links."""

_FILE_NAMES = ("sourcefilename", "sourcedataset", "cutlinedsname", "srcdsname", "sourcedsname", "overviewfile")


def check_raster(path: Path) -> None:
    """Check that a raster and all sources of a virtual raster, and of those among them that are virtual, are local.

    Raises:
        CropzooError: The file is not a valid virtual raster, a source is not a raster file on this disk, or a file
            without a suffix of rasters is a text that may lead elsewhere.
    """
    if path.suffix.lower() == ".vrt":
        _check_virtual(path, path, set())
    elif raster_driver(path) is None:
        with path.open("rb") as file:
            if _is_text(file.read(HEAD_BYTES)):
                raise _refuse(path, "it is a text and not a raster")


def raster_driver(path: Path) -> str | None:
    """Name of the driver that opens a raster, by its suffix; None if any driver may."""
    return _RASTER_DRIVERS.get(path.suffix.lower())


def _check_virtual(path: Path, named: Path, seen: set[Path]) -> None:
    """Check all sources of a virtual raster; `named` is the one that the user named, for messages."""
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_VRT_BYTES + 1)
    except OSError as error:
        raise _refuse(named, f"{str(path)!r} cannot be read ({error.strerror})") from error
    if len(content) > _MAX_VRT_BYTES:
        raise _refuse(named, f"the virtual raster is larger than {_MAX_VRT_BYTES >> 20} MiB")
    for name, text, relative in _read_texts(content, named):
        remote = _REMOTE_SRS.match(text) if name.endswith("srs") else _REMOTE.search(text.removeprefix("file://"))
        if remote and not _SUBDATASET.match(text):
            raise _refuse(named, f"it reads {text[:100]!r}, which is not on this disk")
        if name in _FILE_NAMES:
            _check_source(text.strip(), path, named, seen, relative)
        if len(seen) > _MAX_SOURCES:
            raise _refuse(named, f"it has more than {_MAX_SOURCES} sources")


def _check_source(text: str, path: Path, named: Path, seen: set[Path], relative: bool) -> None:
    if text.startswith("/vsi") or _SUBDATASET.match(text):
        return  # in an archive or file on this disk: others are refused before
    try:
        source = (path.parent / text) if relative else Path(text)
        suffix = source.suffix.lower()
        if suffix == ".vrt" and source.is_file():
            return _check_virtual(source, named, seen)
        if suffix not in (*_MAGIC, *_OTHER_SOURCES) or not source.is_file():
            raise _refuse(named, f"its source {text[:100]!r} is not a raster file")
        if source.resolve() not in seen:
            seen.add(source.resolve())
            with source.open("rb") as file:
                head = file.read(HEAD_BYTES)
            if not head.startswith(_MAGIC.get(suffix, (b"",))) or _is_text(head):
                raise _refuse(named, f"its source {text[:100]!r} is not a file of the kind that its name says")
    except (OSError, ValueError) as error:
        raise _refuse(named, f"its source {text[:100]!r} cannot be read ({error})") from error


@dataclass
class _Element:
    """Element that is being read."""

    name: str
    is_relative: bool
    parts: list[str] = field(default_factory=list)
    is_one_text: bool = True


def _is_text(head: bytes) -> bool:
    """Whether a file starts as XML or JSON, or describes a web service or virtual file."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"<", b"{", b"[") or leads_elsewhere(head)


def _read_texts(content: bytes, named: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield name, text and whether the name is relative of all elements and attributes that GDAL may open.

    GDAL compares names without case and takes attributes for elements. Character references are decoded; a document
    type, which may define entities, is refused.
    """
    found: list[tuple[str, str, bool]] = []
    stack: list[_Element] = []
    skipped = 0

    def refuse_document_type(*_: object) -> None:
        raise _refuse(named, "a virtual raster has no document type")

    def interrupt(*_: object) -> None:
        if stack:
            stack[-1].is_one_text = False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal skipped
        interrupt()
        lowered = {key.lower(): value for key, value in attributes.items()}
        relative = lowered.pop("relativetovrt", "0")
        if relative not in ("0", "1") or name.lower() == "relativetovrt":
            raise _refuse(named, f"relativeToVRT is {relative[:20]!r}, not 0 or 1")
        stack.append(_Element(name.lower(), relative == "1"))
        opens = lowered.get("domain", "").lower().startswith(("geolocation", "overviews", "xml:"))
        skipped += stack[-1].name in _NOT_READ and not opens
        if not skipped:
            found.extend((key, value, False) for key, value in lowered.items())

    def end(_: str) -> None:
        nonlocal skipped
        element = stack.pop()
        text = "".join(element.parts)
        if skipped:
            skipped -= element.name in _NOT_READ
        elif element.name in _FILE_NAMES and not element.is_one_text:
            raise _refuse(named, f"the file name {text[:100]!r} is not one text")
        elif text.strip():
            found.append((element.name, text, element.is_relative))

    def add(text: str) -> None:
        if stack:
            stack[-1].parts.append(text)

    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse_document_type
    parser.CommentHandler = parser.ProcessingInstructionHandler = parser.StartCdataSectionHandler = interrupt
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, add
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError) as error:
        raise _refuse(named, f"it is not valid XML ({error})") from error
    yield from found


def _refuse(path: Path, problem: str) -> CropzooError:
    return CropzooError(
        f"image {str(path)!r}; {problem}; build the virtual raster from raster files on this disk (gdalbuildvrt), "
        "or pass those files"
    )
