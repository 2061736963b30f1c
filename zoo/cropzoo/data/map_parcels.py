"""Parcels of a file on a map: their polygons in its CRS, and their areas on the ground."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

from cropzoo.data.classified_map import MapFile
from cropzoo.data.mapped_areas import distorts_areas
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid
from cropzoo.geo.vector.layer import check_plain, find_longitude
from cropzoo.geo.vector.longitudes import in_degrees, join_at_180, reproject
from cropzoo.geo.vector.polygons import extract_polygons
from cropzoo.geo.vector.source import VectorSource

PIECE = 100_000
"""Parcels in memory at a time; their sums over 20 classes take 70 MB."""


@dataclass(frozen=True, eq=False)
class MapParcels:
    """Consecutive parcels of a file, n of them.

    Args:
        frame: The columns that were requested.
        shapes: (n,), polygons in the CRS of the map; None without a polygon or outside the domain of that CRS.
        hectares: (n,), float64, area on the ground, ha; 0 for None.
        no_polygon: Number of parcels without a polygon.
    """

    frame: geopandas.GeoDataFrame
    shapes: NDArray[Any]
    hectares: NDArray[np.float64]
    no_polygon: int


def read_map_parcels(
    source: MapFile, vectors: VectorSource, start: int, count: int, columns: Collection[str] = ()
) -> MapParcels:
    """Read parcels from number `start` on, counted from 0, in the CRS of a map.

    Raises:
        CropzooError: The file cannot be read, a column contains lists, or the parcels cannot be transformed.
    """
    frame = vectors.read_range(start, count, columns)
    check_plain(vectors, columns)
    geometry = np.array(frame.geometry, object)
    kept = extract_polygons(join_at_180(geometry) if in_degrees(vectors.crs) else geometry)
    polygons = np.full(len(geometry), None, object)
    polygons[kept.kept] = kept.geometry
    try:
        shapes = reproject(polygons, vectors.crs, source.grid.crs, find_longitude(source.grid))
    except (CRSError, ProjError) as error:
        raise CropzooError(
            f"parcels {str(vectors.path)!r}; they cannot be transformed to the CRS of the map {str(source.path)!r} "
            f"({error}); fix the CRS in the file"
        ) from error
    shapes = np.array(shapes, object)
    shapes[~np.isfinite(shapely.bounds(shapes)).all(axis=1)] = None  # outside the domain of the map's CRS
    return MapParcels(frame, shapes, measure_hectares(shapes, source.grid), len(geometry) - len(kept.geometry))


def measure_hectares(shapes: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Return the area on the ground of polygons in the CRS of a grid, hectares, (n,); 0 for None.

    As for pixels (`data.mapped_areas`), the area in a projected CRS is used unless the projection distorts it.
    """
    crs = pyproj.CRS.from_user_input(grid.crs)
    geod = crs.get_geod()
    if geod is None or not (crs.is_geographic or distorts_areas(grid)):
        unit = crs.axis_info[0].unit_conversion_factor
        area: NDArray[np.float64] = np.nan_to_num(shapely.area(shapes)) * unit * unit / 1e4
        return area
    if not crs.is_geographic:
        shapes = geopandas.GeoSeries(shapes, crs=crs).to_crs(crs.geodetic_crs).to_numpy()
    areas = [0.0 if shape is None else abs(geod.geometry_area_perimeter(shape)[0]) for shape in shapes]
    return np.array(areas) / 1e4
