"""Reading windows of a tile through time: all bands on one grid, and where they are clear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from cropzoo.errors import UnknownName, UsageError
from cropzoo.images.handles import OpenFiles
from cropzoo.images.layers import Layer, Tile, signed
from cropzoo.images.names import SCL
from cropzoo.images.parts import Lost, Part, make_parts, read_classes
from cropzoo.regions import Window

CLEAR_SCL = (4, 5, 6)
"""Vegetation, bare soil, water."""

_NO_DATA_CLASS = 0


def reading_environment(cache_mb: int) -> rasterio.Env:
    """A context in which GDAL keeps up to `cache_mb` MiB of decoded pixels; elsewhere its setting stays as it was.

    Enough for a window is a row of pieces of each file that stays open; less decodes the same pieces again.
    """
    # rasterio takes this one number in bytes, whatever its size, while GDAL's own setting is in megabytes.
    return rasterio.Env(GDAL_CACHEMAX=cache_mb * 2**20)


class TileReader:
    """Reads windows of a tile; memory holds the window and GDAL's cache, never an image.

    Bands on the tile's grid are read as they are. Coarser ones are brought to it bilinearly, SCL by the nearest pixel;
    a pixel's value does not depend on the window. Pixels without data are 0 in the band that lacks them and not clear;
    they don't enter the means of their neighbours. Unsigned integers that are 0 in all bands are no data, declared or
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
        tile: Tile,
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
        chosen = tile.read_dtype if offset is None else signed(tile.dtype) if offset else tile.dtype
        self.dtype = np.dtype(chosen)
        self._clear = _lookup(clear_scl)
        self._products = [
            [(make_parts(product, self.bands, tile.grid, offset), product.get(SCL)) for product in acquisition.products]
            for acquisition in tile.acquisitions
        ]
        self._files = OpenFiles(open_files)

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

    def __enter__(self) -> TileReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_product(
        self, parts: Sequence[Part], scl: Layer | None, window: Window, out: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], Lost]:
        """Writes one product to `out`; where it is clear, and where another product of the day should fill in."""
        lost: Lost = None
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
