"""A square of the landscape in one season, seen on the same dates everywhere, made tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.features import shapes
from shapely.geometry import shape

from cropzoo_plugins.datasets.landscape import weather
from cropzoo_plugins.datasets.landscape.blocks import Scene, render, season_of
from cropzoo_plugins.datasets.landscape.curves import BANDS
from cropzoo_plugins.datasets.landscape.land import FINE
from cropzoo_plugins.datasets.landscape.noise import key

SIDE = 256
"""Pixels on a side of a tile: a whole tile of the GeoTIFFs, so that none is compressed twice."""

BLOCK = 64
"""Pixels on a side of what is rendered at once: 27,000 pixels a second with 30 dates; 128 need three times as long."""


class Corner(NamedTuple):
    """The upper left pixel of a tile."""

    row: int
    column: int


_FIRST = Corner(0, 0)


@dataclass(frozen=True)
class Area:
    """Which square of land, and how it is seen.

    Args:
        scene: of any of its blocks; where that lies, its size and its dates are set for each block.
        size: pixels of 10 m on a side.
        label_scale: how many times finer the labels are: 1, 2 or 4.
        origin: x and y of the north-western corner, meters.
        crs: that these are in.
    """

    scene: Scene
    size: int
    label_scale: int
    origin: tuple[float, float]
    crs: str

    @cached_property
    def days(self) -> tuple[int, ...]:
        """Days since 1970-01-01, increasing."""
        year = self.scene.year
        own = key(self.scene.seed, "images", year)
        return tuple(weather.acquisitions(season_of(self.scene), year, own, self.scene.dates).tolist())

    @property
    def corners(self) -> list[Corner]:
        """Of its tiles, in reading order."""
        starts = range(0, self.size, SIDE)
        return [Corner(row, column) for row in starts for column in starts]

    @property
    def across(self) -> int:
        """Tiles in a row, and rows of tiles."""
        return -(-self.size // SIDE)

    def transform(self, scale: int = 1, corner: Corner = _FIRST) -> Affine:
        """Of a raster from this corner on whose pixels are `scale` times finer than 10 m."""
        west, north = self.origin[0] + 10.0 * corner.column, self.origin[1] - 10.0 * corner.row
        return Affine(10.0 / scale, 0.0, west, 0.0, -10.0 / scale, north)

    def block(self, row: int, column: int) -> Scene:
        """The scene of one block, with labels and parcels of single cells of the map of covers."""
        return replace(self.scene, row=row, column=column, size=BLOCK, label_scale=FINE, days=self.days)


class Piece(NamedTuple):
    """What lies of one parcel in one tile: its class index, and a polygon along the cells of the map of covers."""

    parcel: int
    label: int
    polygon: Any


@dataclass(frozen=True)
class Tile:
    """What is in one tile; `h` and `w` are `SIDE` or what is left of it at the edges of the area.

    Args:
        corner: where it lies.
        images: file of (T, C + 1, h, w), uint16: the bands, then the mask. On disk, as many tiles may wait their turn.
        labels: (s h, s w), class index, `s` times finer.
        pieces: of the declared parcels.
    """

    corner: Corner
    images: Path
    labels: NDArray[np.uint8]
    pieces: tuple[Piece, ...]


def make_tile(shared: tuple[Area, Path], corner: Corner) -> Tile:
    """One tile of an area; its images lie in the folder that is `shared` with the area."""
    area, folder = shared
    height, width = (min(SIDE, area.size - start) for start in corner)
    images = np.empty((len(area.days), len(BANDS) + 1, height, width), np.uint16)
    labels = np.empty((FINE * height, FINE * width), np.uint8)
    parcels = np.empty(labels.shape, np.int32)
    for down in range(0, height, BLOCK):
        for right in range(0, width, BLOCK):
            block = render(area.block((corner.row + down) // BLOCK, (corner.column + right) // BLOCK))
            h, w = min(BLOCK, height - down), min(BLOCK, width - right)
            inside = images[..., down : down + h, right : right + w]
            inside[:, :-1], inside[:, -1] = block["series"][..., :h, :w], block["mask"][..., :h, :w]
            fine = np.s_[FINE * down : FINE * (down + h), FINE * right : FINE * (right + w)]
            labels[fine] = block["labels"][: FINE * h, : FINE * w]
            parcels[fine] = block["parcels"][: FINE * h, : FINE * w]
    path = folder / f"tile-{corner.row}-{corner.column}.npy"
    np.save(path, images)
    here = area.transform(FINE, corner)
    return Tile(corner, path, majority(labels, FINE // area.label_scale), tuple(_pieces(parcels, labels, here)))


def majority(labels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """The commonest class of each square of `step` x `step` cells, the lower index on a tie."""
    rows, columns = labels.shape[0] // step, labels.shape[1] // step
    squares = labels.reshape(rows, step, columns, step)
    counts = np.stack([(squares == index).sum(axis=(1, 3)) for index in range(int(labels.max()) + 1)])
    return np.asarray(counts.argmax(axis=0).astype(np.uint8))


def _pieces(parcels: NDArray[np.int32], labels: NDArray[np.uint8], transform: Affine) -> Iterator[Piece]:
    """The outlines; cells that touch at a corner alone are polygons apart, so that each is valid."""
    known, first = np.unique(parcels, return_index=True)
    label_of = dict(zip(known.tolist(), labels.ravel()[first].tolist(), strict=True))
    for outline, value in shapes(parcels, mask=parcels > 0, connectivity=4, transform=transform):
        yield Piece(int(value), label_of[int(value)], shape(outline))
