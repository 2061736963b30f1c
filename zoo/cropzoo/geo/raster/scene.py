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
    block: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Acquisition:
    """All images of one tile and day.

    Args:
        day: Days since 1970-01-01.
        files: Files by band name, including "SCL". Several files of a band are several products of that day, the
            preferred one first, in the same order for every band.
    """

    day: int
    files: Mapping[str, tuple[BandFile, ...]]

    @property
    def products(self) -> tuple[dict[str, BandFile], ...]:
        """Files by band name of each product, the preferred product first."""
        count = len(next(iter(self.files.values())))
        return tuple({name: several[k] for name, several in self.files.items()} for k in range(count))


@dataclass(frozen=True)
class ImageStack:
    """All acquisitions on one grid.

    Args:
        name: MGRS tile ("T31UFS"), folder of the images, or "tile-1".
        grid: Grid of the finest of `bands`; `StackReader` resamples every band to it.
        acquisitions: Acquisitions with increasing days.
        bands: Bands that every acquisition has, without SCL.
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
                file.block[0] * self.grid.height // file.grid.height,
                file.block[1] * self.grid.width // file.grid.width,
            )
            for acquisition in self.acquisitions
            for name in self.bands
            for file in acquisition.files[name]
        ]
        return max(height for height, _ in sizes), max(width for _, width in sizes)


def signed_dtype(dtype: str) -> str:
    """Data type that holds stored numbers after an offset is subtracted: unsigned types become signed.

    16 bits stay 16 bits: reflectance above 3.2 is clipped, and no surface is that bright.
    """
    return {"uint8": "int16", "uint16": "int16", "uint32": "int32"}.get(dtype, dtype)
