"""Where the files of a map go, and whether they may."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cropzoo.errors import CropzooError, UsageError
from cropzoo.images.rasters import open_raster
from cropzoo.mapping.outputs import CLASS

PLAN_TAG = "CROPZOO_PLAN"
"""Holds the digest of the plan that a map was made by."""


def target_paths(out: Path, outputs: Sequence[str]) -> dict[str, Path]:
    """The file of each output: the class map is `out` itself, "map_confidence.tif" lies beside "map.tif".

    Raises:
        UsageError: other programs would not know the file as a GeoTIFF by its name.
    """
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"--out {str(out)!r}; the map is a GeoTIFF, so its name must end in .tif")
    return {name: out if name == CLASS else out.with_name(f"{out.stem}_{name}{out.suffix}") for name in outputs}


def check_targets(paths: Mapping[str, Path], *, overwrite: bool = False, digest: str = "") -> None:
    """Nothing, if files can be written.

    Args:
        paths: of each output.
        overwrite: files that are there may be replaced.
        digest: of the plan; a file that it made may be replaced, since assembling was interrupted between two files.

    Raises:
        CropzooError: a file is there, or a folder where a file should be.
    """
    for path in paths.values():
        if path.is_dir():
            raise CropzooError(f"--out {str(path)!r}; it is a folder; name a file, such as {str(path / 'map.tif')!r}")
        if path.exists() and not overwrite and not (digest and plan_of(path) == digest):
            what = "exists already" + (", made otherwise or by other means" if digest else "")
            raise CropzooError(f"--out {str(path)!r}; it {what}; --overwrite replaces it, or name another file")


def finished(paths: Iterable[Path], digest: str) -> bool:
    """Whether all files of a map are there and made by this plan."""
    return all(path.is_file() and plan_of(path) == digest for path in paths)


def plan_of(path: Path) -> str:
    """The digest of the plan that a map was made by; empty for anything else."""
    try:
        with open_raster(path) as source:
            return str(source.tags().get(PLAN_TAG, ""))
    except CropzooError:
        return ""
