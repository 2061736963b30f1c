"""Images before any pixel is read: band files, acquisitions (one day) and stacks (all acquisitions on one grid)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo.geo.raster.grid import Grid


@dataclass(frozen=True)
class BandFile:
    """One band of one file.

    Args:
        path: Path of the file.
        number: Number of the band in the file, from 1.
        name: Name of the band, such as "B04" or "SCL".
        grid: Grid of the file.
        nodata: Stored number that means no data; None if there is none.
        dtype: NumPy name of the stored type.
        offset: Radiometric offset of the stored numbers, 1000 for Sentinel-2 baseline 04.00 and later.
        masked: Whether the file has a mask besides its bands.
        mask_bands: Numbers of the bands of the file that are masks of the others, 0 where there is no data.
        block: Height and width of the blocks that the file is stored in; reading one pixel decodes a block.
    """

    path: Path
    number: int
    name: str
    grid: Grid
    nodata: float | None = None
    dtype: str = "uint16"
    offset: int = 0
    masked: bool = False
    mask_bands: tuple[int, ...] = ()
    block: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Acquisition:
    """All images of one tile and day.

    Args:
        day: Days since 1970-01-01.
        products: Files by band name of each product of that day, the preferred product first. All have the bands of
            the stack; masks such as "SCL" have keys of their own, see `cropzoo.geo.raster.quality`.
    """

    day: int
    products: tuple[Mapping[str, BandFile], ...]

    @property
    def files(self) -> dict[str, tuple[BandFile, ...]]:
        """Files by band name, in the order of the products."""
        names = dict.fromkeys(name for product in self.products for name in product)
        return {name: tuple(product[name] for product in self.products if name in product) for name in names}


@dataclass(frozen=True)
class ImageStack:
    """All acquisitions on one grid.

    Args:
        name: MGRS tile ("T31UFS"), folder of the images, or "tile-1".
        grid: Grid of the finest of `bands`; `StackReader` resamples every band to it.
        acquisitions: Acquisitions with increasing days.
        bands: Bands that every acquisition has, without masks.
        dtype: Stored data type of the bands.
        read_dtype: Data type that `StackReader` returns: signed if any image of the search has an offset.
    """

    name: str
    grid: Grid
    acquisitions: tuple[Acquisition, ...]
    bands: tuple[str, ...]
    dtype: str
    read_dtype: str

    @property
    def dates(self) -> NDArray[np.int32]:
        """(T,), days since 1970-01-01, increasing."""
        return np.array([acquisition.day for acquisition in self.acquisitions], np.int32)

    @property
    def block(self) -> tuple[int, int]:
        """Height and width, in pixels of the stack's grid, of the largest block that a band is stored in.

        Smaller windows decode blocks repeatedly unless the blocks stay in GDAL's cache.
        """
        sizes = [
            (
                product[name].block[0] * self.grid.height // product[name].grid.height,
                product[name].block[1] * self.grid.width // product[name].grid.width,
            )
            for acquisition in self.acquisitions
            for product in acquisition.products
            for name in self.bands
        ]
        return max(height for height, _ in sizes), max(width for _, width in sizes)


def signed_dtype(dtype: str) -> str:
    """Data type that holds stored numbers after an offset is subtracted: unsigned types become signed.

    16 bits stay 16 bits: reflectance above 3.2 is clipped, and no surface is that bright.
    """
    return {"uint8": "int16", "uint16": "int16", "uint32": "int32"}.get(dtype, dtype)
