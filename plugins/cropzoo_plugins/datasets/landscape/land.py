"""Land cover of a window of the landscape: parcels with crops, villages, forest, roads and hedges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.features import rasterize

from cropzoo_plugins.datasets.landscape.noise import Floats, generator, key, level, smooth_field
from cropzoo_plugins.datasets.landscape.parcels import CELL, ParcelPiece, compute_area, make_cell_pieces

FINE = 4
"""Cells of the land cover map along a pixel of 10 m."""

STEP = 10.0 / FINE
"""Side of a cell of the land cover map in meters."""

GRASS = 9
"""Class of permanent grass, which does not rotate between years."""

_ARABLE = {2: 0.27, 1: 0.21, 6: 0.13, 8: 0.10, 4: 0.10, 3: 0.07, 5: 0.06, 7: 0.06}
"""Shares of arable land by class index: maize, winter wheat, potatoes, beet, barleys, cabbages, legumes."""

MAX_PIECES = 1024
"""Maximum number of pieces of a mesh cell, so that parcel ids of different cells differ."""

_BEND = 8.0
"""Standard deviation in meters of the displacement that bends straight edges."""

_SITES = {"village": 0.2, "wood": 0.22}
"""Shares of mesh cells that have a village or a wood."""

_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Unit:
    """A unit of land with its own spectrum.

    Args:
        cover: Index of a declared class, or name of an undeclared surface.
        label: Class index, 0 if undeclared.
        parcel: Parcel id, 0 if undeclared.
        seed: Seed of the variation between units of the same cover.
    """

    cover: int | str
    label: int
    parcel: int
    seed: int


@dataclass(frozen=True)
class Land:
    """The land cover of a region in one season.

    Args:
        seed: Seed of the geometry and permanent land use of the region.
        season: Number of the year; crops rotate between years.
        cells_across: Number of mesh cells in a row, which determines parcel ids.
        first_parcel: Offset of all parcel ids.
    """

    seed: int
    season: int
    cells_across: int
    first_parcel: int = 0

    def map_window(self, y: Floats, x: Floats) -> tuple[list[Unit], NDArray[np.int64]]:
        """Return the units in a window and the map of their positions in that list.

        Args:
            y: Coordinates in meters, spaced by `STEP`, (R,).
            x: Coordinates in meters, spaced by `STEP`, (C,).

        Returns:
            The units, and the position of the unit of each cell, (R, C).
        """
        units, raster = self._rasterize_pieces(y, x)
        units, raster = self._add_villages(units, raster, y, x)
        present, positions = np.unique(raster, return_inverse=True)
        return [units[i] for i in present], positions.reshape(raster.shape).astype(np.int64)

    def _rasterize_pieces(self, y: Floats, x: Floats) -> tuple[list[Unit], NDArray[np.int32]]:
        reach = round(4 * _BEND / STEP)
        top, left = y[0] - (reach + 0.5) * STEP, x[0] - (reach + 0.5) * STEP
        shape = (len(y) + 2 * reach, len(x) + 2 * reach)
        units = [self._common("verge")]
        shapes = []
        for row in range(int(top // CELL) - 1, int((top + shape[0] * STEP) // CELL) + 2):
            for column in range(int(left // CELL) - 1, int((left + shape[1] * STEP) // CELL) + 2):
                for piece, unit in self.find_cell(row, column):
                    ring = [*piece.polygon.tolist(), piece.polygon[0].tolist()]
                    shapes.append(({"type": "Polygon", "coordinates": [ring]}, len(units)))
                    units.append(unit)
        flat = rasterize(shapes, shape, fill=0, transform=Affine(STEP, 0, left, 0, STEP, top), dtype="int32")
        bend = [_BEND / STEP * smooth_field(key(self.seed, "bend", axis), y, x, 160.0) for axis in "yx"]
        rows = np.rint(np.arange(len(y))[:, None] + bend[0]).astype(int).clip(-reach, len(y) + reach - 1) + reach
        columns = np.rint(np.arange(len(x))[None, :] + bend[1]).astype(int).clip(-reach, len(x) + reach - 1) + reach
        return units, flat[rows, columns]

    def find_cell(self, row: int, column: int) -> list[tuple[ParcelPiece, Unit]]:
        """Return the pieces of a mesh cell with their units in this season."""
        pieces = _permanent_pieces(self.seed, row, column)
        first = generator(self.seed, "rotation", self.season, row, column).random()
        units = []
        for position, (piece, use) in enumerate(pieces):
            if use == "arable":
                crop = _find_crop((first + position * _GOLDEN) % 1.0)
                units.append((piece, self._parcel(crop, row, column, position)))
            elif use == "grass":
                units.append((piece, self._parcel(GRASS, row, column, position)))
            elif piece.role == "field" and use != "village":
                units.append((piece, Unit(use, 0, 0, key(self.seed, "unit", row, column, position, self.season))))
            else:
                units.append((piece, self._common(use)))
        return units

    def _parcel(self, crop: int, row: int, column: int, position: int) -> Unit:
        index = (row + 1) * self.cells_across + column + 1
        number = self.first_parcel + index * MAX_PIECES + position + 1
        return Unit(crop, crop, number, key(self.seed, "unit", row, column, position, self.season))

    def _common(self, cover: str) -> Unit:
        return Unit(cover, 0, 0, key(self.seed, "common", cover, self.season))

    def _add_villages(
        self, units: list[Unit], raster: NDArray[np.int32], y: Floats, x: Floats
    ) -> tuple[list[Unit], NDArray[np.int32]]:
        """Replace the plots of a village with houses, gardens, trees and yards."""
        plots = [position for position, unit in enumerate(units) if unit.cover == "village"]
        inside = np.isin(raster, plots)
        if not inside.any():
            return units, raster
        houses = smooth_field(key(self.seed, "houses"), y, x, 11.0)
        greenery = smooth_field(key(self.seed, "greenery"), y, x, 14.0)
        kinds = ("garden", "roof", "trees", "paved")
        choice = np.select([houses > 0.65, greenery > 1.0, houses < -1.1], [1, 2, 3], default=0)
        return [*units, *(self._common(kind) for kind in kinds)], np.where(inside, len(units) + choice, raster)


@lru_cache(maxsize=1024)
def _permanent_pieces(seed: int, row: int, column: int) -> tuple[tuple[ParcelPiece, str], ...]:
    """Return the pieces of a mesh cell with their permanent land use."""
    rng = generator(seed, "use", row, column)
    pieces = make_cell_pieces(seed, row, column)
    middles = np.stack([piece.polygon.mean(axis=0) for piece in pieces])
    villages, woods = (_find_inside(seed, name, share, row, column, middles) for name, share in _SITES.items())
    valleys = np.diagonal(smooth_field(key(seed, "valley"), middles[:, 1], middles[:, 0], 500.0))
    used = []
    for index, piece in enumerate(pieces):
        if piece.role != "field":
            use = {"road": "paved", "hedge": "trees", "verge": "verge"}[piece.role]
        elif villages[index]:
            use = "village"
        else:
            use = (
                "trees" if woods[index] else _draw_field_use(compute_area(piece.polygon), rng.random(), valleys[index])
            )
        used.append((piece, use))
    return tuple(used)


def _find_inside(seed: int, name: str, share: float, row: int, column: int, middles: Floats) -> NDArray[np.bool_]:
    """Return which of N places (N, 2) are in the village or wood that a `share` of the cells has."""
    rng = generator(seed, name, row, column)
    center = CELL * (np.array([column, row]) + rng.uniform(0.2, 0.8, size=2))
    radius = rng.uniform(90, 240) * rng.uniform(0.8, 1.2, size=len(middles))
    there = level(seed, name, row, column) < share
    return np.asarray(there & (np.hypot(*(middles - center).T) < radius))


def _draw_field_use(size: float, draw: float, valley: float) -> str:
    """Draw the permanent use of a field of `size` square meters; grass is more frequent in valleys."""
    for use, share in (("meadow", 0.07 if size > 5000 else 0.35), ("bare", 0.02), ("water", 0.012), ("trees", 0.03)):
        if draw < share:
            return use
        draw -= share
    return "grass" if draw < np.clip(0.3 + 0.18 * valley, 0.05, 0.7) else "arable"


def _find_crop(share: float) -> int:
    """Return the crop at a position in [0, 1) of the cumulative shares."""
    ends = np.cumsum(list(_ARABLE.values()))
    return list(_ARABLE)[min(int(np.searchsorted(ends, share * ends[-1], side="right")), len(ends) - 1)]
