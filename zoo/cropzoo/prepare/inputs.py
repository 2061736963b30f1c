"""Inputs of a preparation: options, image stacks and parcels, and the parcels and labels of each sample window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.labels import LabelOptions, LabelRaster, bare_ground, rasterize_labels
from cropzoo.data.legend import Legend
from cropzoo.data.sample import IGNORE
from cropzoo.geo.raster.dates import days_since_epoch
from cropzoo.geo.raster.reader import StackReader
from cropzoo.geo.raster.scene import ImageStack
from cropzoo.geo.vector.aoi import AreaOfInterest
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.geo.vector.rasterize import rasterize_centers
from cropzoo.prepare.options import PrepareOptions
from cropzoo.prepare.windows import SampleWindow, find_covered


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of a window by parcel.

    Args:
        parcels: Positions of its parcels in the parcel table, (k,).
        pixels: Number of pixels of each, (k,).
        outside: Number of pixels without a parcel, in the area in which the parcels are complete.
        bare: Number of those in squares without any parcel, see `bare_ground`.
    """

    parcels: NDArray[np.intp]
    pixels: NDArray[np.int64]
    outside: int
    bare: int


@dataclass(frozen=True, eq=False)  # compared by identity, so that readers can be cached for it
class PrepareInputs:
    """Inputs of a preparation.

    Args:
        options: Options of the user.
        stacks: Image stacks.
        parcels: Parcels that intersect the images.
        aoi: Area in which the parcels are complete; None if they are complete everywhere.
    """

    options: PrepareOptions
    stacks: tuple[ImageStack, ...]
    parcels: ParcelTable
    aoi: AreaOfInterest | None = None

    @cached_property
    def years(self) -> dict[int | None, NDArray[np.bool_]]:
        """Mask of the parcels of each harvest year; without a year column, all parcels under None."""
        if not self.options.year_column:
            return {None: np.ones(len(self.parcels), np.bool_)}
        found = np.array(self.parcels.years)
        return {int(year): found == year for year in np.unique(found)}

    @cached_property
    def _tables(self) -> dict[int | None, ParcelTable]:
        """One table per year, which caches itself in the CRS of each stack."""
        return {year: self.parcels.subset(mask) for year, mask in self.years.items()}

    def dates(self, sample: SampleWindow) -> NDArray[np.intp]:
        """Positions of the acquisitions in the season of a sample, (T,)."""
        days = self.stacks[sample.stack].dates
        if sample.year is None:
            return np.arange(len(days))
        first, last = self.options.span(sample.year)
        return np.flatnonzero((days >= days_since_epoch(first)) & (days <= days_since_epoch(last)))

    def open_reader(self, stack: int) -> StackReader:
        """Reader of the images of a stack."""
        return StackReader(self.stacks[stack], clear_scl=self.options.clear_scl, offset=self.options.offset)

    def count_pixels(self, sample: SampleWindow) -> PixelCounts:
        """Pixels of a sample by the parcel at their center: fast, and exact enough for folds and rare classes."""
        table, grid, scale = self._tables[sample.year], self.stacks[sample.stack].grid, self.options.label_scale
        numbers = rasterize_centers(table, grid, sample.window, label_scale=scale)
        own = ~self._covered(sample)
        found, pixels = np.unique(numbers[own], return_counts=True)
        inside = found > 0
        positions = np.flatnonzero(self.years[sample.year])[found[inside] - 1]
        ground = own & (numbers == 0)
        if self.aoi is not None:
            ground &= self.aoi.mask(grid, sample.window, scale)
        bare = int((ground & bare_ground(numbers, scale)).sum())
        return PixelCounts(positions, pixels[inside].astype(np.int64), int(ground.sum()), bare)

    def labels(self, sample: SampleWindow, legend: Legend, hidden: NDArray[np.bool_] | None = None) -> LabelRaster:
        """Classes and parcels of the pixels of a sample; pixels that an earlier tile covers are ignored.

        Args:
            sample: Window of the sample.
            legend: Classes.
            hidden: Parcels whose pixels are ignored, (n,).
        """
        table, grid = self._tables[sample.year], self.stacks[sample.stack].grid
        indices = legend.indices(table.crops)
        if hidden is not None:
            indices[hidden[self.years[sample.year]]] = IGNORE
        options = LabelOptions(
            label_scale=self.options.label_scale,
            conflict=self.options.conflict,
            background=legend.background,
            aoi=self.aoi,
        )
        found = rasterize_labels(table.to_crs(grid.crs), indices, grid, sample.window, options)
        if not sample.earlier:
            return found
        labels = np.where(self._covered(sample), np.uint8(IGNORE), found.labels)
        return replace(found, labels=labels, counts=np.bincount(labels.ravel(), minlength=IGNORE + 1))

    def _covered(self, sample: SampleWindow) -> NDArray[np.bool_]:
        """Label pixels of a sample that an earlier tile covers, (h, w)."""
        scale = self.options.label_scale
        covered = find_covered(sample, [stack.grid for stack in self.stacks])
        return covered.repeat(scale, axis=0).repeat(scale, axis=1)

    def parcel_pixels(self, sample: SampleWindow, labels: LabelRaster) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Positions of the parcels of a sample, (k,), and the number of labeled pixels of each, (k,)."""
        ids, pixels = np.unique(labels.parcels[labels.labels != IGNORE], return_counts=True)
        pixels, ids = pixels[ids > 0], ids[ids > 0]
        own = np.flatnonzero(self.years[sample.year])
        order = np.argsort(self.parcels.ids[own])
        return own[order[np.searchsorted(self.parcels.ids[own][order], ids)]], pixels.astype(np.int64)
