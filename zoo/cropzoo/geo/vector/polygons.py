"""Valid polygons from geometries of any kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True)
class Polygons:
    """Polygons extracted from geometries.

    Args:
        geometry: Valid 2D polygons and multi-polygons, none empty, (n,).
        kept: Position of each among the input geometries, (n,).
        repaired: Whether each was invalid, such as a self-intersecting polygon, (n,).
    """

    geometry: NDArray[Any]
    kept: NDArray[np.intp]
    repaired: NDArray[np.bool_]


def extract_polygons(geometries: NDArray[Any]) -> Polygons:
    """Polygons among geometries; points, lines, and empty or missing geometries are left out.

    Of a geometry collection, the polygons are kept. An invalid polygon becomes the area that its rings enclose: both
    halves of a bow tie, or the union of overlapping parts.

    Args:
        geometries: Geometries of shapely or None, (N,).
    """
    shapes = shapely.force_2d(geometries)
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    shapes = np.array(shapes, object)
    shapes[~finite] = None
    mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    shapes[mixed] = [_merge_polygons(shape) for shape in shapes[mixed]]
    is_polygon = np.isin(shapely.get_type_id(shapes), _POLYGONS) & ~shapely.is_empty(shapes)
    invalid = is_polygon & ~shapely.is_valid(shapes)
    # "structure" unites parts that overlap; "linework" would turn the overlap of two parts into a hole.
    repaired = shapely.make_valid(shapes[invalid], method="structure", keep_collapsed=False)
    shapes[invalid] = [_merge_polygons(shape) for shape in repaired]
    is_polygon &= np.isin(shapely.get_type_id(shapes), _POLYGONS) & ~shapely.is_empty(shapes)
    kept = np.flatnonzero(is_polygon)
    return Polygons(shapes[kept], kept, invalid[kept])


def _merge_polygons(shape: Any) -> Any:
    """Polygons of a geometry as one polygon or multi-polygon; None if there are none."""
    # Collections may be nested.
    parts = shapely.get_parts(shape)
    while (shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
        parts = shapely.get_parts(parts)
    parts = parts[(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)]
    if len(parts) > 1:
        return shapely.multipolygons(parts)
    return parts[0] if len(parts) else None
