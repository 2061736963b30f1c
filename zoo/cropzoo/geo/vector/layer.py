"""Vector layers: the part of a vector file near images, and the extents of files and grids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid
from cropzoo.geo.vector.longitudes import align_longitudes, describe_bounds, in_degrees, join_at_180, move, reproject
from cropzoo.geo.vector.polygons import extract_polygons
from cropzoo.geo.vector.source import Bounds, VectorSource, open_source

_OUTLINE_POINTS = 400
"""Points along the outline of a grid: 100 km in steps of 1 km bend by centimeters when they are projected."""


@dataclass(frozen=True)
class VectorLayer:
    """Polygons of a file near images.

    Args:
        source: The file.
        geometry: Valid 2D polygons and multi-polygons in the order of the file, (n,). In degrees, those across 180
            degrees are in one piece, and all are near `longitude`.
        columns: n fields by column name; None for an empty field.
        left_out: Number of shapes near the images that are not polygons.
        repaired: Number of polygons that were invalid.
        longitude: Longitude of the images in degrees.
    """

    source: VectorSource
    geometry: NDArray[Any]
    columns: dict[str, list[Any]]
    left_out: int
    repaired: int
    longitude: float

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.source.path

    @property
    def crs(self) -> Any:
        """CRS of the file."""
        return self.source.crs


def read_layer(
    path: Path,
    grids: Sequence[Grid],
    choose_columns: Callable[[Sequence[str]], Collection[str]],
    encoding: str | None = None,
) -> VectorLayer:
    """Polygons of a file that intersect one of the grids, or are within two pixels of it.

    The file may be of any size: features elsewhere are not read.

    Args:
        path: Path of a file or folder as `open_source` takes it, with one layer of geometries.
        grids: Grids of the images.
        choose_columns: Function from the names of all columns to those to read; it may raise an error.
        encoding: Encoding of the texts; None to find it out.

    Raises:
        CropzooError: The file is missing, unreadable, or has several layers, no CRS or one that cannot be transformed
            to that of the images; a column contains lists; or the images have no CRS.
    """
    if not all(grid.crs for grid in grids):
        raise CropzooError(
            f"parcels {str(path)!r}; the images have no CRS, so the parcels cannot be placed on them; "
            "add the CRS to the images"
        )
    source = open_source(path, encoding=encoding)
    columns = list(choose_columns(source.columns))
    try:
        longitude = find_longitude(grids[0])
        outlines = [_project_outline(grid, source.crs, longitude) for grid in grids]
    except (CRSError, ProjError) as error:
        raise CropzooError(
            f"parcels {str(path)!r}; they cannot be transformed to the CRS of the images ({error}); "
            "correct the CRS in the file"
        ) from error
    frame = source.read_near([box for outline in outlines for box in _find_boxes(outline, source.crs)], columns)
    check_plain(source, columns)
    shapes = np.array(frame.geometry, object)
    if in_degrees(source.crs):
        shapes = align_longitudes(join_at_180(shapes), longitude)
    found = extract_polygons(shapes)
    near = np.zeros(len(found.geometry), np.bool_)
    tree = shapely.STRtree(found.geometry)
    for outline in outlines:
        near[tree.query(outline, predicate="intersects") if _is_finite(outline) else slice(None)] = True
    kept = frame.iloc[found.kept[near]]
    return VectorLayer(
        source=source,
        geometry=found.geometry[near],
        columns={name: _to_fields(kept[name]) for name in columns},
        left_out=len(frame) - len(found.kept),
        repaired=int(found.repaired[near].sum()),
        longitude=longitude,
    )


def check_plain(source: VectorSource, columns: Collection[str]) -> None:
    """Check that columns that were read have exact numbers, texts or dates.

    Raises:
        CropzooError: A column contains lists or objects, or large integers as floating-point numbers.
    """
    for name in columns:
        if name in source.problems:
            raise CropzooError(
                f"parcels {str(source.path)!r}; column {name!r} {source.problems[name]}; choose a column of integers "
                "or texts"
            )


def _to_fields(column: Any) -> list[Any]:
    """Fields of a column as Python objects, None where they are empty."""
    return [None if missing else value for value, missing in zip(column.tolist(), pd.isna(column), strict=True)]


def find_longitude(grid: Grid) -> float:
    """Longitude of the center of a grid in degrees; it is beyond 180 only if the grid's own longitudes are.

    It is 0 if the CRS has no coordinates there.
    """
    center = shapely.Point(np.mean(grid.corners(), axis=0))
    if not in_degrees(grid.crs):
        center = geopandas.GeoSeries([center], crs=grid.crs).to_crs("EPSG:4326").iloc[0]
    return float(center.x) if np.isfinite(center.x) else 0.0


def describe_extent(source: VectorSource) -> str:
    """Longitudes and latitudes that a file covers, in words; "nothing" if it is empty."""
    bounds = source.total_bounds
    return "nothing" if bounds is None else _describe_in_degrees(shapely.box(*bounds), source.crs)


def describe_grid_extent(grids: Sequence[Grid]) -> str:
    """Longitudes and latitudes that grids cover, in words."""
    outlines = (_describe_in_degrees(shapely.Polygon(grid.corners()), grid.crs) for grid in grids)
    return ", and ".join(dict.fromkeys(outlines))


def _describe_in_degrees(outline: Any, crs: Any) -> str:
    pieces = outline.segmentize(outline.length / _OUTLINE_POINTS) if outline.length else outline
    return describe_bounds(shapely.total_bounds(reproject(np.array([pieces], object), crs, "EPSG:4326")))


def _project_outline(grid: Grid, crs: Any, longitude: float) -> Any:
    """Polygon around a grid in another CRS."""
    outline = shapely.Polygon(grid.corners())
    pixel = np.sqrt(outline.area / (grid.height * grid.width))
    # A straight edge bends in another CRS: with points along it, the polygon still contains the complete grid.
    outline = outline.buffer(2 * pixel, join_style="mitre")
    outline = outline.segmentize(outline.length / _OUTLINE_POINTS)
    return reproject(np.array([outline], object), grid.crs, crs, longitude)[0]


def _find_boxes(outline: Any, crs: Any) -> list[Bounds | None]:
    """Bounds of an outline; None (read everything) if it extends to where the CRS has no coordinates.

    Across 180 degrees, there is one box for the longitudes on each side of it.
    """
    if not _is_finite(outline):
        return [None]
    west, _, east, _ = outline.bounds
    turns = [-1 * (east > 180), 1 * (west < -180)] if in_degrees(crs) else [0]
    return [move(outline, turn).bounds for turn in dict.fromkeys([0, *turns])]


def _is_finite(outline: Any) -> bool:
    return bool(np.isfinite(outline.bounds).all())
