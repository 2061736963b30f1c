"""Vector layers: the part of a vector file near images, and the extents of files and grids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
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
from cropzoo.geo.raster.grid import Grid
from cropzoo.geo.vector.polygons import extract_polygons

_OUTLINE_POINTS = 400
"""Points along the outline of a grid: 100 km in steps of 1 km bend by centimeters when they are projected."""


@dataclass(frozen=True)
class VectorLayer:
    """Polygons of a file near images.

    Args:
        path: Path of the file.
        crs: CRS of the file.
        geometry: Valid 2D polygons and multi-polygons in the order of the file, (n,).
        columns: n fields by column name.
        left_out: Number of shapes near the images that are not polygons.
        repaired: Number of polygons that were invalid.
    """

    path: Path
    crs: Any
    geometry: NDArray[Any]
    columns: dict[str, list[Any]]
    left_out: int
    repaired: int


def read_layer(
    path: Path, grids: Sequence[Grid], choose_columns: Callable[[list[str]], Collection[str]]
) -> VectorLayer:
    """Polygons of a file that intersect one of the grids, or are within two pixels of it.

    The file may be of any size: features elsewhere are not read.

    Args:
        path: Path of a file or folder that pyogrio reads, with one layer of geometries.
        grids: Grids of the images.
        choose_columns: Function from the names of all columns to those to read; it may raise an error.

    Raises:
        CropzooError: The file is missing, unreadable, or has several layers, no CRS or one that cannot be transformed
            to that of the images; or the images have no CRS.
    """
    if not path.exists():
        raise CropzooError(f"parcels {str(path)!r}; there is no such file; check its name")
    if not all(grid.crs for grid in grids):
        raise CropzooError(
            f"parcels {str(path)!r}; the images have no CRS, so the parcels cannot be placed on them; "
            "add the CRS to the images"
        )
    try:
        return _read_file(path, grids, choose_columns)
    except (DataSourceError, DataLayerError, UnicodeDecodeError, shapely.errors.ShapelyError) as error:
        raise CropzooError(
            f"parcels {str(path)!r}; the file cannot be read as vector data; "
            "write it as a GeoPackage, GeoJSON or shapefile, or move it to another folder"
        ) from error
    except (CRSError, ProjError) as error:
        raise CropzooError(
            f"parcels {str(path)!r}; they cannot be transformed to the CRS of the images ({error}); "
            "correct the CRS in the file"
        ) from error


def describe_extent(path: Path) -> str:
    """Longitudes and latitudes that a file covers, in words; "nothing" if it is empty.

    The file must have been read by `read_layer` before.
    """
    info = pyogrio.read_info(path, layer=_find_layer_name(path), force_total_bounds=True)
    bounds = info["total_bounds"]
    if bounds is None or not np.isfinite(bounds).all():
        return "nothing"
    return _describe_in_degrees(shapely.box(*bounds), info["crs"])


def describe_grid_extent(grids: Sequence[Grid]) -> str:
    """Longitudes and latitudes that grids cover, in words."""
    outlines = (_describe_in_degrees(shapely.Polygon(grid.corners()), grid.crs) for grid in grids)
    return ", and ".join(dict.fromkeys(outlines))


def _describe_in_degrees(outline: Any, crs: Any) -> str:
    pieces = outline.segmentize(outline.length / _OUTLINE_POINTS) if outline.length else outline
    west, south, east, north = geopandas.GeoSeries([pieces], crs=crs).to_crs("EPSG:4326").total_bounds
    return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"


def _find_layer_name(path: Path) -> str:
    """Name of the only layer of a file that has geometries."""
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if not layers:
        raise CropzooError(f"parcels {str(path)!r}; it is a table without geometries; use the file of the polygons")
    if len(layers) > 1:
        raise CropzooError(
            f"parcels {str(path)!r}; it has {len(layers)} layers with geometries ({', '.join(layers)}); "
            "write the parcels to a file of one layer"
        )
    return layers[0]


def _read_file(
    path: Path, grids: Sequence[Grid], choose_columns: Callable[[list[str]], Collection[str]]
) -> VectorLayer:
    layer = _find_layer_name(path)
    info = pyogrio.read_info(path, layer=layer)
    if not info["crs"]:
        raise CropzooError(f"parcels {str(path)!r}; they have no CRS; add it to the file")
    columns = list(choose_columns([str(name) for name in info["fields"]]))
    crs = pyproj.CRS.from_user_input(info["crs"])
    outlines = [_project_outline(grid, crs) for grid in grids]
    rows: dict[int, tuple[Any, ...]] = {}
    for outline in outlines:
        frame = pyogrio.read_dataframe(
            path, layer=layer, columns=columns, bbox=_finite_bounds(outline), fid_as_index=True
        )
        # Feature ids keep a row near two grids from being read twice, and restore the order of the file.
        rows.update(zip(frame.index, zip(frame.geometry, *(frame[name] for name in columns), strict=True), strict=True))
    ordered = [rows[fid] for fid in sorted(rows)]
    found = extract_polygons(np.array([row[0] for row in ordered], object))
    near = np.zeros(len(found.geometry), np.bool_)
    tree = shapely.STRtree(found.geometry)
    for outline in outlines:
        near[tree.query(outline, predicate="intersects") if _finite_bounds(outline) else slice(None)] = True
    kept = [ordered[position] for position in found.kept[near]]
    return VectorLayer(
        path=path,
        crs=crs,
        geometry=found.geometry[near],
        columns={name: [row[number] for row in kept] for number, name in enumerate(columns, start=1)},
        left_out=len(ordered) - len(found.kept),
        repaired=int(found.repaired[near].sum()),
    )


def _project_outline(grid: Grid, crs: Any) -> Any:
    """Polygon around a grid in another CRS."""
    outline = shapely.Polygon(grid.corners())
    pixel = np.sqrt(outline.area / (grid.height * grid.width))
    # A straight edge bends in another CRS: with points along it, the polygon still contains the complete grid.
    outline = outline.buffer(2 * pixel, join_style="mitre")
    outline = outline.segmentize(outline.length / _OUTLINE_POINTS)
    return geopandas.GeoSeries([outline], crs=grid.crs).to_crs(crs).iloc[0]


def _finite_bounds(outline: Any) -> tuple[float, float, float, float] | None:
    """Bounds of an outline; None (read everything) if it extends to where the CRS has no coordinates."""
    bounds = outline.bounds
    return bounds if np.isfinite(bounds).all() else None
