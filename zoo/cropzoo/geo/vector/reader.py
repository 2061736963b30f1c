"""Reading parcels: a parcel table from one vector file or several."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cropzoo.errors import CropzooError, suggest
from cropzoo.geo.raster.grid import Grid
from cropzoo.geo.vector.fields import format_field, parse_crops, parse_ids, parse_years
from cropzoo.geo.vector.layer import VectorLayer, describe_extent, describe_grid_extent, read_layer
from cropzoo.geo.vector.longitudes import reproject
from cropzoo.geo.vector.parcel_table import ParcelTable

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
    encoding: str | None = None,
) -> ParcelTable:
    """Parcels of files that intersect images, in the order of the files and in the CRS of the first file.

    A column of numbers has numbers as crops, a column of texts has texts, which are not changed; if the column of one
    file has texts, so have all. An empty field is a parcel whose crop is unknown.

    Args:
        paths: Files or folders as `open_source` takes them (GeoPackage, GeoJSON, shapefile, FlatGeobuf, file
            geodatabase, also in an archive, GeoParquet), each with one layer of geometries; only features near the
            images are read.
        crop_column: Column with the crop code or text.
        name_column: Column with the crop name; optional in the file.
        id_column: Column with unique integers (unique per year if there are years); None to number the parcels 1..n.
        year_column: Column with the harvest year, or a date in it.
        split_column: Column with the split of each parcel.
        around: Grids of the images.
        encoding: Encoding of the texts; None to find it out.

    Raises:
        CropzooError: A file that is missing, unreadable, has several layers or no CRS, lacks a column, or has an
            invalid year or id; or no file has a parcel on the images.
    """
    if not paths:
        raise CropzooError("parcels; no file is given; name at least one")
    needed = {"crop": crop_column, "id": id_column, "year": year_column, "split": split_column}
    layers = [_read_columns(path, needed, name_column, around, encoding) for path in paths]
    if not any(len(layer.geometry) for layer in layers):
        raise _no_parcels_error(layers, around)
    crs = layers[0].crs
    shapes = [reproject(layer.geometry, layer.crs, crs, layer.longitude) for layer in layers]
    geometry = np.concatenate(shapes)
    years = None
    if year_column is not None:
        years = tuple(
            year for layer in layers for year in parse_years(layer.columns[year_column], layer.path, year_column)
        )
    ids = np.arange(1, len(geometry) + 1, dtype=np.int32)
    if id_column is not None:
        ids = np.concatenate([parse_ids(layer.columns[id_column], layer.path, id_column) for layer in layers])
        _check_unique(list(zip(years or [None] * len(ids), ids.tolist(), strict=True)), paths, id_column)
    return ParcelTable(
        geometry=geometry,
        crs=crs,
        ids=ids,
        crops=parse_crops(_join_column(layers, crop_column)),
        names=tuple(map(format_field, _join_column(layers, name_column))),
        years=years,
        splits=None if split_column is None else tuple(map(format_field, _join_column(layers, split_column))),
        left_out=sum(layer.left_out for layer in layers),
        repaired=sum(layer.repaired for layer in layers),
        longitude=layers[0].longitude,
    )


def require_column(path: Path, column: str, columns: Sequence[str], content: str, option: str) -> None:
    """Check that a file has a column.

    Args:
        path: Path of the file, for the message.
        column: Name of the required column.
        columns: Names of all columns of the file.
        content: What the column contains, for the message.
        option: Option by which the user chooses the column, for the message.

    Raises:
        CropzooError: The column does not exist.
    """
    if column not in columns:
        raise CropzooError(
            f"parcels {str(path)!r}; they have no column {column!r}; {suggest(column, columns)}; "
            f"choose the column with the {content} by {option}"
        )


def _read_columns(
    path: Path, needed: dict[str, str | None], name_column: str, around: Sequence[Grid], encoding: str | None
) -> VectorLayer:
    def choose_columns(columns: Sequence[str]) -> Collection[str]:
        required = {content: column for content, column in needed.items() if column is not None}
        for content, column in required.items():
            require_column(path, column, columns, content, _OPTIONS[content])
        return dict.fromkeys([*required.values(), *([name_column] if name_column in columns else [])])

    return read_layer(path, around, choose_columns, encoding)


def _join_column(layers: Sequence[VectorLayer], column: str) -> list[Any]:
    """Fields of all files, None where a file lacks the column."""
    return [field for layer in layers for field in layer.columns.get(column, [None] * len(layer.geometry))]


def _check_unique(keys: Sequence[tuple[int | None, int]], paths: Sequence[Path], column: str) -> None:
    seen: set[tuple[int | None, int]] = set()
    for year, number in keys:
        if (year, number) in seen:
            files = ", ".join(repr(str(path)) for path in paths)
            season = "" if year is None else f" in {year}"
            raise CropzooError(
                f"parcels {files}; id {number} of column {column!r} occurs twice{season}; "
                "choose a column with unique ids, or none to number the parcels"
            )
        seen.add((year, number))


def _no_parcels_error(layers: Sequence[VectorLayer], around: Sequence[Grid]) -> CropzooError:
    covered = "; ".join(f"{str(layer.path)!r} covers {describe_extent(layer.source)}" for layer in layers)
    skipped = sum(layer.left_out for layer in layers)
    points = f" ({skipped} shapes near them are not polygons)" if skipped else ""
    return CropzooError(
        f"parcels {covered}; the images cover {describe_grid_extent(around)}, and no parcel intersects them{points}; "
        "use parcels and images of the same area, or correct the CRS of either"
    )
