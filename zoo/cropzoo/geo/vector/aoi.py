"""The area to map: polygons of a file, laid on the map's grid."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj.exceptions import CRSError, ProjError

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window, format_crs
from cropzoo.geo.vector.rasterize import rasterize_shapes, split_rows, to_cell_shapes
from cropzoo.geo.vector.reader import describe_grid_extent, extract_polygons

_PIECES = 400
"""Points along an outline before it is projected: a straight edge bends in another CRS."""


@dataclass(frozen=True, eq=False)
class AreaOfInterest:
    """Polygons; a pixel belongs to them if its center does.

    Args:
        path: of the file.
        geometry: (n,) objects, valid polygons and multi-polygons, n at least 1.
        crs: theirs.
    """

    path: Path
    geometry: NDArray[Any]
    crs: Any

    @cached_property
    def digest(self) -> str:
        """SHA-256 of outline and CRS."""
        found = hashlib.sha256(str(self.crs.to_wkt()).encode())
        for shape in shapely.to_wkb(self.geometry):
            found.update(shape)
        return found.hexdigest()

    def window(self, grid: Grid) -> Window:
        """The smallest window of a grid that holds every pixel that the area touches.

        Raises:
            CropzooError: naming the file and both extents: they have no ground in common, or the grid has no CRS.
        """
        west, south, east, north = self._on(grid).bounds
        a, b, c, d, e, f = tuple(grid.transform)[:6]
        corners = np.array([(west, south), (west, north), (east, south), (east, north)])
        columns, rows = np.linalg.inv(np.array([[a, b], [d, e]])) @ (corners - (c, f)).T
        top, left = max(0, math.floor(rows.min())), max(0, math.floor(columns.min()))
        bottom, right = min(grid.height, math.ceil(rows.max())), min(grid.width, math.ceil(columns.max()))
        return Window(top, left, max(1, bottom - top), max(1, right - left))

    def mask(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window of a grid belong to the area, (h, w); the same in every window.

        Raises:
            CropzooError: as `window`.
        """
        part = self._on(grid)
        pieces = shapely.get_parts(part)
        shapely.prepare(part)
        rows = []
        for strip in split_rows(window, 1):
            outline = _outline(grid, strip)
            if part.contains_properly(outline):
                rows.append(np.ones((strip.height, strip.width), np.bool_))
            elif not part.intersects(outline):
                rows.append(np.zeros((strip.height, strip.width), np.bool_))
            else:
                # Whole pieces: cut at the window they would have corners that depend on it.
                near = pieces[shapely.intersects(pieces, outline)]
                shapes = to_cell_shapes(near, [1] * len(near), grid, strip, 1)
                rows.append(rasterize_shapes(shapes, strip.height, strip.width) > 0)
        return np.concatenate(rows)

    def _on(self, grid: Grid) -> Any:
        """What of the area lies on a grid, in its CRS, as one polygon or multi-polygon."""
        key = (grid.height, grid.width, tuple(grid.transform)[:6], format_crs(grid.crs))
        if key not in self._laid:
            self._laid[key] = self._lay(grid)
        return self._laid[key]

    @cached_property
    def _laid(self) -> dict[Any, Any]:
        return {}

    def _lay(self, grid: Grid) -> Any:
        if not grid.crs:
            raise CropzooError(
                f"area {str(self.path)!r}; the images have no CRS, so that it cannot be laid on them; write the CRS "
                "into the images"
            )
        try:
            shapes = self._projected(grid.crs)
        except (CRSError, ProjError) as error:
            raise CropzooError(
                f"area {str(self.path)!r}; its CRS and that of the images cannot be brought together ({error}); write "
                "the right CRS into the file"
            ) from error
        frame = _outline(grid, Window(0, 0, grid.height, grid.width))
        # One pixel more than the grid: an edge of what is cut off must not lie on the center of a pixel.
        margin = math.sqrt(frame.area / (grid.height * grid.width))
        found = extract_polygons(
            np.array([shapely.union_all(shapes).intersection(frame.buffer(margin))], object)
        ).geometry
        if not len(found) or not found[0].intersects(frame.buffer(-margin * 1e-6)):
            raise CropzooError(
                f"area {str(self.path)!r}; it covers {self._extent()}, the images cover "
                f"{describe_grid_extent([grid])}, and they have no ground in common; "
                "give an area at the images, or correct the CRS of either"
            )
        return found[0]

    def _projected(self, crs: Any) -> NDArray[Any]:
        shapes = self.geometry
        if not pyproj.CRS.from_user_input(crs).equals(self.crs, ignore_axis_order=True):
            shapes = shapely.segmentize(shapes, shapely.length(shapes).max() / _PIECES)
            shapes = geopandas.GeoSeries(shapes, crs=self.crs).to_crs(crs).to_numpy()
        # Far from the images a projection may have no numbers, or turn a polygon over.
        return extract_polygons(shapes).geometry

    def _extent(self) -> str:
        bounds = geopandas.GeoSeries(self.geometry, crs=self.crs).to_crs("EPSG:4326").total_bounds
        west, south, east, north = bounds
        return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"


def read_aoi(path: Path) -> AreaOfInterest:
    """The polygons of a file that pyogrio reads, such as a GeoPackage, GeoJSON or shapefile.

    Raises:
        CropzooError: naming the file: missing, unreadable, several layers, no CRS, no polygon.
    """
    if not path.exists():
        raise CropzooError(f"area {str(path)!r}; there is no such file; check its name")
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if len(layers) != 1:
            what = f"{len(layers)} layers with geometries ({', '.join(layers)})" if layers else "no geometries"
            raise CropzooError(f"area {str(path)!r}; it has {what}; write the polygons to a file of one layer")
        frame = pyogrio.read_dataframe(path, layer=layers[0], columns=[])
        if frame.crs is None:
            raise CropzooError(f"area {str(path)!r}; it has no CRS; write it into the file")
        shapes = extract_polygons(np.array(frame.geometry, object)).geometry
    except (DataSourceError, DataLayerError, UnicodeDecodeError, shapely.errors.ShapelyError) as error:
        raise CropzooError(
            f"area {str(path)!r}; the file cannot be read as vector data; write it as a GeoPackage, GeoJSON or "
            "shapefile"
        ) from error
    if not len(shapes):
        raise CropzooError(f"area {str(path)!r}; it holds no polygon; draw the area as polygons")
    return AreaOfInterest(path, shapes, frame.crs)


def _outline(grid: Grid, window: Window) -> Any:
    row, column, height, width = window
    ends = ((row, column), (row, column + width), (row + height, column + width), (row + height, column))
    return shapely.Polygon([grid.locate(*end) for end in ends])
