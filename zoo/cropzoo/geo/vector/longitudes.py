"""Longitudes near 180 degrees: polygons that cross that line, in one piece and next to the images."""

from __future__ import annotations

from typing import Any

import geopandas
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

_NEAR = 170.0
"""A polygon whose longitudes are all beyond this one, on both sides, crosses 180 degrees; others go around."""

_TURN = 360.0


def in_degrees(crs: Any) -> bool:
    """Whether a CRS has longitudes in degrees."""
    known = pyproj.CRS.from_user_input(crs)
    return bool(known.is_geographic) and known.axis_info[0].unit_name == "degree"


def reproject(shapes: NDArray[Any], source: Any, target: Any, longitude: float = 0.0) -> NDArray[Any]:
    """Polygons in another CRS; in degrees, those that cross 180 degrees are in one piece.

    Args:
        shapes: Polygons and multi-polygons, or None, (n,).
        source: CRS of the polygons.
        target: CRS of the result.
        longitude: Longitude near which polygons in degrees are placed, see `align_longitudes`.
    """
    if not pyproj.CRS.from_user_input(target).equals(pyproj.CRS.from_user_input(source), ignore_axis_order=True):
        shapes = geopandas.GeoSeries(shapes, crs=source).to_crs(target).to_numpy()
    return align_longitudes(join_at_180(shapes), longitude) if in_degrees(target) else shapes


def join_at_180(shapes: NDArray[Any]) -> NDArray[Any]:
    """Polygons in degrees, those that cross 180 degrees in one piece, with longitudes from 170 to 190.

    Such a polygon is either cut at the line, as RFC 7946 requires, or its outline jumps from 180 to -180, as after a
    reprojection. In both cases its longitudes are near the line, on both sides.

    Args:
        shapes: Polygons and multi-polygons, or None, (n,).
    """
    bounds = shapely.bounds(shapes)
    crossing = np.flatnonzero((bounds[:, 0] < -_NEAR) & (bounds[:, 2] > _NEAR))
    if not len(crossing):
        return shapes
    joined = np.array(shapes, object)
    for position in crossing:
        joined[position] = _join(joined[position])
    return joined


def _join(shape: Any) -> Any:
    longitudes = np.abs(shapely.get_coordinates(shape)[:, 0])
    if longitudes.min() <= _NEAR or longitudes.min() >= _TURN / 2:  # around the Earth
        return shape
    parts = shapely.get_parts(shapely.transform(shape, lambda points: np.c_[points[:, 0] % _TURN, points[:, 1]]))
    return shapely.union_all(shapely.make_valid(parts, method="structure", keep_collapsed=False))


def align_longitudes(shapes: NDArray[Any], longitude: float) -> NDArray[Any]:
    """Polygons in degrees, moved by full turns so that their centers are within 180 degrees of a longitude.

    Args:
        shapes: Geometries or None, (n,).
        longitude: Longitude in degrees.
    """
    bounds = shapely.bounds(shapes)
    turns = np.nan_to_num(np.round((longitude - (bounds[:, 0] + bounds[:, 2]) / 2) / _TURN))
    moved = np.flatnonzero(turns)
    if not len(moved):
        return shapes
    aligned = np.array(shapes, object)
    for position in moved:
        aligned[position] = move(aligned[position], turns[position])
    return aligned


def move(shape: Any, turns: float) -> Any:
    """A geometry in degrees, moved east by full turns."""
    return shapely.transform(shape, lambda points: points + np.array([turns * _TURN, 0])) if turns else shape


def cut_at_180(shape: Any) -> Any:
    """A polygon in degrees without longitudes beyond 180: one that crosses the line is cut there, as RFC 7946 requires.

    Args:
        shape: Polygon whose longitudes may be above 180, or jump from 180 to -180.
    """
    (joined,) = join_at_180(np.array([shape], object))
    half = _TURN / 2
    if joined.bounds[2] <= half and joined.bounds[0] >= -half:
        return joined
    pieces = [
        move(joined.intersection(shapely.box(-half - turns * _TURN, -90, half - turns * _TURN, 90)), turns)
        for turns in (-1, 0, 1)
    ]
    return shapely.union_all([piece for piece in pieces if piece.area])


def describe_bounds(bounds: Any) -> str:
    """Longitudes and latitudes of bounds in degrees, in words; an extent across 180 degrees starts in the west."""
    west, south, east, north = bounds
    half = _TURN / 2
    west, east = (value - _TURN * np.sign(value) if abs(value) > half else value for value in (west, east))
    return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"
