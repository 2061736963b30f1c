"""What is known of images before a pixel is read: layers (a band of a file), acquisitions (a day), tiles (a place)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo.geo.raster.grid import Grid


@dataclass(frozen=True)
class Layer:
    """One band of one file.

    Args:
        path: of the file.
        number: of the band in it, from 1.
        name: of the band, as "B04" or "SCL".
        grid: of the file.
        nodata: the stored number that means no data; None if there is none.
        dtype: NumPy's name of the stored type.
        offset: what the stored numbers carry too much, 1000 for Sentinel-2 of baseline 04.00 and later.
        masked: whether the file has a mask beside its bands.
        block: height and width of the pieces that the file is stored in; reading a pixel decodes such a piece.
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
        day: days since 1970-01-01.
        layers: by the name of the band, "SCL" among them. Several are products of that day, the preferred one first,
            in the same order for every band.
    """

    day: int
    layers: Mapping[str, tuple[Layer, ...]]

    @property
    def products(self) -> tuple[dict[str, Layer], ...]:
        """The layers by name of each product, the preferred one first."""
        count = len(next(iter(self.layers.values())))
        return tuple({name: several[k] for name, several in self.layers.items()} for k in range(count))


@dataclass(frozen=True)
class Tile:
    """One place on Earth with its images through time.

    Args:
        name: the MGRS tile ("T31UFS"), the images' folder, or "tile-1".
        grid: of the finest of `bands`; `TileReader` brings every band to it.
        acquisitions: by day, increasing.
        bands: that every acquisition has, without SCL.
        dtype: in which the bands are stored.
        read_dtype: in which `TileReader` gives them: signed where any image found together carries an offset.
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
        """Height and width, in pixels of the tile's grid, of the largest piece that a band is stored in.

        Windows that are smaller decode pieces again and again, unless these fit into GDAL's cache meanwhile.
        """
        sizes = [
            (
                layer.block[0] * self.grid.height // layer.grid.height,
                layer.block[1] * self.grid.width // layer.grid.width,
            )
            for acquisition in self.acquisitions
            for name in self.bands
            for layer in acquisition.layers[name]
        ]
        return max(height for height, _ in sizes), max(width for _, width in sizes)


def signed(dtype: str) -> str:
    """The type that holds stored numbers once an offset is taken off: unsigned ones become signed.

    16 bits stay 16 bits: reflectance above 3.2 is clipped, and no ground is that bright.
    """
    return {"uint8": "int16", "uint16": "int16", "uint32": "int32"}.get(dtype, dtype)
