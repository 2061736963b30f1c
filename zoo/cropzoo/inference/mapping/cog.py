"""The parts of a map as Cloud-Optimized GeoTIFFs, written window by window and renamed when they are whole."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what GDAL's errors in copying and overviews are raised as
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Window
from cropzoo.inference.mapping.manifest import Placed, Planned
from cropzoo.inference.mapping.map_file import category_names, class_tags, color_table
from cropzoo.inference.mapping.outputs import CLASS, NODATA, PLAN_TAG, PROBABILITIES, SCALE, bands_of, target_paths
from cropzoo.inference.mapping.partials import Parts
from cropzoo.io import ProgressCallback, atomic_write, write_text


@contextmanager
def writing(path: Path, out: Path) -> Iterator[None]:
    """Whatever GDAL fails at becomes one error, also what it only logs, such as a disk that is full at the end.

    Args:
        path: that is written.
        out: the class map that it belongs to, by which `cropzoo mosaic` knows both.
    """
    errors = _Logged()
    try:
        with errors:
            yield
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise _unwritten(path, out, errors.first or _reason(error)) from error
    if errors.first:
        raise _unwritten(path, out, errors.first)


def _reason(error: BaseException) -> str:
    """What the deepest of the errors that led to one says; rasterio's own only points there."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _unwritten(path: Path, out: Path, reason: str) -> CropzooError:
    free = shutil.disk_usage(path.parent).free
    return CropzooError(
        f"cannot write {str(path)!r}; writing failed as it does on a full disk ({reason}; {free / 1e9:.2f} GB are free "
        "there); nothing that stood there was changed, and the parts are kept: make room, then "
        f"`cropzoo mosaic {shlex.quote(str(out))}`"
    )


class _Logged(logging.Filter):
    """While it is entered, keeps what GDAL logs as errors from the screen and remembers the first.

    GDAL writes a tile when its cache is full or the file is closed; if the disk is full then, a log line is all there
    is.
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

    def __enter__(self) -> _Logged:
        logging.getLogger(self._LOGGER).addFilter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger(self._LOGGER).removeFilter(self)


BLOCK = 512
"""Pixels on a side of a file's tiles."""

_CELL_BYTES = 16 << 20
"""Of a map that are held at a time."""

_CACHE = 64 << 20
"""Bytes of decoded tiles that GDAL keeps; its own default is a twentieth of the machine's memory."""

_SETTINGS = {"GDAL_PAM_ENABLED": False, "SPARSE_OK_OVERVIEW": True, "GDAL_TIFF_OVR_BLOCKSIZE": BLOCK}


def assemble(
    plan: Planned,
    parts: Parts,
    out: Path,
    outputs: Sequence[str],
    classes: Sequence[LabelClass],
    tags: Mapping[str, str],
    advance: ProgressCallback | None = None,
) -> dict[str, Path]:
    """The files of a map, made of the parts that are there; nodata where there are none.

    Where chunks overlap, a pixel is the first one's that has data there. Memory holds a window of the map, whatever its
    size. Files get their names when all are whole, have been read again and found the same.

    Args:
        plan: of the map.
        parts: of the plan; the folder also holds what is not yet whole.
        out: file of the class map; other outputs lie beside it, see `target_paths`.
        outputs: names of `OUTPUTS`.
        classes: by label index.
        tags: for every file.
        advance: takes (windows done, windows in all).

    Returns:
        The file of each output.

    Raises:
        CropzooError: a damaged part; a full disk or another failure to write, and then what stood there stays.
    """
    paths = target_paths(out, outputs)
    cells = {name: list(_cells(plan.grid.height, plan.grid.width, bands_of(name, len(classes)))) for name in outputs}
    total, done = 2 * sum(map(len, cells.values())), 0

    def step() -> None:
        nonlocal done
        done += 1
        if advance is not None:
            advance(done, total)

    with _workplace(parts.folder) as folder:
        for name in outputs:
            # One output after another: the disk holds one that is not yet compressed, not all of them.
            profile = _profile(plan, bands_of(name, len(classes)))
            cache = _CACHE + 2 * profile["count"] * BLOCK * BLOCK
            with writing(paths[name], out), rasterio.Env(GDAL_CACHEMAX=cache, **_SETTINGS):
                raw = folder / f"{name}.raw.tif"
                with rasterio.open(raw, "w", **profile) as target:
                    _describe(target, name, classes, {**tags, PLAN_TAG: plan.digest})
                    sums = [_write(target, plan, parts, name, cell, step) for cell in cells[name]]
                _convert(raw, folder / f"{name}.tif", name)
                raw.unlink()
                _verify(folder / f"{name}.tif", cells[name], sums, step)
        for name, path in paths.items():
            _move(folder / f"{name}.tif", path, category_names(classes) if name == CLASS else "")
    return paths


def _cells(height: int, width: int, bands: int) -> Iterator[Window]:
    """Windows of whole tiles that cover a map, each at most `_CELL_BYTES` or one tile."""
    side = BLOCK * max(1, int((_CELL_BYTES / bands) ** 0.5) // BLOCK)
    for row in range(0, height, side):
        for column in range(0, width, side):
            yield Window(row, column, min(side, height - row), min(side, width - column))


@contextmanager
def _workplace(parts: Path) -> Iterator[Path]:
    """A folder among the parts for files that are not yet whole; a killed process leaves it, and it goes with them."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".assembling-", dir=parts))
    except OSError as error:
        raise CropzooError(f"cannot write in {str(parts)!r}; {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _profile(plan: Planned, bands: int) -> dict[str, Any]:
    grid = plan.grid
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
        # Band by band, with overviews made here: of 20 bands the driver's own take 20 times as long, and three times
        # the memory, since it decodes all bands for each.
        "interleave": "band",
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "if_safer",
        "sparse_ok": True,  # a country has much sea around it
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


def _write(target: Any, plan: Planned, parts: Parts, name: str, cell: Window, step: Callable[[], None]) -> int:
    """Writes a window; its checksum."""
    values = np.full((target.count, cell.height, cell.width), NODATA, np.uint8)
    for chunk in _touching(plan.chunks, cell):
        if parts.has(chunk.number):
            _paint(values, cell, parts, chunk, name)
    if (values != NODATA).any():
        target.write(values, window=_as_rasterio(cell))
    step()
    return zlib.crc32(values.data)


def _touching(chunks: Sequence[Placed], cell: Window) -> Iterator[Placed]:
    for chunk in chunks:
        row, column, height, width = chunk.place
        if (
            row < cell.row + cell.height
            and cell.row < row + height
            and column < cell.column + cell.width
            and cell.column < column + width
        ):
            yield chunk


def _paint(values: NDArray[np.uint8], cell: Window, parts: Parts, chunk: Placed, name: str) -> None:
    """Puts a chunk on a window where no earlier one has data."""
    row, column, height, width = chunk.place
    part = parts.load(chunk.number, {name: (len(values), height, width)})[name]
    top, left = max(row, cell.row), max(column, cell.column)
    bottom, right = min(row + height, cell.row + cell.height), min(column + width, cell.column + cell.width)
    own = values[:, top - cell.row : bottom - cell.row, left - cell.column : right - cell.column]
    np.copyto(own, part[:, top - row : bottom - row, left - column : right - column], where=own == NODATA)


def _convert(raw: Path, target: Path, name: str) -> None:
    resampling = Resampling.mode if name == CLASS else Resampling.average
    with rasterio.open(raw, "r+") as source:
        longest = max(source.height, source.width)
        factors = [2**level for level in range(1, 32) if longest > BLOCK * 2 ** (level - 1)]
        if factors:
            source.build_overviews(factors, resampling)
    # One thread: the order of tiles, and so the bytes of the file, must not depend on the machine.
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


def _verify(path: Path, cells: Sequence[Window], sums: Sequence[int], step: Callable[[], None]) -> None:
    """Nothing, if a file holds what was written: GDAL has no way to tell that closing it failed."""
    with rasterio.open(path) as source:
        for cell, expected in zip(cells, sums, strict=True):
            if zlib.crc32(source.read(window=_as_rasterio(cell)).data) != expected:
                raise OSError("what was written reads differently")
            step()


def _move(scratch: Path, path: Path, names: str) -> None:
    """Gives a whole file its name; a file of names that lies beside an older one goes before, the new one follows."""
    beside = path.with_name(path.name + ".aux.xml")
    with atomic_write(path) as target:
        os.replace(scratch, target)
        beside.unlink(missing_ok=True)
    if names:
        write_text(beside, names)


def _as_rasterio(window: Window) -> RasterWindow:
    return RasterWindow(window.column, window.row, window.width, window.height)
