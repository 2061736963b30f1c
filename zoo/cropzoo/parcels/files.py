"""Vector files: what of a file lies near images, as clean polygons with the columns asked for."""

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
from cropzoo.images.rasters import Grid
from cropzoo.parcels.polygons import take_polygons

_PIECES = 400
"""Points along a grid's outline: 100 km in pieces of 1 km bend by centimetres when they are projected."""


@dataclass(frozen=True)
class Layer:
    """What was read of a file.

    Args:
        path: the file.
        crs: its CRS.
        geometry: (n,) objects, valid polygons and multi-polygons in two dimensions, in the file's order.
        columns: n fields each, by the column's name.
        left_out: shapes near the images that are no polygons.
        repaired: polygons that were invalid.
    """

    path: Path
    crs: Any
    geometry: NDArray[Any]
    columns: dict[str, list[Any]]
    left_out: int
    repaired: int


def read_layer(path: Path, grids: Sequence[Grid], wanted: Callable[[list[str]], Collection[str]]) -> Layer:
    """The polygons of a file that touch one of the grids, or lie within two pixels of it.

    A file of any size may be given: what lies elsewhere is not read.

    Args:
        path: a file or folder that pyogrio reads, with one layer of geometries.
        grids: of the images.
        wanted: is given the names of all columns, returns those to read, and may raise an error.

    Raises:
        CropzooError: naming the file: missing, unreadable, several layers, no CRS or one that the images' CRS cannot be
            brought to; or the images have no CRS.
    """
    if not path.exists():
        raise CropzooError(f"parcels {str(path)!r}; there is no such file; check its name")
    if not all(grid.crs for grid in grids):
        raise CropzooError(
            f"parcels {str(path)!r}; the images beside them have no CRS, so that they cannot be laid on one another; "
            "write the CRS into the images"
        )
    try:
        return _read(path, grids, wanted)
    except (DataSourceError, DataLayerError, UnicodeDecodeError, shapely.errors.ShapelyError) as error:
        raise CropzooError(
            f"parcels {str(path)!r}; the file cannot be read as vector data; "
            "write it as a GeoPackage, GeoJSON or shapefile, or move it elsewhere"
        ) from error
    except (CRSError, ProjError) as error:
        raise CropzooError(
            f"parcels {str(path)!r}; their CRS and that of the images cannot be brought together ({error}); "
            "write the right CRS into the file"
        ) from error


def extent_of(path: Path) -> str:
    """Longitudes and latitudes that a file covers, in words; "nothing" if it is empty.

    Raises:
        DataSourceError, DataLayerError, CRSError: as a file that has been read does not.
    """
    info = pyogrio.read_info(path, layer=_layer_name(path), force_total_bounds=True)
    bounds = info["total_bounds"]
    if bounds is None or not np.isfinite(bounds).all():
        return "nothing"
    return _in_degrees(shapely.box(*bounds), info["crs"])


def extent_of_grids(grids: Sequence[Grid]) -> str:
    """Longitudes and latitudes that grids cover, in words."""
    return ", and ".join(dict.fromkeys(_in_degrees(shapely.Polygon(grid.corners()), grid.crs) for grid in grids))


def _in_degrees(outline: Any, crs: Any) -> str:
    pieces = outline.segmentize(outline.length / _PIECES) if outline.length else outline
    west, south, east, north = geopandas.GeoSeries([pieces], crs=crs).to_crs("EPSG:4326").total_bounds
    return f"longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"


def _layer_name(path: Path) -> str:
    """The one layer of a file that has geometries."""
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if not layers:
        raise CropzooError(f"parcels {str(path)!r}; it is a table without geometries; give the file of the polygons")
    if len(layers) > 1:
        raise CropzooError(
            f"parcels {str(path)!r}; it has {len(layers)} layers with geometries ({', '.join(layers)}); "
            "write the parcels to a file of one layer"
        )
    return layers[0]


def _read(path: Path, grids: Sequence[Grid], wanted: Callable[[list[str]], Collection[str]]) -> Layer:
    layer = _layer_name(path)
    info = pyogrio.read_info(path, layer=layer)
    if not info["crs"]:
        raise CropzooError(f"parcels {str(path)!r}; they have no CRS; write it into the file")
    columns = list(wanted([str(name) for name in info["fields"]]))
    crs = pyproj.CRS.from_user_input(info["crs"])
    outlines = [_outline(grid, crs) for grid in grids]
    rows: dict[int, tuple[Any, ...]] = {}
    for outline in outlines:
        frame = pyogrio.read_dataframe(path, layer=layer, columns=columns, bbox=_box_of(outline), fid_as_index=True)
        # By its fid a row near two grids is taken once, and the file's order comes back.
        rows.update(zip(frame.index, zip(frame.geometry, *(frame[name] for name in columns), strict=True), strict=True))
    ordered = [rows[fid] for fid in sorted(rows)]
    found = take_polygons(np.array([row[0] for row in ordered], object))
    near = np.zeros(len(found.geometry), np.bool_)
    tree = shapely.STRtree(found.geometry)
    for outline in outlines:
        near[tree.query(outline, predicate="intersects") if _box_of(outline) else slice(None)] = True
    kept = [ordered[position] for position in found.kept[near]]
    return Layer(
        path=path,
        crs=crs,
        geometry=found.geometry[near],
        columns={name: [row[number] for row in kept] for number, name in enumerate(columns, start=1)},
        left_out=len(ordered) - len(found.kept),
        repaired=int(found.repaired[near].sum()),
    )


def _outline(grid: Grid, crs: Any) -> Any:
    """A polygon around a grid in another CRS."""
    outline = shapely.Polygon(grid.corners())
    pixel = np.sqrt(outline.area / (grid.height * grid.width))
    # A straight edge bends in another CRS: with points along it the polygon still holds the whole grid.
    outline = outline.buffer(2 * pixel, join_style="mitre")
    outline = outline.segmentize(outline.length / _PIECES)
    return geopandas.GeoSeries([outline], crs=grid.crs).to_crs(crs).iloc[0]


def _box_of(outline: Any) -> tuple[float, float, float, float] | None:
    """The box around an outline, None (read everything) where it reaches where the CRS has no numbers."""
    bounds = outline.bounds
    return bounds if np.isfinite(bounds).all() else None
