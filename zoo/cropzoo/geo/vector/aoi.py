"""Area of interest: the polygons of a file, as a window and mask of a grid."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window, format_crs
from cropzoo.geo.vector.layer import describe_grid_extent, find_longitude
from cropzoo.geo.vector.longitudes import describe_bounds, in_degrees, join_at_180, reproject
from cropzoo.geo.vector.polygons import extract_polygons
from cropzoo.geo.vector.rasterize import rasterize_shapes, split_rows, to_cell_shapes
from cropzoo.geo.vector.source import open_source

_OUTLINE_POINTS = 400
"""Points along an outline before it is projected; a straight edge bends in another CRS."""


@dataclass(frozen=True, eq=False)
class AreaOfInterest:
    """Polygons of a file; a pixel or cell is inside if its center is.

    Args:
        path: Path of the file.
        geometry: Valid polygons and multi-polygons, (n,), n at least 1.
        crs: CRS of the geometry.
    """

    path: Path
    geometry: NDArray[Any]
    crs: Any

    @cached_property
    def digest(self) -> str:
        """SHA-256 of geometry and CRS."""
        found = hashlib.sha256(str(self.crs.to_wkt()).encode())
        for shape in shapely.to_wkb(self.geometry):
            found.update(shape)
        return found.hexdigest()

    def window(self, grid: Grid) -> Window:
        """Smallest window of a grid that contains every pixel that the area intersects.

        Raises:
            CropzooError: Area and grid do not overlap, or the grid has no CRS.
        """
        self.check_overlap([grid])
        west, south, east, north = self._on(grid).bounds
        a, b, c, d, e, f = tuple(grid.transform)[:6]
        corners = np.array([(west, south), (west, north), (east, south), (east, north)])
        columns, rows = np.linalg.inv(np.array([[a, b], [d, e]])) @ (corners - (c, f)).T
        top, left = max(0, math.floor(rows.min())), max(0, math.floor(columns.min()))
        bottom, right = min(grid.height, math.ceil(rows.max())), min(grid.width, math.ceil(columns.max()))
        return Window(top, left, max(1, bottom - top), max(1, right - left))

    def mask(self, grid: Grid, window: Window, scale: int = 1) -> NDArray[np.bool_]:
        """Cells of a window of a grid that are inside the area, (h * scale, w * scale); independent of the window.

        Args:
            grid: Grid of the image; it need not overlap the area.
            window: Window of the grid, in pixels.
            scale: Cells per pixel and axis.

        Raises:
            CropzooError: The grid has no CRS.
        """
        part = self._on(grid)
        pieces = shapely.get_parts(part)
        shapely.prepare(part)
        rows = []
        for strip in split_rows(window, scale):
            outline = shapely.Polygon(grid.window_corners(strip))
            size = strip.height * scale, strip.width * scale
            if part.contains_properly(outline):
                rows.append(np.ones(size, np.bool_))
            elif not part.intersects(outline):
                rows.append(np.zeros(size, np.bool_))
            else:
                # Complete polygons: clipped to the window, they would have corners that depend on it.
                near = pieces[shapely.intersects(pieces, outline)]
                shapes = to_cell_shapes(near, [1] * len(near), grid, strip, scale)
                rows.append(rasterize_shapes(shapes, *size) > 0)
        return np.concatenate(rows)

    def check_overlap(self, grids: Sequence[Grid]) -> None:
        """Check that the area overlaps at least one grid.

        Raises:
            CropzooError: It overlaps none, or a grid has no CRS.
        """
        if all(self._on(grid).is_empty for grid in grids):
            raise CropzooError(
                f"area {str(self.path)!r}; it covers {self._extent()}, the images cover "
                f"{describe_grid_extent(grids)}, and they do not overlap; "
                "use an area within the images, or correct the CRS of either"
            )

    def _on(self, grid: Grid) -> Any:
        """Part of the area on a grid, in its CRS, as one polygon or multi-polygon; empty if they do not overlap."""
        key = (grid.height, grid.width, tuple(grid.transform)[:6], format_crs(grid.crs))
        if key not in self._clipped:
            self._clipped[key] = self._clip(grid)
        return self._clipped[key]

    @cached_property
    def _clipped(self) -> dict[Any, Any]:
        return {}

    def _clip(self, grid: Grid) -> Any:
        if not grid.crs:
            raise CropzooError(
                f"area {str(self.path)!r}; the images have no CRS, so it cannot be placed on them; add the CRS to "
                "the images"
            )
        try:
            shapes = self._projected(grid.crs, find_longitude(grid))
        except (CRSError, ProjError) as error:
            raise CropzooError(
                f"area {str(self.path)!r}; it cannot be transformed to the CRS of the images ({error}); correct the "
                "CRS in the file"
            ) from error
        frame = shapely.Polygon(grid.corners())
        # One pixel more than the grid: a clipping edge must not run through the center of a pixel.
        margin = math.sqrt(frame.area / (grid.height * grid.width))
        found = extract_polygons(
            np.array([shapely.union_all(shapes).intersection(frame.buffer(margin))], object)
        ).geometry
        overlap = len(found) and found[0].intersects(frame.buffer(-margin * 1e-6))
        return found[0] if overlap else shapely.Polygon()

    def _projected(self, crs: Any, longitude: float) -> NDArray[Any]:
        shapes = self.geometry
        if not pyproj.CRS.from_user_input(crs).equals(self.crs, ignore_axis_order=True):
            shapes = shapely.segmentize(shapes, shapely.length(shapes).max() / _OUTLINE_POINTS)
        shapes = reproject(shapes, self.crs, crs, longitude)
        # Far from the images a projection may yield no coordinates, or flip a polygon.
        return extract_polygons(shapes).geometry

    def _extent(self) -> str:
        return describe_bounds(shapely.total_bounds(reproject(self.geometry, self.crs, "EPSG:4326")))


def read_aoi(path: Path) -> AreaOfInterest:
    """Area of interest in a vector file such as a GeoPackage, GeoJSON or shapefile.

    Args:
        path: Path of a file as `open_source` takes it.

    Raises:
        CropzooError: The file is missing, unreadable, or has several layers, no CRS or no polygon.
    """
    source = open_source(path, what="area", encoding="latin-1")  # reads any texts, of which none is used
    shapes = np.array(source.read_range(0, source.count, ()).geometry, object)
    shapes = extract_polygons(join_at_180(shapes) if in_degrees(source.crs) else shapes).geometry
    if not len(shapes):
        raise CropzooError(f"area {str(path)!r}; it contains no polygon; draw the area as polygons")
    return AreaOfInterest(path, shapes, source.crs)
