"""Zonal statistics of a map written to a file of parcels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from cropzoo.data.classified_map import MapFile, open_map
from cropzoo.data.declared_crops import CropMatcher
from cropzoo.data.legend import read_crop_table
from cropzoo.data.map_parcels import PIECE, read_map_parcels
from cropzoo.data.parcel_majority import declared_probability, find_majority, rank_suspects
from cropzoo.data.regions import Regions, read_regions
from cropzoo.data.zonal_stats import sum_over_parcels
from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.vector.fields import format_field
from cropzoo.geo.vector.reader import require_column
from cropzoo.geo.vector.source import VectorSource, open_source
from cropzoo.geo.vector.writer import check_output_path, split_range, supports_append, write_vector_file
from cropzoo.inference.parcels.columns import (
    COLUMN_TYPES,
    ParcelStatistics,
    collect_statistics,
    concatenate_statistics,
    is_statistics_column,
    make_columns,
)
from cropzoo.inference.parcels.summary import ParcelSummary, summarize_parcels
from cropzoo.io import ProgressCallback

_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class ZonalOptions:
    """Options of zonal statistics.

    Args:
        crop_column: Column of the declared crop, a code or a name; "" for no comparison.
        name_column: Column of the declared crop's name; may be missing from the file.
        id_column: Column that identifies parcels in the list of suspicious declarations; "" for the number in the
            file, from 1.
        classes: Table of crops and classes, see `read_crop_table`; None matches crops by name and code.
        interior: Whether to use only pixels completely inside a parcel, where there are any.
        min_pixels: Minimum number of pixels of a suspicious parcel.
        encoding: Encoding of the texts in the file of parcels; "" to find it out.
        regions: File of regions to sum areas in; None for none.
        region_column: Column with the names of the regions; "" for `name`, or their numbers.
    """

    crop_column: str = ""
    name_column: str = "crop_name"
    id_column: str = ""
    classes: Path | None = None
    interior: bool = False
    min_pixels: float = 4.0
    encoding: str = ""
    regions: Path | None = None
    region_column: str = ""


def map_parcels(
    map_path: Path,
    parcels: Path,
    out: Path,
    options: ZonalOptions | None = None,
    *,
    overwrite: bool = False,
    advance: ProgressCallback = lambda done, total: None,
    piece: int = PIECE,
) -> ParcelSummary:
    """Write all parcels with their columns and the columns in `COLUMNS`, also parcels outside the map.

    Parcels are read twice, in pieces, so that memory does not grow with their number. FlatGeobuf files are the
    exception: they are written at once.

    Args:
        map_path: Path of the class map; files of confidence and probabilities next to it are used.
        parcels: Path of the parcels, a vector file with one layer of polygons in any CRS.
        out: Path of the file to write; its suffix sets the format.
        options: Options of the statistics.
        overwrite: Whether to replace an existing file.
        advance: Called with (parcels done, total).
        piece: Parcels in memory at a time.

    Raises:
        UsageError: The output exists or has an unknown format; a class table without a crop column.
        CropzooError: The map or the parcels cannot be read, a column is missing, or no crop is a class of the map.
    """
    options = options or ZonalOptions()
    check_output_path(out, parcels, overwrite)
    if options.classes is not None and not options.crop_column:
        raise UsageError("--classes assigns declared crops to classes; give --crop-column, the column of the crops")
    if options.region_column and options.regions is None:
        raise UsageError("--region-column names the column of the regions; give their file by --by")
    source, vectors = open_map(map_path), open_source(parcels, encoding=options.encoding)
    regions = None
    if options.regions is not None:
        regions = read_regions(options.regions, source.grid, options.region_column)
    for column, what, option in (
        (options.crop_column, "declared crop", "--crop-column"),
        (options.id_column, "name of a parcel", "--id-column"),
    ):
        if column:
            require_column(parcels, column, vectors.columns, what, option)
    matcher = CropMatcher(source.classes, None if options.classes is None else read_crop_table(options.classes))
    if not supports_append(out):
        piece = max(vectors.count, 1)
    pieces = []
    for start, count in split_range(vectors.count, piece):
        pieces.append(_compute_statistics(source, vectors, start, count, options, matcher, regions))
        advance(start + count, vectors.count)
    found = concatenate_statistics([each for each, _ in pieces])
    if options.crop_column and matcher.unknown and not (found.declared is not None and (found.declared >= 0).any()):
        raise _nothing_matches(parcels, options.crop_column, matcher)
    rank = None
    if found.declared is not None and found.probability is not None:
        rank = rank_suspects(found.probability, found.agrees, found.pixels, options.min_pixels)
    names_of_regions = () if regions is None else regions.names
    names = _suspect_names(vectors, options.id_column, rank)
    changed = write_vector_file(out, vectors, _add_columns(vectors, found, rank, source, names_of_regions, piece))
    no_polygon = sum(count for _, count in pieces)
    summary = summarize_parcels(source, vectors, found, rank, names, matcher.unknown, no_polygon, names_of_regions)
    edge_only = int(((found.crop >= 0) & ~found.interior).sum()) if options.interior else 0
    for name, problem in sorted(vectors.problems.items()):
        _log.warning("parcels %r: column %r %s", str(parcels), name, problem)
    return replace(summary, edge_only=edge_only, changed=changed)


def _compute_statistics(
    source: MapFile,
    vectors: VectorSource,
    start: int,
    count: int,
    options: ZonalOptions,
    matcher: CropMatcher,
    regions: Regions | None,
) -> tuple[ParcelStatistics, int]:
    """The statistics of a piece of the parcels, and the number of them without a polygon."""
    crop, name = options.crop_column, options.name_column
    wanted = [column for column in (crop, name if name in vectors.columns else "") if column] if crop else []
    read = read_map_parcels(source, vectors, start, count, dict.fromkeys(wanted))
    majority = find_majority(sum_over_parcels(source, read.shapes), options.interior)
    declared = probability = None
    if crop:
        names = list(read.frame[name]) if name in read.frame else [""] * len(read.frame)
        declared = matcher.indices(list(read.frame[crop]), names)
        probability = declared_probability(declared, majority)
    region = None if regions is None else regions.locate(shapely.point_on_surface(read.shapes))
    return collect_statistics(majority, read.hectares, region, declared, probability), read.no_polygon


def _add_columns(
    vectors: VectorSource,
    found: ParcelStatistics,
    rank: NDArray[np.int64] | None,
    source: MapFile,
    regions: Sequence[str],
    piece: int,
) -> Iterator[geopandas.GeoDataFrame]:
    for start, count in split_range(vectors.count, piece):
        frame = vectors.read_range(start, count)
        # Columns of an earlier run are replaced.
        frame = frame.drop(columns=[name for name in vectors.columns if is_statistics_column(name)])
        ranks = None if rank is None else rank[start : start + count]
        made = make_columns(found.select(start, count), ranks, source.classes, source.scores.precision, regions)
        yield frame.assign(**made).astype({name: kind for name, kind in COLUMN_TYPES.items() if name in made})


def _suspect_names(vectors: VectorSource, column: str, rank: NDArray[np.int64] | None) -> Sequence[str]:
    """The names of the first suspicious parcels in order of their rank."""
    if rank is None:
        return ()
    order = np.flatnonzero(rank)
    first = order[np.argsort(rank[order])][: ParcelSummary.SUSPECTS]
    if not column:
        return [str(position + 1) for position in first]
    return [format_field(vectors.read_range(int(position), 1, [column])[column].iloc[0]) for position in first]


def _nothing_matches(parcels: Path, column: str, matcher: CropMatcher) -> CropzooError:
    crops = ", ".join(repr(crop) for crop, _ in matcher.unknown.most_common(5))
    problem = (
        f"parcels {str(parcels)!r}; no crop of column {column!r} ({crops}) is a class of the map "
        f"({', '.join(each.name for each in matcher.classes)})"
    )
    if not matcher.has_codes:
        return CropzooError(
            f"{problem}, whose classes have names and no codes of a register; choose the column with the names of the "
            "crops by --crop-column or --name-column, or give --classes, a table with the columns code and name"
        )
    return CropzooError(
        f"{problem}; assign crops to classes with --classes, a table such as the classes.csv of the training dataset"
    )
