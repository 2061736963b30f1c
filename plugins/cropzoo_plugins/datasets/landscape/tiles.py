"""A square area of the landscape in one season with common dates, generated in tiles."""

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
from cropzoo_plugins.datasets.landscape.blocks import Scene, render_block, season_seed
from cropzoo_plugins.datasets.landscape.curves import BANDS
from cropzoo_plugins.datasets.landscape.land import FINE
from cropzoo_plugins.datasets.landscape.noise import key

SIDE = 256
"""Side of a tile in pixels: one tile of the GeoTIFF, so that none is compressed twice."""

BLOCK = 64
"""Side of a rendered block in pixels: 27,000 pixels per second with 30 dates; 128 take three times as long."""


class TileCorner(NamedTuple):
    """Upper left pixel of a tile."""

    row: int
    column: int


_FIRST = TileCorner(0, 0)


@dataclass(frozen=True)
class LandscapeArea:
    """Parameters of a square area.

    Args:
        scene: Scene of any block; its position, size and dates are replaced for each block.
        size: Side of the area in pixels of 10 m.
        label_scale: Ratio of the label resolution to 10 m: 1, 2 or 4.
        origin: x and y of the north-western corner in meters.
        crs: CRS of the coordinates.
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
        return tuple(weather.draw_dates(season_seed(self.scene), year, own, self.scene.dates).tolist())

    @property
    def corners(self) -> list[TileCorner]:
        """Corners of the tiles in reading order."""
        starts = range(0, self.size, SIDE)
        return [TileCorner(row, column) for row in starts for column in starts]

    @property
    def across(self) -> int:
        """Number of tiles in a row, and of rows of tiles."""
        return -(-self.size // SIDE)

    def transform(self, scale: int = 1, corner: TileCorner = _FIRST) -> Affine:
        """Return the transform of a raster that starts at a corner, with pixels `scale` times finer than 10 m."""
        west, north = self.origin[0] + 10.0 * corner.column, self.origin[1] - 10.0 * corner.row
        return Affine(10.0 / scale, 0.0, west, 0.0, -10.0 / scale, north)

    def block(self, row: int, column: int) -> Scene:
        """Return the scene of a block, with labels and parcels at the resolution of the land cover map."""
        return replace(self.scene, row=row, column=column, size=BLOCK, label_scale=FINE, days=self.days)


class LandscapePiece(NamedTuple):
    """Part of a parcel in a tile: parcel id, class index, and polygon along the cells of the land cover map."""

    parcel: int
    label: int
    polygon: Any


@dataclass(frozen=True)
class LandscapeTile:
    """Content of a tile; `h` and `w` are `SIDE`, or less at the edges of the area.

    Args:
        corner: Upper left pixel of the tile.
        images: File of the bands and the mask, (T, C + 1, h, w), uint16; on disk, because many tiles can be queued.
        labels: Class indices, `s` times finer, (s h, s w).
        pieces: Pieces of the declared parcels.
    """

    corner: TileCorner
    images: Path
    labels: NDArray[np.uint8]
    pieces: tuple[LandscapePiece, ...]


def make_tile(shared: tuple[LandscapeArea, Path], corner: TileCorner) -> LandscapeTile:
    """Generate a tile of an area; `shared` is the area and the folder of the images."""
    area, folder = shared
    height, width = (min(SIDE, area.size - start) for start in corner)
    images = np.empty((len(area.days), len(BANDS) + 1, height, width), np.uint16)
    labels = np.empty((FINE * height, FINE * width), np.uint8)
    parcels = np.empty(labels.shape, np.int32)
    for down in range(0, height, BLOCK):
        for right in range(0, width, BLOCK):
            block = render_block(area.block((corner.row + down) // BLOCK, (corner.column + right) // BLOCK))
            h, w = min(BLOCK, height - down), min(BLOCK, width - right)
            inside = images[..., down : down + h, right : right + w]
            inside[:, :-1], inside[:, -1] = block["series"][..., :h, :w], block["mask"][..., :h, :w]
            fine = np.s_[FINE * down : FINE * (down + h), FINE * right : FINE * (right + w)]
            labels[fine] = block["labels"][: FINE * h, : FINE * w]
            parcels[fine] = block["parcels"][: FINE * h, : FINE * w]
    path = folder / f"tile-{corner.row}-{corner.column}.npy"
    np.save(path, images)
    here = area.transform(FINE, corner)
    return LandscapeTile(
        corner, path, find_majority(labels, FINE // area.label_scale), tuple(_find_pieces(parcels, labels, here))
    )


def find_majority(labels: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Return the most frequent class of each square of `step` x `step` cells, the lower index in a tie."""
    rows, columns = labels.shape[0] // step, labels.shape[1] // step
    squares = labels.reshape(rows, step, columns, step)
    counts = np.stack([(squares == index).sum(axis=(1, 3)) for index in range(int(labels.max()) + 1)])
    return np.asarray(counts.argmax(axis=0).astype(np.uint8))


def _find_pieces(parcels: NDArray[np.int32], labels: NDArray[np.uint8], transform: Affine) -> Iterator[LandscapePiece]:
    """Yield the outlines of parcels; cells that touch only at a corner are separate polygons, so that each is valid."""
    known, first = np.unique(parcels, return_index=True)
    label_of = dict(zip(known.tolist(), labels.ravel()[first].tolist(), strict=True))
    for outline, value in shapes(parcels, mask=parcels > 0, connectivity=4, transform=transform):
        yield LandscapePiece(int(value), label_of[int(value)], shape(outline))
