"""The points file: a GeoPackage with the units of a reference sample and the design by which they were drawn."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
from numpy.typing import NDArray

from cropzoo.data.legend import read_csv_rows
from cropzoo.errors import CropzooError, UsageError, suggest
from cropzoo.evaluation.area.design import SamplingDesign
from cropzoo.geo.vector.fields import format_field, read_number
from cropzoo.geo.vector.longitudes import reproject
from cropzoo.geo.vector.source import check_file, open_source, reading
from cropzoo.geo.vector.writer import write_geopackage

POINTS_LAYER, DESIGN_TABLE = "points", "design"
REFERENCE = "reference"
"""Column of the interpreter's labels, unless another one is named."""

_ID, _STRATUM, _PROBABILITY, _AREA, _BLOCK, _NOTE = (
    "point_id",
    "stratum",
    "inclusion_probability",
    "area_m2",
    "block",
    "note",
)
_MAP_CLASS = "map_class"
_SHOWN = 5
"""Number of ids in a message."""


@dataclass(frozen=True)
class Points:
    """Units of a reference sample, n of them.

    Args:
        ids: (n,), int64, numbers of the points; in random order, so that they do not reveal the stratum.
        geometry: (n,), points at pixel centers, or polygons of parcels, in the CRS of the design.
        strata: (n,), int64, numbers of the strata.
        probabilities: (n,), float64, inclusion probabilities, over 0 and up to 1.
        areas: (n,), float64, areas of the units, square meters.
        blocks: (n,), int64, numbers of the blocks of a two-stage design; None for other designs.
        reference: n labels of the interpreter, empty where there is no answer.
        notes: n notes of the interpreter.
        map_classes: n names of the class in the map, which the interpreter sees; None if they are hidden.
    """

    ids: NDArray[np.int64]
    geometry: NDArray[Any]
    strata: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    areas: NDArray[np.float64]
    blocks: NDArray[np.int64] | None = None
    reference: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    map_classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: NDArray[np.int64]) -> Points:
        """Some of the points, in the order of their positions."""

        def take_texts(texts: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(texts[each] for each in positions.tolist()) if texts else ()

        return Points(
            ids=self.ids[positions],
            geometry=self.geometry[positions],
            strata=self.strata[positions],
            probabilities=self.probabilities[positions],
            areas=self.areas[positions],
            blocks=None if self.blocks is None else self.blocks[positions],
            reference=take_texts(self.reference),
            notes=take_texts(self.notes),
            map_classes=None if self.map_classes is None else take_texts(self.map_classes),
        )


def write_points(path: Path, points: Points, design: SamplingDesign) -> None:
    """Write a points file; it replaces an existing one only when it is complete.

    Args:
        path: Path of the GeoPackage.
        points: The units; labels and notes may be empty.
        design: How they were drawn.

    Raises:
        UsageError: The name does not end in .gpkg.
        CropzooError: The file cannot be written.
    """
    if path.suffix.lower() != ".gpkg":
        raise UsageError(f"--out {str(path)!r}; the points are written as a GeoPackage; give a name that ends in .gpkg")
    empty = ("",) * len(points)
    columns: dict[str, Any] = {
        _ID: points.ids,
        _STRATUM: points.strata,
        _PROBABILITY: points.probabilities,
        _AREA: points.areas,
    }
    if points.blocks is not None:
        columns[_BLOCK] = points.blocks
    if points.map_classes is not None:
        columns[_MAP_CLASS] = np.array(points.map_classes, object)
    columns[REFERENCE] = np.array(points.reference or empty, object)
    columns[_NOTE] = np.array(points.notes or empty, object)
    frame = geopandas.GeoDataFrame(columns, geometry=list(points.geometry), crs=design.crs)
    values = design.to_json()
    table = pd.DataFrame({"key": list(values), "value": [json.dumps(value) for value in values.values()]})
    write_geopackage(path, {POINTS_LAYER: frame, DESIGN_TABLE: table})


def read_points(
    path: Path, *, label_column: str = REFERENCE, design: Path | None = None
) -> tuple[Points, SamplingDesign]:
    """Read a labeled reference sample.

    Args:
        path: Points file with labels; or, if `design` is given, any vector file or a CSV file with the columns
            `point_id` and that of the labels.
        label_column: Column of the labels.
        design: Points file as `cropzoo sample` wrote it, if the labels are in another file; points that the file of
            the labels lacks have no label.

    Returns:
        The points with their labels, in the CRS of the design, and the design.

    Raises:
        CropzooError: A file is missing or unreadable, has no design or a broken one, lacks a column, has a point twice
            or one that was not drawn, or lacks a point that was drawn.
    """
    source = path if design is None else design
    stored = _read_design(source)
    points = _read_units(source, stored, label_column if design is None else None)
    if design is None:
        return points, stored
    labels = _read_labels(path, label_column, points, stored)
    unknown = [each for each in labels if each not in set(points.ids.tolist())]
    if unknown:
        raise CropzooError(
            f"labels {str(path)!r}; {_list_ids(unknown)} not in the sample {str(design)!r}; a point that was not drawn "
            "at random would bias the result; remove it, or pass the --design of these labels"
        )
    return replace(points, reference=tuple(labels.get(each, "") for each in points.ids.tolist())), stored


def _read_design(path: Path) -> SamplingDesign:
    """The design in a points file."""
    subject = f"points {str(path)!r}"
    if not path.exists():
        raise CropzooError(f"{subject}; there is no such file; check its name")
    missing = (
        f"{subject}; it has no sampling design, so it is not known with which probability each point was drawn, and "
        "nothing about the whole map can be estimated from it; draw points with `cropzoo sample`, or pass the file "
        "that it wrote as --design"
    )
    if path.suffix.lower() != ".gpkg":
        raise CropzooError(missing)
    check_file(path, "points")
    with reading(path, "points"):
        if DESIGN_TABLE not in [str(name) for name, _ in pyogrio.list_layers(path)]:
            raise CropzooError(missing)
        table = pyogrio.read_dataframe(path, layer=DESIGN_TABLE, read_geometry=False, use_arrow=False)
    try:
        values = {str(key): json.loads(text) for key, text in zip(table["key"], table["value"], strict=True)}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CropzooError(
            f"{subject}; its sampling design cannot be read ({error}); use the points file as `cropzoo sample` wrote it"
        ) from error
    return SamplingDesign.from_json(values, subject)


def _read_units(path: Path, design: SamplingDesign, label_column: str | None) -> Points:
    """The units of a points file, with the labels of a column if one is named."""
    source = open_source(path, what="points")
    needed = [_ID, _STRATUM, _PROBABILITY, _AREA, *([_BLOCK] if design.block_side is not None else [])]
    for column in needed:
        _require_column(f"points {str(path)!r}", column, source.columns, "use the file that `cropzoo sample` wrote")
    if label_column is not None:
        _require_label_column(f"points {str(path)!r}", label_column, source.columns)
    frame = source.read_range(0, source.count)
    try:
        numbers = {name: frame[name].to_numpy(np.float64, na_value=np.nan) for name in needed}
    except (TypeError, ValueError) as error:
        raise CropzooError(
            f"points {str(path)!r}; a column of the design is no longer numeric ({error}); use the file that `cropzoo "
            "sample` wrote"
        ) from error
    if broken := [name for name, values in numbers.items() if not np.isfinite(values).all()]:
        raise CropzooError(
            f"points {str(path)!r}; column {broken[0]!r} has empty fields; remove points that were added by hand, and "
            "restore the others from the file that `cropzoo sample` wrote"
        )
    ids = numbers[_ID].astype(np.int64)
    _refuse_double(ids.tolist(), f"points {str(path)!r}")
    points = Points(
        ids=ids,
        geometry=reproject(np.array(frame.geometry, object), source.crs, design.crs),
        strata=numbers[_STRATUM].astype(np.int64),
        probabilities=numbers[_PROBABILITY],
        areas=numbers[_AREA],
        blocks=numbers[_BLOCK].astype(np.int64) if design.block_side is not None else None,
        reference=_texts(frame, label_column),
        notes=_texts(frame, _NOTE if _NOTE in frame.columns else None),
        map_classes=_texts(frame, _MAP_CLASS) if _MAP_CLASS in frame.columns else None,
    )
    _check_complete(points, design, path)
    return points


def _check_complete(points: Points, design: SamplingDesign, path: Path) -> None:
    """Raise unless the file has exactly the points that were drawn from each stratum."""
    found = Counter(points.strata.tolist())
    known = {each.number: each.sampled for each in design.strata}
    for number in sorted(set(found) | set(known)):
        there, drawn = found.get(number, 0), known.get(number, 0)
        if there != drawn:
            what = "points were removed" if there < drawn else "points were added"
            raise CropzooError(
                f"points {str(path)!r}; stratum {number} has {there} points, and {drawn} were drawn, so {what}; use "
                "all points of the file that `cropzoo sample` wrote, and leave the label of a point empty if it cannot "
                "be interpreted"
            )


def _read_labels(path: Path, label_column: str, points: Points, design: SamplingDesign) -> dict[int, str]:
    """Labels by number of the point, from a vector file or CSV."""
    subject = f"labels {str(path)!r}"
    geometry = None
    if path.suffix.lower() == ".csv":
        columns, fields = _read_csv_fields(path)
    else:
        columns, fields, geometry = _read_vector_fields(path, design.crs)
    _require_column(subject, _ID, columns, "labels are assigned to points by it")
    _require_label_column(subject, label_column, columns)
    ids = []
    for value in fields(_ID):
        text = format_field(None if pd.isna(value) else value)
        if not text.isdecimal():
            raise CropzooError(
                f"{subject}; its column {_ID!r} has {text!r}; give the number of the point in the file of `cropzoo "
                "sample`"
            )
        ids.append(int(text))
    _refuse_double(ids, subject)
    _refuse_other_sample(ids, columns, fields, geometry, points, design, subject)
    return dict(zip(ids, (_text(value) for value in fields(label_column)), strict=True))


def _refuse_other_sample(
    ids: Sequence[int],
    columns: Sequence[str],
    fields: _Fields,
    geometry: NDArray[Any] | None,
    points: Points,
    design: SamplingDesign,
    subject: str,
) -> None:
    """Raise if labels have another stratum, block or place than the points of their numbers.

    All samples number their points from 1, so that the numbers alone do not tell one sample from another.
    """
    position = {number: index for index, number in enumerate(points.ids.tolist())}
    there = [(row, position[number]) for row, number in enumerate(ids) if number in position]
    wrong: set[int] = set()
    for name, values in ((_STRATUM, points.strata), (_BLOCK, points.blocks)):
        if values is not None and name in columns:
            found = [read_number(_text(value)) for value in fields(name)]
            wrong |= {row for row, index in there if found[row] is not None and found[row] != values[index]}
    if geometry is not None:
        for row, index in there:
            if geometry[row] is not None and not _is_near(geometry[row], points.geometry[index], design):
                wrong.add(row)
    if wrong:
        raise CropzooError(
            f"{subject}; {_list_ids([ids[row] for row in sorted(wrong)])} of another stratum, block or place than in "
            "the --design, so the labels belong to another sample; pass the points file that these labels were made "
            "from as --design"
        )


def _is_near(one: Any, other: Any, design: SamplingDesign) -> bool:
    """Whether the centers of the boxes of two geometries are closer than half a pixel."""
    if one.is_empty:
        return True  # a table without places
    a, b, _, d, e, _ = design.transform
    (left, low, right, high), (west, south, east, north) = one.bounds, other.bounds
    across, along = (left + right - west - east) / 2, (low + high - south - north) / 2
    return math.hypot(across, along) < math.sqrt(abs(a * e - b * d)) / 2


_Fields = Callable[[str], Sequence[Any]]
"""Function from the name of a column to its fields."""


def _read_csv_fields(path: Path) -> tuple[Sequence[str], _Fields]:
    rows = [row for _, row in read_csv_rows(path, "labels")]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, lambda name: [row.get(name, "") for row in rows]


def _read_vector_fields(path: Path, crs: str) -> tuple[Sequence[str], _Fields, NDArray[Any]]:
    source = open_source(path, what="labels")
    frame = source.read_range(0, source.count)
    geometry = reproject(np.array(frame.geometry, object), source.crs, crs)
    return source.columns, lambda name: list(frame[name]), geometry


def _texts(frame: pd.DataFrame, column: str | None) -> tuple[str, ...]:
    return ("",) * len(frame) if column is None else tuple(map(_text, frame[column].tolist()))


def _text(value: Any) -> str:
    return format_field(None if pd.isna(value) else value)


def _require_column(subject: str, column: str, columns: Sequence[str], advice: str) -> None:
    if column not in columns:
        raise CropzooError(f"{subject}; it has no column {column!r}; {advice}")


def _require_label_column(subject: str, column: str, columns: Sequence[str]) -> None:
    advice = f"{suggest(column, columns)}; name the column of the labels by --label-column"
    _require_column(subject, column, columns, advice)


def _refuse_double(ids: Sequence[int], subject: str) -> None:
    double = [each for each, count in Counter(ids).items() if count > 1]
    if double:
        raise CropzooError(f"{subject}; {_list_ids(double)} there more than once; keep one row of each point")


def _list_ids(ids: Sequence[int]) -> str:
    """Text such as "points 3, 5 and 2 more are", for a message."""
    shown = ", ".join(map(str, ids[:_SHOWN]))
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"point {shown} is" if len(ids) == 1 else f"points {shown}{more} are"
