"""Checks of rasters before GDAL opens them: virtual rasters name other files, and these may be on the network."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.parsers import expat

import rasterio
from rasterio.errors import RasterioError

from cropzoo.errors import CropzooError
from cropzoo.geo.local import GDAL_SETTINGS, HEAD_BYTES, NETWORK_DRIVERS, leads_elsewhere

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

_SIDECARS = (".ovr", ".msk")
"""Ends of the names of files next to a raster that GDAL opens with it; case is ignored."""

_OVERVIEWS = (*_TIFF, b"EHFA_HEADER_TAG")
"""First bytes of files of overviews and masks."""

_FILE_NAMES = ("sourcefilename", "sourcedataset", "cutlinedsname", "srcdsname", "sourcedsname", "overviewfile")


def check_raster(path: Path) -> None:
    """Check that a raster and all sources of a virtual raster, and of those among them that are virtual, are local.

    Raises:
        CropzooError: The file is not a valid virtual raster, a source is not a raster file on this disk, or a file
            without a suffix of rasters is a text that may lead elsewhere; or a file of overviews or a mask next to a
            raster is none.
    """
    _check_sidecars(path)
    if path.suffix.lower() == ".vrt":
        _check_virtual(path, path, set())
    elif raster_driver(path) is None:
        with path.open("rb") as file:
            if _is_text(file.read(HEAD_BYTES)):
                raise _refuse(path, "it is a text and not a raster")


def check_overviews(source: Any, path: Path) -> None:
    """Check that an open raster names no file of overviews, in its own metadata or those next to it.

    GDAL opens that file with any driver when it reads the raster.

    Raises:
        CropzooError: It names one.
    """
    if source.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
        raise CropzooError(
            f"raster {str(path)!r}; its metadata name a file of overviews (OVERVIEW_FILE), which is not opened; copy "
            "the file without the .aux.xml next to it (gdal_translate)"
        )


def raster_driver(path: Path) -> str | None:
    """Name of the driver that opens a raster, by its suffix; None if any driver may."""
    return _RASTER_DRIVERS.get(path.suffix.lower())


def _check_sidecars(path: Path) -> None:
    """Check the files of overviews and masks next to a raster, which GDAL opens with any driver.

    Raises:
        CropzooError: One has another content.
    """
    folder = path.absolute().parent
    for name in _list_sidecars(folder, folder.stat().st_mtime_ns).get(path.name.lower(), ()):
        with (folder / name).open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head and not head.startswith(_OVERVIEWS):
            raise CropzooError(
                f"image {str(path)!r}; {name!r} next to it is not a file of overviews or a mask; remove it, or make it "
                "again with gdaladdo"
            )


@lru_cache(maxsize=64)
def _list_sidecars(folder: Path, _changed: int) -> dict[str, list[str]]:
    """Names of the files of overviews and masks in a folder, those of masks too, by raster in lower case."""
    found: dict[str, list[str]] = {}
    for name in os.listdir(folder):
        base = name.lower()
        while suffix := next((each for each in _SIDECARS if base.endswith(each)), ""):
            base = base.removesuffix(suffix)
        if base != name.lower():
            found.setdefault(base, []).append(name)
    return found


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
        if source.is_file():
            _check_sidecars(source)
        if suffix == ".vrt" and source.is_file():
            _check_virtual(source, named, seen)
        elif suffix not in (*_MAGIC, *_OTHER_SOURCES) or not source.is_file():
            raise _refuse(named, f"its source {text[:100]!r} is not a raster file")
        elif source.resolve() not in seen:
            seen.add(source.resolve())
            with source.open("rb") as file:
                head = file.read(HEAD_BYTES)
            if not head.startswith(_MAGIC.get(suffix, (b"",))) or _is_text(head):
                raise _refuse(named, f"its source {text[:100]!r} is not a file of the kind that its name says")
        else:
            return
        with ExitStack() as stack, suppress(RasterioError):
            stack.enter_context(rasterio.Env(**GDAL_SETTINGS))
            check_overviews(stack.enter_context(rasterio.open(source, driver=raster_driver(source))), source)
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
