"""Polygons of whatever geometries a file holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True)
class Polygons:
    """What is left of geometries.

    Args:
        geometry: (n,) objects, valid polygons and multi-polygons in two dimensions, none empty.
        kept: (n,), positions of theirs among the geometries given.
        repaired: (n,), whether it was invalid, as one that crosses itself.
    """

    geometry: NDArray[Any]
    kept: NDArray[np.intp]
    repaired: NDArray[np.bool_]


def take_polygons(geometries: NDArray[Any]) -> Polygons:
    """The polygons of geometries; points, lines and what is empty or missing is left out.

    Of a collection its polygons are taken. An invalid polygon becomes what its rings enclose: both wings of a bow-tie,
    the union of parts that overlap.

    Args:
        geometries: (N,) objects of shapely or None.
    """
    shapes = shapely.force_2d(geometries)
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    shapes = np.array(shapes, object)
    shapes[~finite] = None
    mixed = shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION
    shapes[mixed] = [_polygons_in(shape) for shape in shapes[mixed]]
    area = np.isin(shapely.get_type_id(shapes), _POLYGONS) & ~shapely.is_empty(shapes)
    broken = area & ~shapely.is_valid(shapes)
    # "structure" unites parts that overlap; "linework" would make a hole of what two of them share.
    mended = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    shapes[broken] = [_polygons_in(shape) for shape in mended]
    area &= np.isin(shapely.get_type_id(shapes), _POLYGONS) & ~shapely.is_empty(shapes)
    kept = np.flatnonzero(area)
    return Polygons(shapes[kept], kept, broken[kept])


def _polygons_in(shape: Any) -> Any:
    """The polygons of a geometry as one polygon or multi-polygon; None without any."""
    # Collections may lie in collections.
    parts = shapely.get_parts(shape)
    while (shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
        parts = shapely.get_parts(parts)
    parts = parts[(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)]
    if len(parts) > 1:
        return shapely.multipolygons(parts)
    return parts[0] if len(parts) else None
