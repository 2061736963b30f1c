"""Assembling of chunks to Cloud-Optimized GeoTIFFs, window by window; files are verified, then renamed."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window as RasterWindow

from cropzoo.data.classified_map import (
    CLASS,
    NODATA,
    PROBABILITIES,
    SCALE,
    band_count,
    class_tags,
    color_table,
    sidecar_paths,
    target_paths,
)
from cropzoo.data.mapped_areas import AreaCounter
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import RASTER_FAILURES, Grid, Window
from cropzoo.inference.mapping.manifest import ManifestChunk, MapManifest
from cropzoo.inference.mapping.outputs import PLAN_TAG
from cropzoo.inference.mapping.partials import ChunkStore
from cropzoo.inference.mapping.sidecars import format_attributes, format_style
from cropzoo.io import ProgressCallback, atomic_write, write_text


@contextmanager
def write_errors(path: Path, out: Path) -> Iterator[None]:
    """Turn GDAL's failures into one error, also those that it only logs, such as a full disk when a file is closed.

    Args:
        path: Path of the file that is written.
        out: Path of its class map, the argument of `cropzoo mosaic`.

    Raises:
        CropzooError: Writing failed.
    """
    errors = _ErrorLog()
    try:
        with errors:
            yield
    except (*RASTER_FAILURES, OSError) as error:
        raise _write_error(path, out, errors.first or _root_cause(error)) from error
    if errors.first:
        raise _write_error(path, out, errors.first)


def _root_cause(error: BaseException) -> str:
    """The message of the first error in a chain; rasterio's own message only refers to it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _write_error(path: Path, out: Path, reason: str) -> CropzooError:
    free = shutil.disk_usage(path.parent).free
    return CropzooError(
        f"cannot write {str(path)!r}; writing failed, perhaps because the disk is full ({reason}; {free / 1e9:.2f} GB "
        "are free); existing files are unchanged and the finished chunks are kept; free some space, then run "
        f"`cropzoo mosaic {shlex.quote(str(out))}`"
    )


class _ErrorLog(logging.Filter):
    """Context manager that hides the errors that GDAL logs and keeps the first.

    GDAL writes tiles when its cache is full or the file is closed; a disk that is full at that time is only logged.
    """

    _LOGGER = "rasterio._env"

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            return True
        self.first = self.first or record.getMessage()
        return False

    def __enter__(self) -> _ErrorLog:
        logging.getLogger(self._LOGGER).addFilter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger(self._LOGGER).removeFilter(self)


BLOCK = 512
"""Side of a file's tiles in pixels."""

_WINDOW_BYTES = 16 << 20
"""Bytes of a map in memory at a time."""

_CACHE_BYTES = 64 << 20
"""GDAL's cache; its default is 5 % of the machine's memory."""

_SETTINGS = {"GDAL_PAM_ENABLED": False, "SPARSE_OK_OVERVIEW": True, "GDAL_TIFF_OVR_BLOCKSIZE": BLOCK}


def assemble_map(
    manifest: MapManifest, parts: ChunkStore, out: Path, advance: ProgressCallback | None = None
) -> dict[str, Path]:
    """Write the files of a map from its finished chunks; nodata where chunks are missing.

    Where chunks overlap, a pixel is that of the first chunk with data there. Memory holds one window of the map,
    independent of its size. Files are renamed to their final names when all are complete and verified by reading.

    Args:
        manifest: Manifest of the map.
        parts: Finished chunks; the folder also holds incomplete files.
        out: Path of the class map; `target_paths` names the other outputs.
        advance: Called with (windows done, total).

    Returns:
        Path of each output, and of the attribute table and the style next to the class map.

    Raises:
        CropzooError: A chunk is damaged, or writing failed and existing files are unchanged.
    """
    paths, classes, grid = target_paths(out, manifest.outputs), manifest.classes, manifest.grid
    windows = {
        name: list(_windows(grid.height, grid.width, band_count(name, len(classes)))) for name in manifest.outputs
    }
    total, done = 2 * sum(map(len, windows.values())), 0
    counter = AreaCounter(grid, len(classes))

    def step() -> None:
        nonlocal done
        done += 1
        if advance is not None:
            advance(done, total)

    with _scratch_folder(parts.folder) as folder:
        for name in manifest.outputs:
            # One output after another, so that the disk holds only one uncompressed file.
            profile = _profile(grid, band_count(name, len(classes)))
            cache = _CACHE_BYTES + 2 * profile["count"] * BLOCK * BLOCK
            with write_errors(paths[name], out), rasterio.Env(GDAL_CACHEMAX=cache, **_SETTINGS):
                raw = folder / f"{name}.raw.tif"
                with rasterio.open(raw, "w", **profile) as target:
                    _describe(target, name, classes, {**manifest.tags, PLAN_TAG: manifest.digest})
                    sums = []
                    for window in windows[name]:
                        values = _write_window(target, manifest, parts, name, window)
                        sums.append(zlib.crc32(values.data))
                        if name == CLASS:
                            counter.add(values[0], window.row)
                        step()
                _convert(raw, folder / f"{name}.tif", name)
                raw.unlink()
                _verify(folder / f"{name}.tif", windows[name], sums, step)
        for name, path in paths.items():
            described = sidecar_paths(path)
            _move(folder / f"{name}.tif", path, described.values() if name == CLASS else [described["attributes"]])
    if CLASS not in paths:
        return paths
    sidecars = sidecar_paths(out)
    write_text(sidecars["attributes"], format_attributes(classes, counter.result()))
    write_text(sidecars["style"], format_style(classes))
    return paths | sidecars


def _windows(height: int, width: int, bands: int) -> Iterator[Window]:
    """Windows of complete file tiles that cover a map, each of at most `_WINDOW_BYTES` or one tile."""
    side = BLOCK * max(1, int((_WINDOW_BYTES / bands) ** 0.5) // BLOCK)
    for row in range(0, height, side):
        for column in range(0, width, side):
            yield Window(row, column, min(side, height - row), min(side, width - column))


@contextmanager
def _scratch_folder(parts: Path) -> Iterator[Path]:
    """A folder for incomplete files among the chunks; one left by a killed process is removed with them."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".assembling-", dir=parts))
    except OSError as error:
        raise CropzooError(f"cannot write in {str(parts)!r}; {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _profile(grid: Grid, bands: int) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": bands,
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        # Interleaved by band, with overviews built here: for 20 bands the COG driver's own overviews take 20 times as
        # long and three times the memory, because it decodes all bands for each.
        "interleave": "band",
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "if_safer",
        "sparse_ok": True,  # large maps have large areas without data
    }


def _describe(target: Any, name: str, classes: Sequence[LabelClass], tags: Mapping[str, str]) -> None:
    target.update_tags(**class_tags(classes), **tags, CROPZOO_OUTPUT=name)
    if name == CLASS:
        target.write_colormap(1, color_table(classes))
        target.set_band_description(1, name)
        return
    target.scales = [SCALE] * target.count
    target.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * (target.count - 1)]
    for number in range(1, target.count + 1):
        target.set_band_description(number, classes[number - 1].name if name == PROBABILITIES else name)


def _write_window(
    target: Any, manifest: MapManifest, parts: ChunkStore, name: str, window: Window
) -> NDArray[np.uint8]:
    """Write a window of an output; returns its values, (bands, h, w)."""
    values = np.full((target.count, window.height, window.width), NODATA, np.uint8)
    for chunk in _overlapping(manifest.chunks, window):
        if parts.has(chunk.number):
            _paint(values, window, parts, chunk, name)
    if (values != NODATA).any():
        target.write(values, window=_as_rasterio(window))
    return values


def _overlapping(chunks: Sequence[ManifestChunk], window: Window) -> Iterator[ManifestChunk]:
    for chunk in chunks:
        row, column, height, width = chunk.map_window
        if (
            row < window.row + window.height
            and window.row < row + height
            and column < window.column + window.width
            and window.column < column + width
        ):
            yield chunk


def _paint(values: NDArray[np.uint8], window: Window, parts: ChunkStore, chunk: ManifestChunk, name: str) -> None:
    """Copy a chunk to a window where no earlier chunk has data."""
    row, column, height, width = chunk.map_window
    part = parts.load(chunk.number, {name: (len(values), height, width)})[name]
    top, left = max(row, window.row), max(column, window.column)
    bottom, right = min(row + height, window.row + window.height), min(column + width, window.column + window.width)
    target = values[:, top - window.row : bottom - window.row, left - window.column : right - window.column]
    np.copyto(target, part[:, top - row : bottom - row, left - column : right - column], where=target == NODATA)


def _convert(raw: Path, target: Path, name: str) -> None:
    resampling = Resampling.mode if name == CLASS else Resampling.average
    with rasterio.open(raw, "r+") as source:
        longest = max(source.height, source.width)
        factors = [2**level for level in range(1, 32) if longest > BLOCK * 2 ** (level - 1)]
        if factors:
            source.build_overviews(factors, resampling)
    # One thread, so that the order of tiles and the bytes of the file do not depend on the machine.
    rasterio.shutil.copy(
        raw,
        target,
        driver="COG",
        blocksize=BLOCK,
        compress="deflate",
        bigtiff="if_safer",
        overviews="force_use_existing" if factors else "none",
        num_threads=1,
    )


def _verify(path: Path, windows: Sequence[Window], sums: Sequence[int], step: Callable[[], None]) -> None:
    """Raise unless a file reads as it was written; GDAL does not report that closing a file failed."""
    with rasterio.open(path) as source:
        for window, expected in zip(windows, sums, strict=True):
            if zlib.crc32(source.read(window=_as_rasterio(window)).data) != expected:
                raise OSError("the file does not read as it was written")
            step()


def _move(scratch: Path, path: Path, sidecars: Iterable[Path]) -> None:
    """Rename a complete file; files that describe an older map of that name are removed first."""
    with atomic_write(path) as target:
        os.replace(scratch, target)
        for sidecar in sidecars:
            sidecar.unlink(missing_ok=True)


def _as_rasterio(window: Window) -> RasterWindow:
    return RasterWindow(window.column, window.row, window.width, window.height)
