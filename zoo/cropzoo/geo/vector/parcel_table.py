"""Parcel tables: geometry, ids, crops and years of parcels from one file or several."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from cropzoo.geo.vector.fields import Crop
from cropzoo.geo.vector.longitudes import reproject


@dataclass(frozen=True, eq=False)
class ParcelTable:
    """Table of n parcels; every field but the CRS and the counts has one entry per parcel.

    Args:
        geometry: Valid 2D polygons and multi-polygons of shapely, (n,).
        crs: CRS of the geometry (pyproj).
        ids: Parcel ids, (n,), int32, from 1; 1..n in the order of the files unless read from a column.
        crops: Crops, all numbers or all texts; None for a parcel without a crop.
        names: Crop names, empty if unknown.
        years: Harvest years; None without a year column.
        splits: Texts of the split column, empty if the field is empty; None without a split column.
        left_out: Number of shapes near the images that are not polygons.
        repaired: Number of polygons that were invalid, such as self-intersecting ones.
        longitude: Longitude of the images in degrees; polygons in degrees are near it, also beyond 180.
    """

    geometry: NDArray[Any]
    crs: Any
    ids: NDArray[np.int32]
    crops: tuple[Crop, ...]
    names: tuple[str, ...]
    years: tuple[int, ...] | None = None
    splits: tuple[str, ...] | None = None
    left_out: int = 0
    repaired: int = 0
    longitude: float = 0.0
    _projected: dict[Any, ParcelTable] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.geometry)

    def to_crs(self, crs: Any) -> ParcelTable:
        """The same parcels in another CRS (of pyproj, of rasterio, or its name); computed once and cached."""
        if crs not in self._projected:
            found = pyproj.CRS.from_user_input(crs)
            table = self
            if found != self.crs:
                geometry = reproject(self.geometry, self.crs, found, self.longitude)
                table = replace(self, geometry=geometry, crs=found)
            self._projected[crs] = table
        return self._projected[crs]

    def within(self, area: Any) -> NDArray[np.intp]:
        """Positions of the parcels that intersect an area, (k,), increasing.

        Args:
            area: Polygon, its corners, or bounds (west, south, east, north), in the CRS of this table.
        """
        positions: NDArray[np.intp] = np.sort(self._tree.query(_outline(area), predicate="intersects"))
        return positions

    def areas_within(self, area: Any) -> list[tuple[int, float]]:
        """Position and intersected area (squared CRS units) of each parcel that intersects an area (see `within`)."""
        positions = self.within(area)
        covered = shapely.area(shapely.intersection(self.geometry[positions], _outline(area)))
        return list(zip(positions.tolist(), covered.tolist(), strict=True))

    def subset(self, mask: NDArray[Any]) -> ParcelTable:
        """Parcels where a mask (n,) is true, or at positions (k,); they keep their ids."""
        positions = np.arange(len(self))[mask]
        return replace(
            self,
            geometry=self.geometry[positions],
            ids=self.ids[positions],
            crops=tuple(self.crops[i] for i in positions),
            names=tuple(self.names[i] for i in positions),
            years=None if self.years is None else tuple(self.years[i] for i in positions),
            splits=None if self.splits is None else tuple(self.splits[i] for i in positions),
        )

    @property
    def notes(self) -> list[str]:
        """Warnings about these parcels, one sentence each."""
        without = sum(crop is None for crop in self.crops)
        counts = {
            "shape(s) near the images are not polygons and were left out": self.left_out,
            "polygon(s) were invalid and were repaired": self.repaired,
            "parcel(s) have no crop; their pixels are ignored": without,
        }
        return [f"{count} {text}" for text, count in counts.items() if count]

    @cached_property
    def _tree(self) -> Any:
        return shapely.STRtree(self.geometry)


def _outline(area: Any) -> Any:
    if isinstance(area, shapely.Geometry):
        return area
    return shapely.box(*area) if np.ndim(area) == 1 else shapely.Polygon(area)
