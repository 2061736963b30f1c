"""Reading windows of an image stack through time: all bands on one grid, and the cloud mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from cropzoo.errors import UnknownName, UsageError
from cropzoo.geo.local import GDAL_SETTINGS
from cropzoo.geo.raster.band_reader import BandGroup, NoDataMask, group_by_file, read_classes
from cropzoo.geo.raster.file_pool import FilePool
from cropzoo.geo.raster.fill import EqualBands, combine_equal_bands, select_fill
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.quality import CLEAR_SCL as CLEAR_SCL
from cropzoo.geo.raster.quality import QualityLayer, find_layer, is_mask, make_clear_classes
from cropzoo.geo.raster.scene import BandFile, ImageStack, signed_dtype

_Mask = tuple[QualityLayer, BandFile]


def reading_environment(cache_mb: int) -> rasterio.Env:
    """Context in which GDAL caches up to `cache_mb` MiB of decoded pixels; the setting is restored afterwards.

    One row of blocks of every open file is enough for a window; with less, the same blocks are decoded again.
    """
    # rasterio takes this number in bytes, whatever its size, while GDAL's own setting is in megabytes.
    return rasterio.Env(GDAL_CACHEMAX=cache_mb * 2**20, **GDAL_SETTINGS)


class StackReader:
    """Reads windows of an image stack; memory holds the window and GDAL's cache, never an image.

    Bands on the grid of the stack are read without changes. Coarser bands are resampled to it bilinearly, masks by the
    nearest pixel; the value of a pixel does not depend on the window. Pixels without data are 0 in the band that lacks
    them and not clear; they are left out of the means of their neighbors. Fill that is not declared is recognized by
    `cropzoo.geo.raster.fill`, in the stored numbers of the bands that are read. If a day has several products, a pixel
    that is missing in any band of the first product, or has no data in its mask, is taken from the next product in all
    bands.

    The offset of Sentinel-2 processing baseline 04.00 is subtracted. `dtype` is therefore signed if any image of the
    search has an offset: uint16 becomes int16, and numbers above 32767 are clipped to it.

    A pickled copy has no open files. A reader must be used by one thread at a time.

    Args:
        stack: Stack from `find_images`.
        bands: Bands of the stack in the requested order; None for all.
        clear_scl: Classes of the SCL band that are clear; without a mask, every pixel with data is clear.
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
        self._clear_classes = make_clear_classes(clear_scl)
        self._products = [
            [
                (group_by_file(product, self.bands, stack.grid, offset), _list_masks(product))
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
            CropzooError: A file that cannot be read or contains infinity.
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
        self, groups: Sequence[BandGroup], masks: Sequence[_Mask], window: Window, out: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NoDataMask]:
        """Read one product into `out`; returns where it is clear, and where another product of the day is needed."""
        missing: NoDataMask = None
        equal: EqualBands | None = None
        for number, group in enumerate(groups):
            gaps = group.read(self._files, window, out, search_fill=number == 0 or equal is not None)
            equal = gaps.equal if number == 0 else combine_equal_bands(equal, gaps.equal)
            missing = _either(missing, gaps.missing)
        fill = None
        if equal is not None:
            first = groups[0]
            is_declared = first.nodata[0] is not None
            fill = select_fill(equal, len(self.bands), np.dtype(first.bands[0].dtype), is_declared)
        if fill is not None:
            np.copyto(out, 0, where=fill)
            missing = _either(missing, fill)
        clear = np.ones(out.shape[1:], np.bool_) if missing is None else ~missing
        for layer, file in masks:
            values = read_classes(self._files, file, self.stack.grid, window)
            mask_clear, unknown = layer.decode(values, self._clear_classes)
            clear &= mask_clear
            missing = _either(missing, unknown)
        return clear, missing

    def _check_window(self, window: Window) -> None:
        grid = self.stack.grid
        inside = window.row >= 0 and window.column >= 0 and window.height > 0 and window.width > 0
        if not (inside and window.row + window.height <= grid.height and window.column + window.width <= grid.width):
            raise ValueError(f"{window} is not inside {grid.height} x {grid.width} pixels")


def _list_masks(product: Mapping[str, BandFile]) -> list[_Mask]:
    """Masks of a product, and how they are decoded."""
    layers = [(find_layer(name), file) for name, file in product.items() if is_mask(name)]
    return [(layer, file) for layer, file in layers if layer is not None]


def _either(one: NoDataMask, other: NoDataMask) -> NoDataMask:
    """Where one or the other has no data."""
    if one is None or other is None:
        return other if one is None else one
    return one | other
