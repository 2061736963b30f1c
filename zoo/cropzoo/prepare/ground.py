"""Images and parcels of a preparation: which dates, parcels and pixels a sample has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cropzoo.images.layers import Tile
from cropzoo.parcels.burning import centres
from cropzoo.parcels.classes import Legend
from cropzoo.parcels.rasterising import Labels, rasterise
from cropzoo.parcels.table import ParcelTable
from cropzoo.prepare.options import Options
from cropzoo.prepare.windows import Place
from cropzoo.samples import IGNORE

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Counted:
    """Pixels of a place: positions of its parcels among all, (k,), how many each has, (k,), and how many none has."""

    parcels: NDArray[np.intp]
    pixels: NDArray[np.int64]
    outside: int


@dataclass(frozen=True, eq=False)  # one equals itself alone, so that readers can be kept for it
class Ground:
    """What a preparation starts from.

    Args:
        options: what was asked for.
        tiles: the images.
        parcels: those that touch the images.
    """

    options: Options
    tiles: tuple[Tile, ...]
    parcels: ParcelTable

    @cached_property
    def years(self) -> dict[int | None, NDArray[np.bool_]]:
        """Which parcels are of which harvest year; all of them of None without a column of years."""
        if not self.options.year_column:
            return {None: np.ones(len(self.parcels), np.bool_)}
        found = np.array(self.parcels.years)
        return {int(year): found == year for year in np.unique(found)}

    @cached_property
    def _of_year(self) -> dict[int | None, ParcelTable]:
        """One table a year, which keeps itself in the CRS of each tile."""
        return {year: self.parcels.subset(mask) for year, mask in self.years.items()}

    def dates(self, place: Place) -> NDArray[np.intp]:
        """Positions of the acquisitions of a place's season, (T,)."""
        days = self.tiles[place.tile].dates
        if place.year is None:
            return np.arange(len(days))
        first, last = self.options.span(place.year)
        return np.flatnonzero((days >= (first - EPOCH).days) & (days <= (last - EPOCH).days))

    def centres(self, place: Place) -> Counted:
        """Whose the centres of a place's pixels are: quick, and near enough to deal folds and to know rare classes."""
        table, grid, scale = self._of_year[place.year], self.tiles[place.tile].grid, self.options.label_scale
        found, pixels = np.unique(centres(table, grid, place.window, label_scale=scale), return_counts=True)
        inside = found > 0
        positions = np.flatnonzero(self.years[place.year])[found[inside] - 1]
        return Counted(positions, pixels[inside].astype(np.int64), int(pixels[~inside].sum()))

    def labels(self, place: Place, legend: Legend, hidden: NDArray[np.bool_] | None = None) -> Labels:
        """Classes and parcels of the pixels of a place; those of `hidden` parcels (n,) are ignored."""
        table, grid = self._of_year[place.year], self.tiles[place.tile].grid
        indices = legend.indices(table.crops)
        if hidden is not None:
            indices[hidden[self.years[place.year]]] = IGNORE
        return rasterise(
            table.to_crs(grid.crs),
            indices,
            grid,
            place.window,
            label_scale=self.options.label_scale,
            conflict=self.options.conflict,
            background=legend.background,
        )

    def parcel_pixels(self, place: Place, labels: Labels) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Positions of the parcels of a place, (k,), and how many of its pixels count for each, (k,)."""
        ids, pixels = np.unique(labels.parcels[labels.labels != IGNORE], return_counts=True)
        pixels, ids = pixels[ids > 0], ids[ids > 0]
        own = np.flatnonzero(self.years[place.year])
        order = np.argsort(self.parcels.ids[own])
        return own[order[np.searchsorted(self.parcels.ids[own][order], ids)]], pixels.astype(np.int64)
