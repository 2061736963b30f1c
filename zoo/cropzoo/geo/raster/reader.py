"""Reading windows of an image stack through time: all bands on one grid, and the cloud mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from cropzoo.errors import UnknownName, UsageError
from cropzoo.geo.raster.band_reader import BandGroup, NoDataMask, group_by_file, read_classes
from cropzoo.geo.raster.file_pool import FilePool
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.naming import SCL
from cropzoo.geo.raster.scene import BandFile, ImageStack, signed_dtype

CLEAR_SCL = (4, 5, 6)
"""Classes of SCL that are clear: vegetation, bare soil and water."""

_NO_DATA_CLASS = 0


def reading_environment(cache_mb: int) -> rasterio.Env:
    """Context in which GDAL caches up to `cache_mb` MiB of decoded pixels; the setting is restored afterwards.

    One row of blocks of every open file is enough for a window; with less, the same blocks are decoded again.
    """
    # rasterio takes this number in bytes, whatever its size, while GDAL's own setting is in megabytes.
    return rasterio.Env(GDAL_CACHEMAX=cache_mb * 2**20)


class StackReader:
    """Reads windows of an image stack; memory holds the window and GDAL's cache, never an image.

    Bands on the grid of the stack are read without changes. Coarser bands are resampled to it bilinearly, SCL by the
    nearest pixel; the value of a pixel does not depend on the window. Pixels without data are 0 in the band that lacks
    them and not clear; they are left out of the means of their neighbors. Unsigned integers that are 0 in all bands are
    no data, declared or not. If a day has several products, a pixel that is missing in any band of the first product,
    or is class 0 (no data) in its SCL, is taken from the next product in all bands.

    The offset of Sentinel-2 processing baseline 04.00 is subtracted. `dtype` is therefore signed if any image of the
    search has an offset: uint16 becomes int16, and numbers above 32767 are clipped to it.

    A pickled copy has no open files. A reader must be used by one thread at a time.

    Args:
        stack: Stack from `find_images`.
        bands: Bands of the stack in the requested order; None for all.
        clear_scl: Classes of the SCL band that are clear; without that band, every pixel with data is clear.
        offset: Offset subtracted from the stored numbers of all bands and dates; None for the offset of each file.
        open_files: Number of files to keep open; None for half of the system limit. A series of more files is read
            faster date by date (`read_date` of many windows) than window by window.

    Attributes:
        bands: Names of the bands, in order.
        dates: (T,), int32, days since 1970-01-01, increasing.
        dtype: Data type of the values.

    Raises:
        UnknownName: A band that the stack does not have.
        UsageError: A band named twice, or an offset that does not fit into 16 bits.
    """

    def __init__(
        self,
        stack: ImageStack,
        *,
        bands: Sequence[str] | None = None,
        clear_scl: Sequence[int] = CLEAR_SCL,
        offset: int | None = None,
        open_files: int | None = None,
    ) -> None:
        self.stack = stack
        self.bands = stack.bands if bands is None else tuple(bands)
        for name in self.bands:
            if name not in stack.bands:
                raise UnknownName("band", name, stack.bands, f"of the images of {stack.name!r}")
        if len(set(self.bands)) != len(self.bands):
            raise UsageError(f"bands {self.bands!r}; a band is named twice; name each once")
        if offset is not None and abs(offset) >= 2**15:
            raise UsageError(f"offset {offset!r}; it does not fit into 16 bits; Sentinel-2's is 1000 or 0")
        self.dates = stack.dates
        chosen = stack.read_dtype if offset is None else signed_dtype(stack.dtype) if offset else stack.dtype
        self.dtype = np.dtype(chosen)
        self._clear = _make_clear_table(clear_scl)
        self._products = [
            [
                (group_by_file(product, self.bands, stack.grid, offset), product.get(SCL))
                for product in acquisition.products
            ]
            for acquisition in stack.acquisitions
        ]
        self._files = FilePool(open_files)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """All dates of a window.

        Args:
            window: Window in pixels of the stack's grid, inside it.

        Returns:
            Series (T, C, H, W) of `dtype`, and where it is clear (T, H, W), bool.

        Raises:
            CropzooError: A file that cannot be read or contains NaN that it does not declare.
            ValueError: A window that is empty or extends beyond the grid.
        """
        series = np.empty((len(self.dates), len(self.bands), window.height, window.width), self.dtype)
        clear = np.empty((len(self.dates), window.height, window.width), np.bool_)
        for index in range(len(self.dates)):
            clear[index] = self.read_date(index, window, series[index])[1]
        return series, clear

    def read_date(
        self, index: int, window: Window, out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """One date of a window, see `read`.

        Args:
            index: Index of the date in `dates`.
            window: Window in pixels of the stack's grid, inside it.
            out: Array (C, H, W) of `dtype` to write to and return.

        Returns:
            Values (C, H, W) of `dtype`, and where they are clear (H, W), bool.
        """
        self._check_window(window)
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
        """Close the files; reading reopens them."""
        self._files.close()

    def __enter__(self) -> StackReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_product(
        self, groups: Sequence[BandGroup], scl: BandFile | None, window: Window, out: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NoDataMask]:
        """Read one product into `out`; returns where it is clear, and where another product of the day is needed."""
        missing: NoDataMask = None
        for group in groups:
            found = group.read(self._files, window, out)
            if found is not None:
                missing = found if missing is None else missing | found
        if self.dtype.kind == "u":  # signed if an offset is subtracted: a stored 0 is then no data, band by band
            empty = np.bitwise_or.reduce(out, axis=0) == 0  # no surface reflects nothing in all bands
            if empty.any():
                missing = empty if missing is None else missing | empty
        if scl is None:
            return np.ones(out.shape[1:], np.bool_) if missing is None else ~missing, missing
        classes = read_classes(self._files, scl, self.stack.grid, window)
        if classes.dtype.kind == "f":
            classes = np.nan_to_num(classes, nan=_NO_DATA_CLASS)
        # The last entry of the table is used for all higher classes: none of them is clear.
        clear = self._clear[np.clip(classes, 0, len(self._clear) - 1).astype(np.uint8, copy=False)]
        unknown = classes == _NO_DATA_CLASS
        if missing is None:
            return clear, unknown
        clear &= ~missing
        return clear, missing | unknown

    def _check_window(self, window: Window) -> None:
        grid = self.stack.grid
        inside = window.row >= 0 and window.column >= 0 and window.height > 0 and window.width > 0
        if not (inside and window.row + window.height <= grid.height and window.column + window.width <= grid.width):
            raise ValueError(f"{window} is not inside {grid.height} x {grid.width} pixels")


def _make_clear_table(classes: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each class is clear, (256,)."""
    if not all(0 <= number < 255 for number in classes):
        raise UsageError(f"clear_scl is {tuple(classes)!r}; classes are integers from 0 to 254; SCL has 0 to 11")
    table = np.zeros(256, np.bool_)
    table[list(classes)] = True
    return table
