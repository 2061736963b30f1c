"""Observations: the points of a reference sample with their class in a map, their labels and their strata."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cropzoo.data.classified_map import MapFile
from cropzoo.data.declared_crops import UNKNOWN, CropMatcher
from cropzoo.data.parcel_majority import find_majority
from cropzoo.data.zonal_stats import sum_over_parcels
from cropzoo.errors import CropzooError, suggest
from cropzoo.evaluation.area.design import PARCEL, TWO_STAGE, SamplingDesign
from cropzoo.evaluation.area.estimate import Sample
from cropzoo.evaluation.area.points import Points
from cropzoo.geo.raster.grid import Grid, open_raster
from cropzoo.geo.vector.fields import normalize_text
from cropzoo.geo.vector.layer import find_longitude
from cropzoo.geo.vector.longitudes import reproject

_log = logging.getLogger("cropzoo")

_SHOWN = 5
_SIDE = 512
"""Side of the windows in which pixels are read, that of the tiles of a map file."""

_PROBABILITY = 1e-6
"""Relative difference of inclusion probabilities that rounding explains."""

_MOVED = 0.25
"""Distance from the center of a pixel, in pixels, that no rounding or change of the CRS explains."""

_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True)
class Observations:
    """Points with an answer, n of them, as the estimators need them.

    Args:
        sample: Strata, weights and areas.
        mapped: (n,), int64, class in the map.
        reference: (n,), int64, class by the label.
        classes: Names of the classes: those of the map, then those that only labels have.
        places: (n,), a point within each unit, in the CRS of the map.
        kept: (n,), int64, position of each among the points of the file.
    """

    sample: Sample
    mapped: NDArray[np.int64]
    reference: NDArray[np.int64]
    classes: tuple[str, ...]
    places: NDArray[Any]
    kept: NDArray[np.int64]


def observe(source: MapFile, points: Points, design: SamplingDesign, *, same_map: bool) -> Observations:
    """Points with their classes in the map and by their labels.

    Args:
        source: The map to assess.
        points: Labeled points, in the CRS of the design.
        design: How they were drawn.
        same_map: Whether the points were drawn from this map; then its classes must be those of the strata.

    Raises:
        CropzooError: A point is outside the map, on nodata, or not where it was drawn; no point or too few points of a
            stratum have a label; or inclusion probabilities contradict the design.
    """
    _check_probabilities(points, design)
    labels, classes = _match_labels(source, points)
    kept = np.flatnonzero(labels >= 0)
    points = points.take(kept)
    _check_geometry(points, design)
    geometry = reproject(points.geometry, design.crs, source.grid.crs, find_longitude(source.grid))
    places = shapely.point_on_surface(geometry) if design.unit == PARCEL else geometry
    if design.unit == PARCEL:
        mapped = find_majority(sum_over_parcels(source, geometry)).crop.astype(np.int64)
        _refuse(points, mapped < 0, "outside the map or where it has no data", source)
    else:
        mapped = _read_pixels(source, points, places)
    if same_map:
        _check_strata(points, mapped, design, source)
    return Observations(_make_sample(points, design), mapped, labels[kept], classes, places, kept)


def _check_geometry(points: Points, design: SamplingDesign) -> None:
    """Raise unless the units are polygons, or points near the centers of the pixels that were drawn."""
    allowed = _POLYGONS if design.unit == PARCEL else (shapely.GeometryType.POINT,)
    wrong = ~np.isin(shapely.get_type_id(points.geometry), allowed) | shapely.is_empty(points.geometry)
    if wrong.any():
        what = "polygon" if design.unit == PARCEL else "point"
        raise CropzooError(
            f"points {_ids(points, wrong)}; their geometry is no {what}; use the file as `cropzoo sample` wrote it"
        )
    if design.unit == PARCEL:
        return
    columns, rows = _to_pixels(design.transform, points.geometry)
    off = np.maximum(np.abs(columns % 1 - 0.5), np.abs(rows % 1 - 0.5))
    moved = (off > _MOVED) | (rows < 0) | (columns < 0) | (rows >= design.shape[0]) | (columns >= design.shape[1])
    if moved.any():
        raise CropzooError(
            f"points {_ids(points, moved)}; they are not at the center of a pixel of the map {design.map_name!r}, so "
            "they were moved; use the geometries of the file that `cropzoo sample` wrote"
        )
    pixels = np.floor(rows).astype(np.int64) * design.shape[1] + np.floor(columns).astype(np.int64)
    if design.pixels:
        drawn = dict(enumerate(design.pixels, start=1))
        other = np.array([drawn.get(number) for number in points.ids.tolist()], object) != pixels
        if other.any():
            raise CropzooError(
                f"points {_ids(points, other)}; they are in other pixels of the map {design.map_name!r} than those "
                "that were drawn, so they were moved; use the geometries of the file that `cropzoo sample` wrote"
            )
    _, pixel, count = np.unique(pixels, return_inverse=True, return_counts=True)
    shared = count[pixel] > 1
    if shared.any():
        raise CropzooError(
            f"points {_ids(points, shared)}; two of them are in one pixel of the map {design.map_name!r}, and a pixel "
            "is drawn only once, so they were moved; use the geometries of the file that `cropzoo sample` wrote"
        )


def _to_pixels(transform: Sequence[float], places: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows of points."""
    a, b, c, d, e, f = transform[:6]
    x, y = shapely.get_x(places) - c, shapely.get_y(places) - f
    determinant = a * e - b * d
    return (e * x - b * y) / determinant, (a * y - d * x) / determinant


def locate_pixels(grid: Grid, places: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the pixels that contain points; negative or beyond the grid outside it."""
    columns, rows = (np.floor(each).astype(np.int64) for each in _to_pixels(tuple(grid.transform), places))
    return rows, columns


def _read_pixels(source: MapFile, points: Points, places: NDArray[Any]) -> NDArray[np.int64]:
    """Class of the map at each point."""
    rows, columns = locate_pixels(source.grid, places)
    outside = (rows < 0) | (columns < 0) | (rows >= source.grid.height) | (columns >= source.grid.width)
    _refuse(points, outside, "outside the map", source)
    values = np.zeros(len(points), np.int64)
    tiles = rows // _SIDE * (source.grid.width // _SIDE + 1) + columns // _SIDE
    with open_raster(source.path) as raster:
        for tile in np.unique(tiles).tolist():
            inside = tiles == tile
            row, column = (int(each[inside][0]) // _SIDE * _SIDE for each in (rows, columns))
            ends = min(row + _SIDE, source.grid.height), min(column + _SIDE, source.grid.width)
            labels = raster.read(1, window=((row, ends[0]), (column, ends[1])))
            values[inside] = labels[rows[inside] - row, columns[inside] - column]
    _refuse(points, values >= len(source.classes), "where the map has no data", source)
    return values


def _refuse(points: Points, wrong: NDArray[np.bool_], where: str, source: MapFile) -> None:
    if wrong.any():
        raise CropzooError(
            f"points {_ids(points, wrong)}; they are {where} ({str(source.path)!r}); assess a map that covers the "
            "complete area from which the points were drawn, and restore points that were moved"
        )


def _check_strata(points: Points, mapped: NDArray[np.int64], design: SamplingDesign, source: MapFile) -> None:
    """Raise unless the map has the class of its stratum at every point."""
    expected = {each.number: -1 if each.map_class is None else each.map_class for each in design.strata}
    classes = np.array([expected[number] for number in points.strata.tolist()])
    moved = (classes >= 0) & (classes != mapped)
    if moved.any():
        raise CropzooError(
            f"points {_ids(points, moved)}; the map {str(source.path)!r} has another class there than their strata, so "
            "they were moved or are not the points that were drawn; use the geometries and strata of the file that "
            "`cropzoo sample` wrote"
        )


def _make_sample(points: Points, design: SamplingDesign) -> Sample:
    """Strata and weights of labeled points; the others are taken as missing at random within their stratum or block."""
    drawn = [each for each in design.strata if each.sampled]
    undrawn = [each for each in design.strata if not each.sampled]
    if undrawn:
        raise CropzooError(
            f"sampling design of {design.map_name!r}; no unit was drawn from {len(undrawn)} of its "
            f"{len(design.strata)} strata, so nothing is known about them; draw a sample with more units"
        )
    position = {each.number: index for index, each in enumerate(drawn)}
    strata = np.array([position[number] for number in points.strata.tolist()], np.int64)
    two_stage = design.kind == TWO_STAGE
    clusters = points.ids if points.blocks is None else points.blocks
    found = Counter(key for key, _ in {(int(s), int(c)) for s, c in zip(strata, clusters, strict=True)})
    for each in drawn:
        answered, complete = found.get(position[each.number], 0), each.sampled == each.units
        if answered < (1 if complete and not two_stage else 2):
            raise CropzooError(
                f"labels; stratum {each.number} has {answered} {'blocks' if two_stage else 'points'} with a label, of "
                f"{each.sampled_blocks if two_stage else each.sampled} that were drawn, and at least 2 are needed to "
                "know its variance; label more points, or draw a sample with more units"
            )
    answered_units = np.bincount(strata, minlength=len(drawn))
    units = np.array([each.units for each in drawn], np.float64)
    return Sample(
        strata=strata,
        clusters=np.asarray(clusters, np.int64),
        weights=1 / points.probabilities,
        areas=points.areas,
        stratum_areas=np.array([each.area for each in drawn]),
        fractions=np.zeros(len(drawn)) if two_stage else answered_units / units,
    )


def _check_probabilities(points: Points, design: SamplingDesign) -> None:
    """Raise unless the inclusion probabilities are those of the design."""
    known = {each.number: each for each in design.strata}
    wrong = ~((points.probabilities > 0) & (points.probabilities <= 1 + _PROBABILITY))
    wrong |= ~((points.areas > 0) & np.isfinite(points.areas))
    if design.kind != TWO_STAGE:
        expected = np.array([known[number].sampled / known[number].units for number in points.strata.tolist()])
        wrong |= np.abs(points.probabilities - expected) > _PROBABILITY * expected
    if wrong.any():
        raise CropzooError(
            f"points {_ids(points, wrong)}; their inclusion probabilities or areas are not those of the sampling "
            "design; use the file as `cropzoo sample` wrote it"
        )


def _match_labels(source: MapFile, points: Points) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class of each label, -1 without one, and the names of all classes; labels that the map lacks are classes too."""
    names = [each.name for each in source.classes]
    texts = [normalize_text(each) for each in points.reference]
    if not any(texts):
        raise CropzooError(
            "labels; none of the points has one; fill in the column, or name another one by --label-column"
        )
    found = CropMatcher(source.classes).indices(texts, [""] * len(texts)).astype(np.int64)
    extra: dict[str, tuple[int, str]] = {}
    for position in np.flatnonzero(found == UNKNOWN).tolist():
        key = texts[position].casefold()
        index, _ = extra.setdefault(key, (len(names) + len(extra), texts[position]))
        found[position] = index
    counts = Counter(texts[position].casefold() for position in np.flatnonzero(found >= len(names)).tolist())
    for key, (_, name) in extra.items():
        _log.warning(
            "%d point(s) have the label %r, which is no class of the map; %s; it is counted as a class that the map "
            "lacks",
            counts[key],
            name,
            suggest(name, names),
        )
    if len(extra) and (found[found >= 0] >= len(names)).all():
        raise CropzooError(
            f"labels; none of them is a class of the map; use its names ({', '.join(names[:_SHOWN])}, ...) or codes"
        )
    return found, (*names, *(name for _, name in extra.values()))


def _ids(points: Points, wrong: NDArray[np.bool_]) -> str:
    ids = points.ids[wrong].tolist()
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(map(str, ids[:_SHOWN])) + more
