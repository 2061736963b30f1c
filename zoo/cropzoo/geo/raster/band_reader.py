"""Reading the bands of one file on the grid of a stack: resampled, offset subtracted, pixels without data masked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.file_pool import FilePool
from cropzoo.geo.raster.fill import EqualBands, find_equal_bands, find_fill_numbers
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.raster.resample import AxisMap, interpolate, make_axis_map, pick_nearest
from cropzoo.geo.raster.scene import BandFile

NoDataMask = NDArray[np.bool_] | None
"""True where there is no data; None if there is data everywhere."""


class Gaps(NamedTuple):
    """Pixels of a window that may have no data in some bands.

    Args:
        missing: Where any of the bands has no data that the file declares, (H, W).
        equal: Where all of the bands hold the same stored number, 0 or a low one: fill if other files agree. None if
            nowhere, or if it was not searched.
    """

    missing: NoDataMask
    equal: EqualBands | None


@dataclass(frozen=True)
class BandGroup:
    """Bands of one file that are read together.

    Args:
        bands: Bands of the file.
        channels: Position of each band in the result.
        grid: Grid of the result.
        offsets: Offset of each band, subtracted from the stored numbers.
        nodata: Nodata value of each band, a number of its data type; None if it has none.
    """

    bands: tuple[BandFile, ...]
    channels: tuple[int, ...]
    grid: Grid
    offsets: tuple[int, ...]
    nodata: tuple[Any, ...]

    def read(self, files: FilePool, window: Window, out: NDArray[Any], search_fill: bool = True) -> Gaps:
        """Read a window into an array.

        Args:
            files: Pool of open files.
            window: Window in pixels of `grid`.
            out: Array to write to, (C, H, W); pixels without declared data are set to 0.
            search_fill: Whether to search for fill that is not declared.

        Raises:
            CropzooError: The file cannot be read, or contains infinity.
        """
        if _same_pixels(self.bands[0].grid, self.grid):
            return self._read_on_grid(files, window, out, search_fill)
        return self._read_resampled(files, window, out, search_fill)

    def _read_on_grid(self, files: FilePool, window: Window, out: NDArray[Any], search_fill: bool) -> Gaps:
        stored = np.dtype(self.bands[0].dtype)
        first, count = self.channels[0], len(self.channels)
        in_place = self.channels == tuple(range(first, first + count)) and out.itemsize == stored.itemsize
        if in_place:
            # Same size, perhaps another sign: GDAL writes directly into the result, where the offset is subtracted.
            values = out[first : first + count]
            raw = self._read_raw(files, window, values.view(stored))
        else:
            raw = self._read_raw(files, window)
            values = np.empty(raw.shape, out.dtype)
        equal = find_equal_bands(raw, raw.dtype) if search_fill else None
        missing = self._find_missing(files, window, raw)
        _subtract_offsets(raw, self.offsets, values)
        if missing is not None:
            values[missing] = 0
        if not in_place:
            out[list(self.channels)] = values
        return Gaps(_in_any_band(missing), equal)

    def _read_resampled(self, files: FilePool, window: Window, out: NDArray[Any], search_fill: bool) -> Gaps:
        rows, columns = _map_axes(self.bands[0].grid, self.grid, window)
        coarse = _covering_window(rows, columns)
        raw = self._read_raw(files, coarse)
        equal = find_equal_bands(raw, raw.dtype) if search_fill else None
        missing = self._find_missing(files, coarse, raw)
        numbers = find_fill_numbers(raw)
        unusable = numbers if missing is None else numbers | missing
        values = interpolate(raw, unusable, rows, columns)
        if numbers.any():
            # Whether they are fill depends on the other bands; they are kept, and not mixed with their neighbors.
            np.copyto(values, pick_nearest(raw, rows, columns), where=pick_nearest(numbers, rows, columns))
        values -= np.asarray(self.offsets, values.dtype)[:, None, None]
        if out.dtype.kind in "iu":
            limits = np.iinfo(out.dtype)
            np.clip(np.rint(values, out=values), limits.min, limits.max, out=values)
        fine_missing = None if missing is None else pick_nearest(missing, rows, columns)
        if fine_missing is not None:
            values[fine_missing] = 0
        out[list(self.channels)] = values
        if equal is not None:
            equal = EqualBands(*(pick_nearest(each, rows, columns) for each in equal))
        return Gaps(_in_any_band(fine_missing), equal)

    def _read_raw(self, files: FilePool, window: Window, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return files.read(self.bands[0].path, [band.number for band in self.bands], window, out)

    def _find_missing(self, files: FilePool, window: Window, raw: NDArray[Any]) -> NoDataMask:
        """Where the bands have no data that the file declares, or NaN, (N, h, w).

        Raises:
            CropzooError: Infinity elsewhere.
        """
        missing: NoDataMask = None
        if any(value is not None for value in self.nodata):
            missing = np.zeros(raw.shape, np.bool_)
            for band, value, where in zip(raw, self.nodata, missing, strict=True):
                if value is not None:
                    np.equal(band, value, out=where)
        if any(band.masked for band in self.bands):
            masks = files.read_masks(self.bands[0].path, [band.number for band in self.bands], window) == 0
            missing = masks if missing is None else missing | masks
        if mask_bands := self.bands[0].mask_bands:
            masks = (files.read(self.bands[0].path, list(mask_bands), window) == 0).any(axis=0)
            missing = np.broadcast_to(masks, raw.shape).copy() if missing is None else missing | masks
        if raw.dtype.kind == "f":
            missing = self._add_nan(raw, missing)
        return None if missing is None or not missing.any() else missing

    def _add_nan(self, raw: NDArray[Any], missing: NoDataMask) -> NoDataMask:
        """Pixels that are missing or NaN."""
        finite = np.isfinite(raw)
        if finite.all():
            return missing
        missing = np.isnan(raw) if missing is None else missing | np.isnan(raw)
        if not (finite | missing).all():
            raise CropzooError(
                f"image {str(self.bands[0].path)!r}; it contains infinity that is not declared as nodata; set the "
                "nodata value of the file, or replace those pixels by NaN, which is no data"
            )
        return missing


def group_by_file(
    product: Mapping[str, BandFile], bands: Sequence[str], grid: Grid, offset: int | None = None
) -> tuple[BandGroup, ...]:
    """Groups in which the bands of a product are read, one for each file.

    Args:
        product: Band files of the product by name.
        bands: Band names in the order of the result.
        grid: Grid of the result.
        offset: Offset subtracted from all bands; None for the offset of each band file.
    """
    by_file: dict[Path, list[int]] = {}
    for channel, name in enumerate(bands):
        by_file.setdefault(product[name].path, []).append(channel)
    groups = []
    for channels in by_file.values():
        files = tuple(product[bands[channel]] for channel in channels)
        offsets = tuple(file.offset if offset is None else offset for file in files)
        nodata = tuple(_stored_nodata(file, each) for file, each in zip(files, offsets, strict=True))
        groups.append(BandGroup(files, tuple(channels), grid, offsets, nodata))
    return tuple(groups)


def read_classes(files: FilePool, band: BandFile, grid: Grid, window: Window) -> NDArray[Any]:
    """Window of a classification such as SCL on a grid, by the nearest pixel, (H, W), as stored."""
    if _same_pixels(band.grid, grid):
        classes: NDArray[Any] = files.read(band.path, [band.number], window)[0]
        return classes
    rows, columns = _map_axes(band.grid, grid, window)
    return pick_nearest(files.read(band.path, [band.number], _covering_window(rows, columns))[0], rows, columns)


def _map_axes(coarse: Grid, fine: Grid, window: Window) -> tuple[AxisMap, AxisMap]:
    """Rows and columns of a coarse grid from which a window of the fine grid is interpolated."""
    return (
        make_axis_map(window.row, window.height, fine.height, coarse.height),
        make_axis_map(window.column, window.width, fine.width, coarse.width),
    )


def _covering_window(rows: AxisMap, columns: AxisMap) -> Window:
    """Window of coarse pixels that two axis maps need."""
    return Window(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)


def _same_pixels(one: Grid, other: Grid) -> bool:
    """Whether two grids of one footprint have the same pixels."""
    return (one.height, one.width) == (other.height, other.width)


def _in_any_band(missing: NoDataMask) -> NoDataMask:
    """(H, W) from (N, H, W)."""
    if missing is None:
        return None
    anywhere: NDArray[np.bool_] = np.any(missing, axis=0)
    return anywhere


def _stored_nodata(band: BandFile, offset: int) -> Any:
    """Nodata value of a band as a number of its data type; None if the type cannot hold it.

    If an offset was added, 0 means no data although the file does not declare it: that is the purpose of the offset.
    NaN means no data whether it is declared or not.
    """
    dtype = np.dtype(band.dtype)
    if band.nodata is None or math.isnan(band.nodata):
        return dtype.type(0) if offset > 0 else None
    if dtype.kind == "f":
        return dtype.type(band.nodata)
    limits = np.iinfo(dtype)
    is_integer = math.isfinite(band.nodata) and band.nodata == int(band.nodata)
    return dtype.type(int(band.nodata)) if is_integer and limits.min <= band.nodata <= limits.max else None


def _subtract_offsets(raw: NDArray[Any], offsets: Sequence[int], values: NDArray[Any]) -> None:
    """Write stored numbers (N, h, w) minus the offset of each band to `values`, clipped to its type.

    `values` may share the memory of `raw`.
    """
    if not any(offsets) and raw.dtype == values.dtype:
        if not np.shares_memory(raw, values):
            values[...] = raw
        return
    if raw.dtype.kind == "f":
        np.subtract(raw, np.asarray(offsets, raw.dtype)[:, None, None], out=values)
        return
    stored, wanted = np.iinfo(raw.dtype), np.iinfo(values.dtype)
    if stored.bits != wanted.bits:
        wide = raw.astype(np.int64) - np.asarray(offsets, np.int64)[:, None, None]
        np.clip(wide, wanted.min, wanted.max, out=wide)
        values[...] = wide
        return
    for band, offset in zip(raw, offsets, strict=True):
        lowest, highest = max(stored.min, wanted.min + offset), min(stored.max, wanted.max + offset)
        np.clip(band, lowest, highest, out=band)
        # Modulo 2**bits, so that 500 - 1000 in an unsigned type has the bits of -500 in the signed one.
        band -= np.array(offset).astype(raw.dtype)
    if not np.shares_memory(raw, values):
        values[...] = raw.view(values.dtype)
