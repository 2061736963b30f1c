"""Reading parcels from files of any format around images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np

from cropzoo.errors import CropzooError, suggest
from cropzoo.images.rasters import Grid
from cropzoo.parcels.fields import crops_of, ids_of, text_of, years_of
from cropzoo.parcels.files import Layer, extent_of, extent_of_grids, read_layer
from cropzoo.parcels.table import ParcelTable

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
            year for layer in layers for year in years_of(layer.columns[year_column], layer.path, year_column)
        )
    ids = np.arange(1, len(geometry) + 1, dtype=np.int32)
    if id_column is not None:
        ids = np.concatenate([ids_of(layer.columns[id_column], layer.path, id_column) for layer in layers])
        _check_ids(list(zip(years or [None] * len(ids), ids.tolist(), strict=True)), paths, id_column)
    return ParcelTable(
        geometry=geometry,
        crs=crs,
        ids=ids,
        crops=crops_of(_column(layers, crop_column)),
        names=tuple(map(text_of, _column(layers, name_column))),
        years=years,
        splits=None if split_column is None else tuple(map(text_of, _column(layers, split_column))),
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


def _read(path: Path, needed: dict[str, str | None], name_column: str, around: Sequence[Grid]) -> Layer:
    def wanted(columns: list[str]) -> Collection[str]:
        asked = {what: column for what, column in needed.items() if column is not None}
        for what, column in asked.items():
            require_column(path, column, columns, what, _OPTIONS[what])
        return dict.fromkeys([*asked.values(), *([name_column] if name_column in columns else [])])

    return read_layer(path, around, wanted)


def _column(layers: Sequence[Layer], column: str) -> list[Any]:
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


def _nothing_here(layers: Sequence[Layer], around: Sequence[Grid]) -> CropzooError:
    covered = "; ".join(f"{str(layer.path)!r} covers {extent_of(layer.path)}" for layer in layers)
    skipped = sum(layer.left_out for layer in layers)
    points = f" ({skipped} shapes there are no polygons)" if skipped else ""
    return CropzooError(
        f"parcels {covered}; the images cover {extent_of_grids(around)}, and no parcel touches them{points}; "
        "give parcels and images of one area, or correct the CRS of either"
    )
