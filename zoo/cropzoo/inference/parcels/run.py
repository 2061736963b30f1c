"""From a map and parcels to parcels that say what the map shows of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

from cropzoo.data.legend import read_crop_table
from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.vector.polygons import extract_polygons
from cropzoo.geo.vector.reader import require_column
from cropzoo.geo.vector.writer import (
    VectorFile,
    check_output_path,
    open_vector_file,
    split_range,
    supports_append,
    write_vector_file,
)
from cropzoo.inference.mapping.map_file import MapFile, open_map
from cropzoo.inference.parcels.columns import KINDS, Found, columns_of, is_ours, join, take
from cropzoo.inference.parcels.declared import Matching
from cropzoo.inference.parcels.majority import chance_of, decide, rank_suspects
from cropzoo.inference.parcels.summary import Summary, summarize
from cropzoo.inference.parcels.zonal_stats import measure
from cropzoo.io import ProgressCallback

_PIECE = 100_000
"""Parcels in memory at a time; the sums over 20 classes of so many are 70 MB."""


@dataclass(frozen=True)
class ZonalOptions:
    """What is asked of parcels.

    Args:
        crop_column: holds the declared crop, by code or name; "" compares nothing.
        name_column: holds its name; need not exist.
        id_column: names parcels in the list of suspects; "" takes their number in the file, from 1.
        classes: table of crops, see `read_crop_table`; None matches crops by name and code.
        interior: use only pixels that lie wholly in a parcel, where it has any.
        least_pixels: a parcel with fewer is never a suspect.
    """

    crop_column: str = ""
    name_column: str = "crop_name"
    id_column: str = ""
    classes: Path | None = None
    interior: bool = False
    least_pixels: float = 4.0


def map_parcels(
    map_path: Path,
    parcels: Path,
    out: Path,
    options: ZonalOptions | None = None,
    *,
    overwrite: bool = False,
    advance: ProgressCallback = lambda done, total: None,
    piece: int = _PIECE,
) -> Summary:
    """Write parcels with all their columns and those of `COLUMNS`; every one is kept, also outside the map.

    Parcels are read twice, in pieces, so that memory does not grow with their number (but for FlatGeobuf, which is
    written at once).

    Args:
        map_path: class map; its confidence and probabilities are used where they lie beside it.
        parcels: file of one layer of polygons, in any CRS.
        out: file to write, its format told by the suffix.
        options: what is asked.
        overwrite: replace what is there.
        advance: called with parcels done and all of them.
        piece: parcels in memory at a time.

    Raises:
        UsageError: an output that is there, or of no known format; a table without crop column.
        CropzooError: naming the file: the map, the parcels, a column that they lack; nothing can be compared.
    """
    options = options or ZonalOptions()
    check_output_path(out, parcels, overwrite)
    if options.classes is not None and not options.crop_column:
        raise UsageError("--classes says which crops belong to a class; give --crop-column, which holds the crops")
    source, vectors = open_map(map_path), open_vector_file(parcels)
    for column, what, option in (
        (options.crop_column, "declared crop", "--crop-column"),
        (options.id_column, "name of a parcel", "--id-column"),
    ):
        if column:
            require_column(parcels, column, vectors.columns, what, option)
    matching = Matching(source.classes, None if options.classes is None else read_crop_table(options.classes))
    if not supports_append(out):
        piece = max(vectors.count, 1)
    measured = []
    for start, count in split_range(vectors.count, piece):
        measured.append(_measure(source, vectors, start, count, options, matching))
        advance(start + count, vectors.count)
    found = join([each for each, _ in measured])
    if options.crop_column and matching.unknown and not (found.declared is not None and (found.declared >= 0).any()):
        raise CropzooError(_nothing_matches(parcels, options.crop_column, matching))
    rank = None
    if found.declared is not None and found.chance is not None:
        rank = rank_suspects(found.chance, found.agrees, found.pixels, options.least_pixels)
    names = _names(vectors, options.id_column, rank)
    changed = write_vector_file(out, vectors, _written(vectors, found, rank, source, piece))
    no_polygons = sum(none for _, none in measured)
    summary = summarize(source, vectors, found, rank, names, matching.unknown, no_polygons)
    edge_only = int(((found.crop >= 0) & ~found.interior).sum()) if options.interior else 0
    return replace(summary, edge_only=edge_only, changed=changed)


def _measure(
    source: MapFile, vectors: VectorFile, start: int, count: int, options: ZonalOptions, matching: Matching
) -> tuple[Found, int]:
    """What the map says of a piece, and how many of it have no polygon."""
    crop, name = options.crop_column, options.name_column
    wanted = [column for column in (crop, name if name in vectors.columns else "") if column] if crop else []
    frame = vectors.read(start, count, dict.fromkeys(wanted))
    geometry = np.array(frame.geometry, object)
    kept = extract_polygons(geometry)
    polygons = np.full(len(geometry), None, object)
    polygons[kept.kept] = kept.geometry
    try:
        placed = geopandas.GeoSeries(polygons, crs=frame.crs).to_crs(source.grid.crs)
    except (CRSError, ProjError) as error:
        raise CropzooError(
            f"parcels {str(vectors.path)!r}; their CRS and that of the map {str(source.path)!r} cannot be brought "
            f"together ({error}); write the right CRS into the file"
        ) from error
    shapes = np.array(placed, object)
    shapes[~np.isfinite(shapely.bounds(shapes)).all(axis=1)] = None  # beyond where the map's CRS has numbers
    crops = decide(measure(source, shapes), options.interior)
    declared = chance = None
    if crop:
        names = list(frame[name]) if name in frame else [""] * len(frame)
        declared = matching.indices(list(frame[crop]), names)
        chance = chance_of(declared, crops)
    return take(crops, _hectares(shapes, source.grid.crs), declared, chance), len(geometry) - len(kept.geometry)


def _hectares(shapes: NDArray[Any], crs: Any) -> NDArray[np.float64]:
    """(n,), the area of polygons; 0 for None."""
    known = pyproj.CRS.from_user_input(crs)
    geod = known.get_geod()
    if known.is_geographic and geod is not None:
        areas = [0.0 if shape is None else abs(geod.geometry_area_perimeter(shape)[0]) for shape in shapes]
        return np.array(areas) / 1e4
    unit = known.axis_info[0].unit_conversion_factor
    area: NDArray[np.float64] = np.nan_to_num(shapely.area(shapes)) * unit * unit / 1e4
    return area


def _written(
    vectors: VectorFile, found: Found, rank: NDArray[np.int64] | None, source: MapFile, piece: int
) -> Iterator[geopandas.GeoDataFrame]:
    for start, count in split_range(vectors.count, piece):
        frame = vectors.read(start, count)
        # Columns of an earlier table would stand there twice.
        frame = frame.drop(columns=[name for name in vectors.columns if is_ours(name)])
        ranks = None if rank is None else rank[start : start + count]
        made = columns_of(found.part(start, count), ranks, source.classes)
        yield frame.assign(**made).astype({name: kind for name, kind in KINDS.items() if name in made})


def _names(vectors: VectorFile, column: str, rank: NDArray[np.int64] | None) -> Sequence[str]:
    """How the first suspects are called, in their order."""
    if rank is None:
        return ()
    order = np.flatnonzero(rank)
    first = order[np.argsort(rank[order])][: Summary.SUSPECTS]
    if not column:
        return [str(position + 1) for position in first]
    return [str(vectors.read(int(position), 1, [column])[column].iloc[0]) for position in first]


def _nothing_matches(parcels: Path, column: str, matching: Matching) -> str:
    some = ", ".join(repr(crop) for crop, _ in matching.unknown.most_common(5))
    return (
        f"parcels {str(parcels)!r}; no crop of column {column!r} ({some}) is a class of the map "
        f"({', '.join(each.name for each in matching.classes)}); say by --classes which crop is which class, "
        "as the classes.csv of the dataset that the network was trained on does"
    )
