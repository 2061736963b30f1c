"""From patterns to files: globs, folders, products, and item collections."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cropzoo.errors import CropzooError
from cropzoo.images.names import NO_BANDS, RASTER_SUFFIXES, SCL, band_in, is_structure

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
        refuse_remote(str(pattern), f"images {str(pattern)!r}")
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


def refuse_remote(address: str, what: str) -> None:
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
    band = band_in(stem, ())
    return band not in NO_BANDS or band in asked or band == SCL
