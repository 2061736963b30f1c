"""Regions of a vector file: which of them contains each pixel of a map, and each point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

from cropzoo.errors import CropzooError, quote, suggest
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.fields import format_field
from cropzoo.geo.vector.layer import find_longitude
from cropzoo.geo.vector.longitudes import in_degrees, join_at_180, reproject
from cropzoo.geo.vector.polygons import extract_polygons
from cropzoo.geo.vector.rasterize import rasterize_shapes, to_cell_shapes
from cropzoo.geo.vector.source import open_source

NAME = "name"
"""Column with the names of regions, unless another one is given."""

OUTSIDE = "outside"
"""Name of the region of what is in no region."""

NOWHERE = -1
"""Index of the region of what is outside all regions."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions such as districts; one may consist of several polygons.

    Args:
        path: Path of the file.
        names: Names of the regions, R.
        geometry: (n,), polygons in the CRS of the grid.
        owner: (n,), int64, index of the region of each polygon.
        grid: Grid of the map.
    """

    path: Path
    names: tuple[str, ...]
    geometry: NDArray[Any]
    owner: NDArray[np.int64]
    grid: Grid

    def rasterize(self, window: Window) -> NDArray[np.int32]:
        """Index of the region that contains the center of each pixel of a window, (h, w); -1 for none.

        Raises:
            CropzooError: Two regions contain the center of one pixel.
        """
        near = np.sort(self._tree.query(shapely.Polygon(self.grid.window_corners(window)), "intersects"))
        shapes = to_cell_shapes(self.geometry[near], (self.owner[near] + 1).tolist(), self.grid, window, 1)
        size = window.height, window.width
        found = rasterize_shapes(shapes, *size)
        if len(set(self.owner[near].tolist())) > 1:
            # Where polygons overlap, the last one wins: another order gives another region.
            other = rasterize_shapes(shapes[::-1], *size)
            row, column = (each[:1] for each in np.nonzero(found != other))
            if len(row):
                raise self._overlap_error(int(found[row, column][0]) - 1, int(other[row, column][0]) - 1)
        return found - 1

    def locate(self, points: NDArray[Any]) -> NDArray[np.int64]:
        """Index of the region that contains each point in the CRS of the grid, (n,); -1 for none.

        Args:
            points: (n,), points of shapely; None is in no region.

        Raises:
            CropzooError: Two regions contain one point.
        """
        position, polygon = self._tree.query(points, "intersects")
        owner = self.owner[polygon]
        interior = shapely.contains_properly(self.geometry[polygon], points[position])
        # A point on the border of two regions belongs to the first of them.
        order = np.lexsort((owner, ~interior, position))
        position, owner, interior = position[order], owner[order], interior[order]
        first = np.diff(position, prepend=-1) > 0
        found = np.full(len(points), NOWHERE, np.int64)
        found[position[first]] = owner[first]
        clash = np.flatnonzero(interior & (owner != found[position]))
        if len(clash):
            raise self._overlap_error(int(owner[clash[0]]), int(found[position[clash[0]]]))
        return found

    def _overlap_error(self, one: int, other: int) -> CropzooError:
        return CropzooError(
            f"regions {str(self.path)!r}; {quote(self.names[one])} and {quote(self.names[other])} overlap, so that a "
            "pixel would count in both; correct the polygons, so that every place is in one region"
        )

    @cached_property
    def _tree(self) -> Any:
        return shapely.STRtree(self.geometry)


def read_regions(path: Path, grid: Grid, column: str = "") -> Regions:
    """Read regions from a vector file; polygons with one name are one region.

    Args:
        path: Path of a file as `open_source` takes it, in any CRS.
        grid: Grid of the map.
        column: Column with the names; "" for the column `name`, or the numbers of the polygons if there is none.

    Raises:
        CropzooError: The file is missing or unreadable, has no CRS, no polygon or not this column, or a name is empty.
    """
    source = open_source(path, what="regions")
    chosen = column or next((each for each in source.columns if each.casefold() == NAME), "")
    if chosen and chosen not in source.columns:
        raise CropzooError(
            f"regions {str(path)!r}; they have no column {chosen!r}; {suggest(chosen, source.columns)}; choose the "
            "column with the names of the regions by --region-column"
        )
    frame = source.read_range(0, source.count, [chosen] if chosen else [])
    shapes = np.array(frame.geometry, object)
    found = extract_polygons(join_at_180(shapes) if in_degrees(source.crs) else shapes)
    if not len(found.geometry):
        raise CropzooError(f"regions {str(path)!r}; the file contains no polygon; give the polygons of the regions")
    try:
        geometry = reproject(found.geometry, source.crs, grid.crs, find_longitude(grid))
    except (CRSError, ProjError) as error:
        raise CropzooError(
            f"regions {str(path)!r}; they cannot be transformed to the CRS of the map ({error}); correct the CRS in "
            "the file"
        ) from error
    geometry = np.array(geometry, object)
    usable = np.isfinite(shapely.bounds(geometry)).all(axis=1)  # others are outside the domain of the map's CRS
    values = frame[chosen].tolist() if chosen else range(1, len(frame) + 1)
    texts = _read_names([format_field(values[position]) for position in found.kept], path, chosen)
    names = tuple(dict.fromkeys(texts))
    number = {name: index for index, name in enumerate(names)}
    owner = np.array([number[text] for text in texts], np.int64)
    return Regions(path, names, geometry[usable], owner[usable], grid)


def _read_names(texts: Sequence[str], path: Path, column: str) -> Sequence[str]:
    if not all(texts):
        raise CropzooError(
            f"regions {str(path)!r}; column {column!r} has empty fields; give every region a name, or choose another "
            "column by --region-column"
        )
    return texts
