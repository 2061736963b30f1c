"""What covers a window of the landscape: parcels with their crops, villages, forest, roads and hedges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.features import rasterize

from cropzoo_plugins.datasets.landscape.noise import Floats, generator, key, level, smooth_field
from cropzoo_plugins.datasets.landscape.parcels import CELL, Piece, area, cell_pieces

FINE = 4
"""Cells of the map of covers along a pixel of 10 m."""

STEP = 10.0 / FINE
"""Side of such a cell, meters."""

GRASS = 9
"""The class of permanent grass, which stays where it is from year to year."""

_ARABLE = {2: 0.27, 1: 0.21, 6: 0.13, 8: 0.10, 4: 0.10, 3: 0.07, 5: 0.06, 7: 0.06}
"""Shares of arable land by class index: maize, winter wheat, potatoes, beet, the barleys, cabbages, legumes."""

PIECES = 1024
"""More than a cell of the mesh ever holds, so that parcel ids of different cells differ."""

_BEND = 8.0
"""Standard deviation of the shift that bends straight edges, meters; it reaches three times as far."""

_SITES = {"village": 0.2, "wood": 0.22}
"""Shares of the cells of the mesh that have one."""

_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Unit:
    """One thing with a spectrum of its own.

    Args:
        cover: index of a declared class, or the name of a surface that nobody declares.
        label: class index, 0 where nothing is declared.
        parcel: id, 0 where nothing is declared.
        seed: of all that makes it differ from others of its cover.
    """

    cover: int | str
    label: int
    parcel: int
    seed: int


@dataclass(frozen=True)
class Land:
    """One region in one season.

    Args:
        seed: of the region: geometry and lasting use.
        season: a number of its own for each year; crops rotate from one to the next.
        cells_across: cells of the mesh along a row, which numbers the parcels.
        first_parcel: added to all parcel ids.
    """

    seed: int
    season: int
    cells_across: int
    first_parcel: int = 0

    def window(self, y: Floats, x: Floats) -> tuple[list[Unit], NDArray[np.int64]]:
        """The units around here and the map of their positions in that list.

        Args:
            y: meters, equally spaced by `STEP`, (R,).
            x: meters, equally spaced by `STEP`, (C,).

        Returns:
            The units, and (R, C) positions among them.
        """
        units, raster = self._pieces(y, x)
        units, raster = self._villages(units, raster, y, x)
        present, positions = np.unique(raster, return_inverse=True)
        return [units[i] for i in present], positions.reshape(raster.shape).astype(np.int64)

    def _pieces(self, y: Floats, x: Floats) -> tuple[list[Unit], NDArray[np.int32]]:
        reach = round(4 * _BEND / STEP)
        top, left = y[0] - (reach + 0.5) * STEP, x[0] - (reach + 0.5) * STEP
        shape = (len(y) + 2 * reach, len(x) + 2 * reach)
        units = [self._common("verge")]
        shapes = []
        for row in range(int(top // CELL) - 1, int((top + shape[0] * STEP) // CELL) + 2):
            for column in range(int(left // CELL) - 1, int((left + shape[1] * STEP) // CELL) + 2):
                for piece, unit in self.cell(row, column):
                    ring = [*piece.polygon.tolist(), piece.polygon[0].tolist()]
                    shapes.append(({"type": "Polygon", "coordinates": [ring]}, len(units)))
                    units.append(unit)
        flat = rasterize(shapes, shape, fill=0, transform=Affine(STEP, 0, left, 0, STEP, top), dtype="int32")
        bend = [_BEND / STEP * smooth_field(key(self.seed, "bend", axis), y, x, 160.0) for axis in "yx"]
        rows = np.rint(np.arange(len(y))[:, None] + bend[0]).astype(int).clip(-reach, len(y) + reach - 1) + reach
        columns = np.rint(np.arange(len(x))[None, :] + bend[1]).astype(int).clip(-reach, len(x) + reach - 1) + reach
        return units, flat[rows, columns]

    def cell(self, row: int, column: int) -> list[tuple[Piece, Unit]]:
        """The pieces of one cell of the mesh and what they are this season."""
        pieces = _lasting_pieces(self.seed, row, column)
        first = generator(self.seed, "rotation", self.season, row, column).random()
        units = []
        for position, (piece, use) in enumerate(pieces):
            if use == "arable":
                crop = _crop_at((first + position * _GOLDEN) % 1.0)
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
        number = self.first_parcel + index * PIECES + position + 1
        return Unit(crop, crop, number, key(self.seed, "unit", row, column, position, self.season))

    def _common(self, cover: str) -> Unit:
        return Unit(cover, 0, 0, key(self.seed, "common", cover, self.season))

    def _villages(
        self, units: list[Unit], raster: NDArray[np.int32], y: Floats, x: Floats
    ) -> tuple[list[Unit], NDArray[np.int32]]:
        """Houses, gardens, trees and yards in place of the plots of a village."""
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
def _lasting_pieces(seed: int, row: int, column: int) -> tuple[tuple[Piece, str], ...]:
    """The pieces of a cell with the use that they keep from year to year."""
    rng = generator(seed, "use", row, column)
    pieces = cell_pieces(seed, row, column)
    middles = np.stack([piece.polygon.mean(axis=0) for piece in pieces])
    villages, woods = (_near(seed, name, share, row, column, middles) for name, share in _SITES.items())
    valleys = np.diagonal(smooth_field(key(seed, "valley"), middles[:, 1], middles[:, 0], 500.0))
    used = []
    for index, piece in enumerate(pieces):
        if piece.role != "field":
            use = {"road": "paved", "hedge": "trees", "verge": "verge"}[piece.role]
        elif villages[index]:
            use = "village"
        else:
            use = "trees" if woods[index] else _field_use(area(piece.polygon), rng.random(), valleys[index])
        used.append((piece, use))
    return tuple(used)


def _near(seed: int, name: str, share: float, row: int, column: int, middles: Floats) -> NDArray[np.bool_]:
    """Which places (N, 2) lie around the middle of the village, or the wood, that this `share` of cells has."""
    rng = generator(seed, name, row, column)
    center = CELL * (np.array([column, row]) + rng.uniform(0.2, 0.8, size=2))
    radius = rng.uniform(90, 240) * rng.uniform(0.8, 1.2, size=len(middles))
    there = level(seed, name, row, column) < share
    return np.asarray(there & (np.hypot(*(middles - center).T) < radius))


def _field_use(size: float, draw: float, valley: float) -> str:
    """The lasting use of a field of `size` square meters; grass is commoner in valleys."""
    for use, share in (("meadow", 0.07 if size > 5000 else 0.35), ("bare", 0.02), ("water", 0.012), ("trees", 0.03)):
        if draw < share:
            return use
        draw -= share
    return "grass" if draw < np.clip(0.3 + 0.18 * valley, 0.05, 0.7) else "arable"


def _crop_at(share: float) -> int:
    """The class at this place in [0, 1) of the shares laid end to end."""
    ends = np.cumsum(list(_ARABLE.values()))
    return list(_ARABLE)[min(int(np.searchsorted(ends, share * ends[-1], side="right")), len(ends) - 1)]
