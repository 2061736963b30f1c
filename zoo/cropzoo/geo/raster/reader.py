"""Reading windows of a tile through time: all bands on one grid, and where they are clear."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.geo.raster.file_pool import FilePool
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.raster.naming import SCL
from cropzoo.geo.raster.resample import AxisMap, interpolate, make_axis_map, pick_nearest
from cropzoo.geo.raster.scene import BandFile, ImageStack, signed_dtype

NoDataMask = NDArray[np.bool_] | None
"""Where there is no data; None if nowhere."""


@dataclass(frozen=True)
class BandGroup:
    """Bands of one file.

    Args:
        layers: of the bands.
        channels: where each goes in the result.
        fine: the tile's grid.
        offsets: to take off the stored numbers, for each.
        nodata: of each, as a number of its type; None if it has none.
    """

    layers: tuple[BandFile, ...]
    channels: tuple[int, ...]
    fine: Grid
    offsets: tuple[int, ...]
    nodata: tuple[Any, ...]

    def read(self, files: FilePool, window: Window, out: NDArray[Any]) -> NoDataMask:
        """Writes the bands to `out` (C, H, W) and says where any has no data, (H, W); there it is 0.

        Raises:
            CropzooError: a file that cannot be read or holds NaN that it does not declare.
        """
        if _same_pixels(self.layers[0].grid, self.fine):
            return self._read_plain(files, window, out)
        return self._read_coarse(files, window, out)

    def _read_plain(self, files: FilePool, window: Window, out: NDArray[Any]) -> NoDataMask:
        stored = np.dtype(self.layers[0].dtype)
        first, count = self.channels[0], len(self.channels)
        in_place = self.channels == tuple(range(first, first + count)) and out.itemsize == stored.itemsize
        if in_place:
            # Same size, perhaps another sign: GDAL writes right into the result, and the offset is taken off there.
            values = out[first : first + count]
            raw = self._read_raw(files, window, values.view(stored))
        else:
            raw = self._read_raw(files, window)
            values = np.empty(raw.shape, out.dtype)
        lost = self._lost(files, window, raw)
        _take_off(raw, self.offsets, values)
        if lost is not None:
            values[lost] = 0
        if not in_place:
            out[list(self.channels)] = values
        return _in_any_band(lost)

    def _read_coarse(self, files: FilePool, window: Window, out: NDArray[Any]) -> NoDataMask:
        rows, columns = make_axes(self.layers[0].grid, self.fine, window)
        coarse = covering_window(rows, columns)
        raw = self._read_raw(files, coarse)
        lost = self._lost(files, coarse, raw)
        values = interpolate(raw, lost, rows, columns)
        values -= np.asarray(self.offsets, values.dtype)[:, None, None]
        if out.dtype.kind in "iu":
            limits = np.iinfo(out.dtype)
            np.clip(np.rint(values, out=values), limits.min, limits.max, out=values)
        gone = None if lost is None else pick_nearest(lost, rows, columns)
        if gone is not None:
            values[gone] = 0
        out[list(self.channels)] = values
        return _in_any_band(gone)

    def _read_raw(self, files: FilePool, window: Window, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return files.read(self.layers[0].path, [layer.number for layer in self.layers], window, out)

    def _lost(self, files: FilePool, window: Window, raw: NDArray[Any]) -> NoDataMask:
        """Where the bands have no data, (N, h, w).

        Raises:
            CropzooError: NaN or infinity elsewhere.
        """
        lost: NoDataMask = None
        if any(value is not None for value in self.nodata):
            lost = np.zeros(raw.shape, np.bool_)
            for band, value, where in zip(raw, self.nodata, lost, strict=True):
                if value is not None:
                    _ = np.isnan(band, out=where) if value != value else np.equal(band, value, out=where)
        if any(layer.masked for layer in self.layers):
            masks = files.read_masks(self.layers[0].path, [layer.number for layer in self.layers], window) == 0
            lost = masks if lost is None else lost | masks
        if lost is not None and not lost.any():
            lost = None
        if raw.dtype.kind == "f":
            finite = np.isfinite(raw)
            if not (finite if lost is None else finite | lost).all():
                raise CropzooError(
                    f"image {str(self.layers[0].path)!r}; it holds NaN or infinity that is not declared; "
                    "set the file's nodata to NaN, so that those pixels are masked, or fill them"
                )
        return lost


def group_by_file(
    product: Mapping[str, BandFile], bands: Sequence[str], fine: Grid, offset: int | None = None
) -> tuple[BandGroup, ...]:
    """The parts that a product's bands are read in, a file each.

    Args:
        product: its layers by name.
        bands: in the order of the result.
        fine: the tile's grid.
        offset: to take off the numbers of all bands; None for what each layer says.
    """
    by_file: dict[Path, list[int]] = {}
    for channel, name in enumerate(bands):
        by_file.setdefault(product[name].path, []).append(channel)
    parts = []
    for channels in by_file.values():
        layers = tuple(product[bands[channel]] for channel in channels)
        offsets = tuple(layer.offset if offset is None else offset for layer in layers)
        nodata = tuple(_stored_nodata(layer, each) for layer, each in zip(layers, offsets, strict=True))
        parts.append(BandGroup(layers, tuple(channels), fine, offsets, nodata))
    return tuple(parts)


def read_classes(files: FilePool, layer: BandFile, fine: Grid, window: Window) -> NDArray[Any]:
    """A layer of classes, such as SCL, on the tile's grid by the nearest pixel, (H, W), as stored."""
    if _same_pixels(layer.grid, fine):
        classes: NDArray[Any] = files.read(layer.path, [layer.number], window)[0]
        return classes
    rows, columns = make_axes(layer.grid, fine, window)
    return pick_nearest(files.read(layer.path, [layer.number], covering_window(rows, columns))[0], rows, columns)


def make_axes(coarse: Grid, fine: Grid, window: Window) -> tuple[AxisMap, AxisMap]:
    """The rows and columns of a coarse grid that a window of the fine one is made of."""
    return (
        make_axis_map(window.row, window.height, fine.height, coarse.height),
        make_axis_map(window.column, window.width, fine.width, coarse.width),
    )


def covering_window(rows: AxisMap, columns: AxisMap) -> Window:
    """The window of coarse pixels that two axes need."""
    return Window(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)


def _same_pixels(one: Grid, other: Grid) -> bool:
    """Whether two grids of one footprint have the same pixels."""
    return (one.height, one.width) == (other.height, other.width)


def _in_any_band(lost: NoDataMask) -> NoDataMask:
    """(H, W) of (N, H, W)."""
    if lost is None:
        return None
    anywhere: NDArray[np.bool_] = np.any(lost, axis=0)
    return anywhere


def _stored_nodata(layer: BandFile, offset: int) -> Any:
    """A layer's nodata as a number of its type; None where the type cannot hold it.

    Where an offset was added, 0 is no data though the file does not say so: that is what the offset is for.
    """
    dtype = np.dtype(layer.dtype)
    if layer.nodata is None:
        return dtype.type(0) if offset > 0 and dtype.kind in "iu" else None
    if dtype.kind == "f":
        return dtype.type(layer.nodata)
    limits = np.iinfo(dtype)
    whole = layer.nodata == layer.nodata and math.isfinite(layer.nodata) and layer.nodata == int(layer.nodata)
    return dtype.type(int(layer.nodata)) if whole and limits.min <= layer.nodata <= limits.max else None


def _take_off(raw: NDArray[Any], offsets: Sequence[int], values: NDArray[Any]) -> None:
    """Stored numbers (N, h, w) less each band's offset, clipped to the type of `values`, which may be `raw` itself."""
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


CLEAR_SCL = (4, 5, 6)
"""Vegetation, bare soil, water."""

_NO_DATA_CLASS = 0


def reading_environment(cache_mb: int) -> rasterio.Env:
    """A context in which GDAL keeps up to `cache_mb` MiB of decoded pixels; elsewhere its setting stays as it was.

    Enough for a window is a row of pieces of each file that stays open; less decodes the same pieces again.
    """
    # rasterio takes this one number in bytes, whatever its size, while GDAL's own setting is in megabytes.
    return rasterio.Env(GDAL_CACHEMAX=cache_mb * 2**20)


class StackReader:
    """Reads windows of a tile; memory holds the window and GDAL's cache, never an image.

    Bands on the tile's grid are read as they are. Coarser ones are brought to it bilinearly, SCL by the nearest pixel;
    a pixel's value does not depend on the window. Pixels without data are 0 in the band that lacks them and not clear;
    they don't enter the means of their neighbors. Unsigned integers that are 0 in all bands are no data, declared or
    not. Where a day has several products, a pixel that the first lacks in any band, or that its SCL calls no data, is
    taken from the next, in all bands.

    The offset of Sentinel-2's baseline 04.00 is taken off, so `dtype` is signed where any image found together carries
    one: uint16 becomes int16, and numbers above 32767 are clipped to it.

    Pickles without its open files. One thread at a time.

    Args:
        tile: from `find_images`.
        bands: some of the tile's, in the order wanted; None for all.
        clear_scl: classes of the SCL band that are clear; without that band all but nodata is clear.
        offset: to take off the stored numbers of all bands and dates; None for what each file says.
        open_files: how many files to keep open; None for half of what the system allows a process. A series of more
            files than that is faster read date by date, `read_date` of many windows, than window by window.

    Attributes:
        bands: names of the bands, in order.
        dates: (T,), int32, days since 1970-01-01, increasing.
        dtype: of what is read.

    Raises:
        UnknownName: a band that the tile does not have.
        UsageError: a band named twice; an offset that does not fit into 16 bits.
    """

    def __init__(
        self,
        tile: ImageStack,
        *,
        bands: Sequence[str] | None = None,
        clear_scl: Sequence[int] = CLEAR_SCL,
        offset: int | None = None,
        open_files: int | None = None,
    ) -> None:
        self.tile = tile
        self.bands = tile.bands if bands is None else tuple(bands)
        for name in self.bands:
            if name not in tile.bands:
                raise UnknownName("band", name, tile.bands, f"of the images of {tile.name!r}")
        if len(set(self.bands)) != len(self.bands):
            raise UsageError(f"bands {self.bands!r}; one is named twice; name each once")
        if offset is not None and abs(offset) >= 2**15:
            raise UsageError(f"offset {offset!r}; it does not fit into 16 bits; Sentinel-2's is 1000 or 0")
        self.dates = tile.dates
        chosen = tile.read_dtype if offset is None else signed_dtype(tile.dtype) if offset else tile.dtype
        self.dtype = np.dtype(chosen)
        self._clear = _lookup(clear_scl)
        self._products = [
            [
                (group_by_file(product, self.bands, tile.grid, offset), product.get(SCL))
                for product in acquisition.products
            ]
            for acquisition in tile.acquisitions
        ]
        self._files = FilePool(open_files)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """All dates of a window.

        Args:
            window: in pixels of the tile's grid, inside it.

        Returns:
            Series (T, C, H, W) of `dtype`, and where it is clear (T, H, W), bool.

        Raises:
            CropzooError: naming the file that cannot be read or holds NaN that it does not declare.
            ValueError: a window that is empty or reaches beyond the tile.
        """
        series = np.empty((len(self.dates), len(self.bands), window.height, window.width), self.dtype)
        clear = np.empty((len(self.dates), window.height, window.width), np.bool_)
        for index in range(len(self.dates)):
            clear[index] = self.read_date(index, window, series[index])[1]
        return series, clear

    def read_date(
        self, index: int, window: Window, out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """One date of a window, as `read`.

        Args:
            index: of the date in `dates`.
            window: in pixels of the tile's grid, inside it.
            out: (C, H, W) of `dtype`, to write to and return.

        Returns:
            Values (C, H, W) of `dtype`, and where they are clear (H, W), bool.
        """
        self._check(window)
        shape = len(self.bands), window.height, window.width
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype:
            raise ValueError(f"out is {out.shape} of {out.dtype}; it must be {shape} of {self.dtype}")
        first, *others = self._products[index]
        clear, holes = self._read_product(*first, window, out)
        for product in others:
            if holes is None or not holes.any():
                break
            values = np.empty_like(out)
            more_clear, more_holes = self._read_product(*product, window, values)
            filled = holes if more_holes is None else holes & ~more_holes
            out[:, filled] = values[:, filled]
            clear[filled] = more_clear[filled]
            holes = holes & ~filled
        return out, clear

    def close(self) -> None:
        """Close the files; reading opens them again."""
        self._files.close()

    def __enter__(self) -> StackReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_product(
        self, parts: Sequence[BandGroup], scl: BandFile | None, window: Window, out: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NoDataMask]:
        """Writes one product to `out`; where it is clear, and where another product of the day should fill in."""
        lost: NoDataMask = None
        for part in parts:
            gone = part.read(self._files, window, out)
            if gone is not None:
                lost = gone if lost is None else lost | gone
        if self.dtype.kind == "u":  # signed where an offset is taken off: there a stored 0 is no data, band by band
            empty = np.bitwise_or.reduce(out, axis=0) == 0  # no ground reflects nothing in all bands
            if empty.any():
                lost = empty if lost is None else lost | empty
        if scl is None:
            return np.ones(out.shape[1:], np.bool_) if lost is None else ~lost, lost
        classes = read_classes(self._files, scl, self.tile.grid, window)
        if classes.dtype.kind == "f":
            classes = np.nan_to_num(classes, nan=_NO_DATA_CLASS)
        # The last entry stands for all higher classes: none of them is clear.
        clear = self._clear[np.clip(classes, 0, len(self._clear) - 1).astype(np.uint8, copy=False)]
        unknown = classes == _NO_DATA_CLASS
        if lost is None:
            return clear, unknown
        clear &= ~lost
        return clear, lost | unknown

    def _check(self, window: Window) -> None:
        grid = self.tile.grid
        inside = window.row >= 0 and window.column >= 0 and window.height > 0 and window.width > 0
        if not (inside and window.row + window.height <= grid.height and window.column + window.width <= grid.width):
            raise ValueError(f"{window} does not lie in {grid.height} x {grid.width} pixels")


def _lookup(classes: Sequence[int]) -> NDArray[np.bool_]:
    """A table that says of each class whether it is clear."""
    if not all(0 <= number < 255 for number in classes):
        raise UsageError(f"clear_scl is {tuple(classes)!r}; classes are whole numbers from 0 to 254; SCL has 0 to 11")
    table = np.zeros(256, np.bool_)
    table[list(classes)] = True
    return table
