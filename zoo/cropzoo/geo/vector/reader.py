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

from cropzoo.errors import CropzooError, suggest
from cropzoo.geo.raster.grid import Grid
from cropzoo.geo.vector.parcel_table import ParcelTable, format_field, parse_crops, parse_ids, parse_years

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


def extract_polygons(geometries: NDArray[Any]) -> Polygons:
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


_PIECES = 400
"""Points along a grid's outline: 100 km in pieces of 1 km bend by centimeters when they are projected."""


@dataclass(frozen=True)
class VectorLayer:
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


def read_layer(path: Path, grids: Sequence[Grid], wanted: Callable[[list[str]], Collection[str]]) -> VectorLayer:
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
        return _read_file(path, grids, wanted)
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


def describe_extent(path: Path) -> str:
    """Longitudes and latitudes that a file covers, in words; "nothing" if it is empty.

    Raises:
        DataSourceError, DataLayerError, CRSError: as a file that has been read does not.
    """
    info = pyogrio.read_info(path, layer=_layer_name(path), force_total_bounds=True)
    bounds = info["total_bounds"]
    if bounds is None or not np.isfinite(bounds).all():
        return "nothing"
    return _in_degrees(shapely.box(*bounds), info["crs"])


def describe_grid_extent(grids: Sequence[Grid]) -> str:
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


def _read_file(path: Path, grids: Sequence[Grid], wanted: Callable[[list[str]], Collection[str]]) -> VectorLayer:
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
    found = extract_polygons(np.array([row[0] for row in ordered], object))
    near = np.zeros(len(found.geometry), np.bool_)
    tree = shapely.STRtree(found.geometry)
    for outline in outlines:
        near[tree.query(outline, predicate="intersects") if _box_of(outline) else slice(None)] = True
    kept = [ordered[position] for position in found.kept[near]]
    return VectorLayer(
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


__all__ = ["ParcelTable", "read_parcels", "require_column"]

_OPTIONS = {"crop": "--crop-column", "id": "--id-column", "year": "--year-column", "split": "--split-by"}


def read_parcels(
    paths: Sequence[Path],
    *,
    crop_column: str,
    name_column: str = "crop_name",
    id_column: str | None = None,
    year_column: str | None = None,
    split_column: str | None = None,
    around: Sequence[Grid],
) -> ParcelTable:
    """The parcels of files that touch the images, in the order of the files and in the CRS of the first.

    A field of the crop column is a number, digits, or a text; if any field is a text, all are. An empty one is a parcel
    whose crop nobody knows.

    Args:
        paths: files or folders that pyogrio reads (GeoPackage, GeoJSON, shapefile, also zipped, FlatGeobuf, file
            geodatabase), each with one layer of geometries; only what lies near the images is read.
        crop_column: holds the crop's code or text.
        name_column: holds the crop's name; need not exist.
        id_column: holds whole numbers, each once (once a year if there are years); None numbers the parcels 1..n.
        year_column: holds the year of the crop, or a day in it.
        split_column: holds the split of each parcel.
        around: grids of the images.

    Raises:
        CropzooError: naming the file: missing, unreadable, several layers, no CRS, a column that it lacks, a year or id
            that is none; no file has a parcel at the images.
    """
    if not paths:
        raise CropzooError("parcels; no file is named; give one or several")
    needed = {"crop": crop_column, "id": id_column, "year": year_column, "split": split_column}
    layers = [_read(path, needed, name_column, around) for path in paths]
    if not any(len(layer.geometry) for layer in layers):
        raise _nothing_here(layers, around)
    crs = layers[0].crs
    shapes = [geopandas.GeoSeries(layer.geometry, crs=layer.crs).to_crs(crs).to_numpy() for layer in layers]
    geometry = np.concatenate(shapes)
    years = None
    if year_column is not None:
        years = tuple(
            year for layer in layers for year in parse_years(layer.columns[year_column], layer.path, year_column)
        )
    ids = np.arange(1, len(geometry) + 1, dtype=np.int32)
    if id_column is not None:
        ids = np.concatenate([parse_ids(layer.columns[id_column], layer.path, id_column) for layer in layers])
        _check_ids(list(zip(years or [None] * len(ids), ids.tolist(), strict=True)), paths, id_column)
    return ParcelTable(
        geometry=geometry,
        crs=crs,
        ids=ids,
        crops=parse_crops(_column(layers, crop_column)),
        names=tuple(map(format_field, _column(layers, name_column))),
        years=years,
        splits=None if split_column is None else tuple(map(format_field, _column(layers, split_column))),
        left_out=sum(layer.left_out for layer in layers),
        repaired=sum(layer.repaired for layer in layers),
    )


def require_column(path: Path, column: str, columns: Sequence[str], what: str, option: str) -> None:
    """Nothing, if a file has a column.

    Args:
        path: the file, for the message.
        column: the name looked for.
        columns: all that there are.
        what: the column holds.
        option: the user's way to say which it is.

    Raises:
        CropzooError: naming the file and the close names.
    """
    if column not in columns:
        raise CropzooError(
            f"parcels {str(path)!r}; they have no column {column!r}; {suggest(column, columns)}; "
            f"say which column holds the {what} by {option}"
        )


def _read(path: Path, needed: dict[str, str | None], name_column: str, around: Sequence[Grid]) -> VectorLayer:
    def wanted(columns: list[str]) -> Collection[str]:
        asked = {what: column for what, column in needed.items() if column is not None}
        for what, column in asked.items():
            require_column(path, column, columns, what, _OPTIONS[what])
        return dict.fromkeys([*asked.values(), *([name_column] if name_column in columns else [])])

    return read_layer(path, around, wanted)


def _column(layers: Sequence[VectorLayer], column: str) -> list[Any]:
    """The fields of all files, None where a file lacks the column."""
    return [field for layer in layers for field in layer.columns.get(column, [None] * len(layer.geometry))]


def _check_ids(keys: Sequence[tuple[int | None, int]], paths: Sequence[Path], column: str) -> None:
    seen: set[tuple[int | None, int]] = set()
    for year, number in keys:
        if (year, number) in seen:
            files = ", ".join(repr(str(path)) for path in paths)
            season = "" if year is None else f" in {year}"
            raise CropzooError(
                f"parcels {files}; id {number} of column {column!r} occurs twice{season}; "
                "name a column in which each parcel has its own, or none, and the parcels are numbered"
            )
        seen.add((year, number))


def _nothing_here(layers: Sequence[VectorLayer], around: Sequence[Grid]) -> CropzooError:
    covered = "; ".join(f"{str(layer.path)!r} covers {describe_extent(layer.path)}" for layer in layers)
    skipped = sum(layer.left_out for layer in layers)
    points = f" ({skipped} shapes there are no polygons)" if skipped else ""
    return CropzooError(
        f"parcels {covered}; the images cover {describe_grid_extent(around)}, and no parcel touches them{points}; "
        "give parcels and images of one area, or correct the CRS of either"
    )
