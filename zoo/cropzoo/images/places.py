"""Which images show one place: footprints that are the same, apart from those that are elsewhere."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform
from shapely import Polygon

from cropzoo.errors import CropzooError
from cropzoo.images.rasters import Grid
from cropzoo.images.scanning import Found

_TOLERANCE = 0.01
"""Share of a pixel by which corners may differ and still be the same."""

_EDGE_POINTS = 21
"""Points along an edge that bend with it in another CRS."""


@dataclass
class Place:
    """The layers of one footprint; `grid` is that of the first."""

    tile: str
    grid: Grid
    found: list[Found] = field(default_factory=list)

    @cached_property
    def pixel(self) -> float:
        """The shorter side of a pixel, in the CRS's units."""
        a, b, _, d, e, _ = tuple(self.grid.transform)[:6]
        return min(math.hypot(a, d), math.hypot(b, e))

    @cached_property
    def outline(self) -> Polygon:
        """The footprint in its CRS, its edges in small steps."""
        corners = np.array(self.grid.corners())
        steps = np.linspace(0, 1, _EDGE_POINTS, endpoint=False)[:, None]
        edges = [
            here + steps * (there - here) for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        ]
        return Polygon(np.concatenate(edges))

    def same(self, grid: Grid) -> bool:
        """Whether a grid, of whatever resolution, covers the same ground to a hundredth of a pixel."""
        if grid is self.grid:
            return True
        tolerance = _TOLERANCE * min(self.pixel, Place("", grid).pixel)
        corners = zip(self.grid.corners(), grid.corners(), strict=True)
        return all(math.dist(*pair) <= tolerance for pair in corners) and bool(self.grid.crs == grid.crs)

    def overlaps(self, other: Place) -> bool:
        """Whether two footprints share ground; those of which one has no CRS cannot be told apart."""
        if self.grid.crs == other.grid.crs:
            theirs = other.outline
            west, south, east, north = self.outline.bounds
            left, bottom, right, top = theirs.bounds
            if left >= east or right <= west or bottom >= north or top <= south:
                return False
        elif not self.grid.crs or not other.grid.crs:
            return True
        else:
            theirs = Polygon(_project(other.outline, other.grid.crs, self.grid.crs))
        shared = self.outline.intersection(theirs) if theirs.is_valid else theirs
        return not shared.buffer(-_TOLERANCE * self.pixel).is_empty


def group_by_place(found: Sequence[Found]) -> list[Place]:
    """The layers by the ground that they cover, in order of the first file.

    Layers with different MGRS tiles in their names are of different places, though tiles of Sentinel-2 overlap.

    Raises:
        CropzooError: footprints that overlap without being the same, and no tile names that tell them apart.
    """
    by_grid: dict[tuple[str, int], Place] = {}
    places: list[Place] = []
    for each in found:
        key = each.tile, id(each.layer.grid)
        if key not in by_grid:
            same = (place for place in places if place.tile == each.tile and place.same(each.layer.grid))
            place = next(same, None) or Place(each.tile, each.layer.grid)
            if not place.found:
                places.append(place)
            by_grid[key] = place
        by_grid[key].found.append(each)
    for one, other in combinations(places, 2):
        if (one.tile == other.tile or not one.tile or not other.tile) and one.overlaps(other):
            raise CropzooError(
                f"images {str(one.found[0].layer.path)!r} and {str(other.found[0].layer.path)!r}; their footprints "
                f"overlap without being the same ({other.grid.difference(one.grid) or 'their tile names differ'}); "
                "warp or clip all images of a place, every band of them, to one footprint, or name files of different "
                "tiles after these, like 'T31UFS_2019-05-16.tif'"
            )
    return places


def name_places(places: Sequence[Place]) -> list[str]:
    """A name for each: its MGRS tile, else the folder that all its files lie in, else its number; all different."""
    wanted = [place.tile or _common_folder(place) for place in places]
    count = Counter(wanted)
    names = []
    for number, (place, name) in enumerate(zip(places, wanted, strict=True), start=1):
        if name and count[name] == 1:
            names.append(name)
        else:
            names.append(f"{place.tile or 'tile'}-{number}")
    return names


def _common_folder(place: Place) -> str:
    folders = {str(found.layer.path.absolute().parent) for found in place.found}
    return Path(os.path.commonpath(folders)).resolve().name


def _project(outline: Polygon, source: Any, target: Any) -> NDArray[np.float64]:
    """The points of an outline in another CRS, (points, 2)."""
    x, y = np.asarray(outline.exterior.coords).T
    return np.array(transform(source, target, x, y)).T
