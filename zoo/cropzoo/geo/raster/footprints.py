"""Footprints: band files grouped by the area that they cover."""

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
from cropzoo.geo.raster.grid import Grid
from cropzoo.geo.raster.scan import FoundBand

_TOLERANCE = 0.01
"""Fraction of a pixel by which the corners of equal footprints may differ."""

_EDGE_POINTS = 21
"""Points along an edge, which bends in another CRS."""


@dataclass
class Footprint:
    """Area covered by one tile, and the band files that cover it.

    Args:
        tile: MGRS tile, "" if unknown.
        grid: Grid of the first band file.
        bands: Band files in the order in which they were found.
    """

    tile: str
    grid: Grid
    bands: list[FoundBand] = field(default_factory=list)

    @cached_property
    def pixel_size(self) -> float:
        """Shorter side of a pixel, in CRS units."""
        a, b, _, d, e, _ = tuple(self.grid.transform)[:6]
        return min(math.hypot(a, d), math.hypot(b, e))

    @cached_property
    def outline(self) -> Polygon:
        """Outline in the CRS of the grid, its edges in small steps."""
        corners = np.array(self.grid.corners())
        steps = np.linspace(0, 1, _EDGE_POINTS, endpoint=False)[:, None]
        edges = [
            here + steps * (there - here) for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        ]
        return Polygon(np.concatenate(edges))

    def matches(self, grid: Grid) -> bool:
        """Whether a grid of any resolution covers the same area, to a hundredth of a pixel."""
        if grid is self.grid:
            return True
        tolerance = _TOLERANCE * min(self.pixel_size, Footprint("", grid).pixel_size)
        corners = zip(self.grid.corners(), grid.corners(), strict=True)
        return all(math.dist(*pair) <= tolerance for pair in corners) and bool(self.grid.crs == grid.crs)

    def overlaps(self, other: Footprint) -> bool:
        """Whether two footprints overlap; true if only one of them has a CRS, as they cannot be compared."""
        if self.grid.crs == other.grid.crs:
            other_outline = other.outline
            west, south, east, north = self.outline.bounds
            left, bottom, right, top = other_outline.bounds
            if left >= east or right <= west or bottom >= north or top <= south:
                return False
        elif not self.grid.crs or not other.grid.crs:
            return True
        else:
            other_outline = Polygon(_project(other.outline, other.grid.crs, self.grid.crs))
        shared = self.outline.intersection(other_outline) if other_outline.is_valid else other_outline
        return not shared.buffer(-_TOLERANCE * self.pixel_size).is_empty


def group_by_footprint(found: Sequence[FoundBand]) -> list[Footprint]:
    """Footprints of band files, in the order of their first file.

    Files with different MGRS tiles in their names have different footprints, although Sentinel-2 tiles overlap.

    Raises:
        CropzooError: Footprints that overlap without being equal, and no tile names that distinguish them.
    """
    by_grid: dict[tuple[str, int], Footprint] = {}
    footprints: list[Footprint] = []
    for each in found:
        key = each.tile, id(each.band.grid)
        if key not in by_grid:
            equal = (known for known in footprints if known.tile == each.tile and known.matches(each.band.grid))
            footprint = next(equal, None) or Footprint(each.tile, each.band.grid)
            if not footprint.bands:
                footprints.append(footprint)
            by_grid[key] = footprint
        by_grid[key].bands.append(each)
    for one, other in combinations(footprints, 2):
        if (one.tile == other.tile or not one.tile or not other.tile) and one.overlaps(other):
            raise CropzooError(
                f"images {str(one.bands[0].band.path)!r} and {str(other.bands[0].band.path)!r}; their footprints "
                f"overlap without being equal ({other.grid.difference(one.grid) or 'their tile names differ'}); "
                "warp or clip all images of an area, with all their bands, to one footprint, or add the MGRS tile to "
                "the names of files of different tiles, like 'T31UFS_2019-05-16.tif'"
            )
    return footprints


def name_footprints(footprints: Sequence[Footprint]) -> list[str]:
    """Unique name of each footprint: its MGRS tile, else the common folder of its files, else its number."""
    wanted = [footprint.tile or _common_folder(footprint) for footprint in footprints]
    count = Counter(wanted)
    names = []
    for number, (footprint, name) in enumerate(zip(footprints, wanted, strict=True), start=1):
        if name and count[name] == 1:
            names.append(name)
        else:
            names.append(f"{footprint.tile or 'tile'}-{number}")
    return names


def _common_folder(footprint: Footprint) -> str:
    folders = {str(found.band.path.absolute().parent) for found in footprint.bands}
    return Path(os.path.commonpath(folders)).resolve().name


def _project(outline: Polygon, source: Any, target: Any) -> NDArray[np.float64]:
    """Points of an outline in another CRS, (points, 2)."""
    x, y = np.asarray(outline.exterior.coords).T
    return np.array(transform(source, target, x, y)).T
