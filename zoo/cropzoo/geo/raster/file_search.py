"""Searching image files: from paths, folders and glob patterns to rasters and STAC files on local disk."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.naming import RASTER_SUFFIXES, find_band, is_structure
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo.geo.raster.quality import find_layer

_MAX_NAME = 255
"""Longest name of a file or folder, in bytes, on the usual file systems."""

_STAC_SUFFIXES = (".json", ".geojson")
_SKIPPED_FOLDERS = ("QI_DATA", "AUX_DATA", "HTML", "rep_info")
"""Folders of a Sentinel-2 product whose rasters are not bands: quality masks and previews."""

_REMOTE = re.compile(r"(?!file:)[a-z][a-z0-9+.]+:/|/+vsi", re.IGNORECASE)


@dataclass(frozen=True)
class ImageFile:
    """Raster that may be an image.

    Args:
        path: Path of the file.
        folders: Names of the folders that may contain its date, nearest first.
    """

    path: Path
    folders: tuple[str, ...]


def find_files(
    patterns: Sequence[str | Path], bands: Sequence[str] = (), notes: ImageNotes | None = None
) -> tuple[list[ImageFile], list[Path]]:
    """Rasters and STAC files that match patterns, each once, sorted by path.

    Args:
        patterns: Paths, globs (including `**` and `~`) or folders (searched recursively).
        bands: Band names given by the user; AOT, WVP and other auxiliary rasters are skipped unless they are listed.
        notes: Where files that are left out are added.

    Raises:
        CropzooError: A pattern that matches no image, or a file on the network.
    """
    rasters: dict[Path, ImageFile] = {}
    stac_files: dict[Path, None] = {}
    for pattern in patterns:
        check_local(str(pattern), f"images {str(pattern)!r}")
        text = os.path.expanduser(str(pattern))
        if any(len(os.fsencode(part)) > _MAX_NAME for part in Path(text).parts):
            raise CropzooError(
                f"images {text[:100]!r}...; a name in it is longer than {_MAX_NAME} bytes; check the path"
            )
        if Path(text).suffix.lower() in _STAC_SUFFIXES:
            found = [Path(name) for name in _expand(text)]
            stac_files.update(dict.fromkeys(path.resolve() for path in found))
        else:
            root = _fixed_part(text)
            listed = [path for name in _expand(text) for path in _list_rasters(Path(name))]
            found = [path for path in listed if _is_image(path, bands, notes)]
            for path in found:
                rasters.setdefault(path.resolve(), ImageFile(path, find_date_folders(path, root)))
        if not found:
            raise CropzooError(
                f"images {str(pattern)!r}; no image ({', '.join(RASTER_SUFFIXES)}) was found; check the path, "
                "quote the pattern, unpack archives, and keep labels and masks in other folders"
            )
    return sorted(rasters.values(), key=lambda file: file.path), sorted(stac_files)


def check_local(address: str, subject: str) -> None:
    """Check that an address is on local disk; images are never read over the network.

    Args:
        address: Path or URL.
        subject: Start of the error message: what was requested.

    Raises:
        CropzooError: The address is on the network.
    """
    if _REMOTE.match(address):
        raise CropzooError(
            f"{subject}; {address!r} is not on this disk; download the images first and pass their paths"
        )


def find_date_folders(path: Path, root: Path) -> tuple[str, ...]:
    """Names of the folders of a file that may contain its date, nearest first.

    These are the folders below `root`, and at least up to the first one that is not part of a product. Farther up, a
    date is that of a download or a project, not of an image.
    """
    names: list[str] = []
    for parent in path.absolute().parents:
        named = any(not is_structure(name) for name in names)
        if named and root.absolute() not in parent.parents:
            break
        names.append(parent.name)
    return tuple(names)


def _expand(text: str) -> list[str]:
    """Matches of a glob; an existing path is taken literally, even if it contains brackets."""
    return [text] if os.path.lexists(text) else sorted(glob.glob(text, recursive=True))


def _fixed_part(text: str) -> Path:
    """Deepest folder of a pattern without wildcards."""
    path = Path(text)
    if path.is_dir():
        return path
    if path.exists():
        return path.parent
    while glob.has_magic(str(path)):
        path = path.parent
    return path


def _list_rasters(path: Path) -> list[Path]:
    """The path itself if it is a raster, or the rasters in and below it if it is a folder."""
    if not path.is_dir():
        return [path] if path.suffix.lower() in RASTER_SUFFIXES else []
    found = []
    for folder, below, files in os.walk(path):
        below[:] = sorted(name for name in below if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        found += [Path(folder, name) for name in files if Path(name).suffix.lower() in RASTER_SUFFIXES]
    return found


def _is_image(path: Path, bands: Sequence[str], notes: ImageNotes | None) -> bool:
    """Whether the name of a raster allows an image: no label raster, no quality mask, no preview."""
    stem = path.stem
    if stem.startswith(".") or stem.lower() == "labels" or {*path.parts[-3:-1]} & {*_SKIPPED_FOLDERS}:
        return False
    band = find_band(stem, bands)
    layer = None if band is None or band in bands else find_layer(band)
    if layer is None or not (layer.own_file or stem.startswith("MSK_")):
        return not stem.startswith("MSK_")
    if notes is not None:
        notes.add_left_out(path, layer.name)
    return False
