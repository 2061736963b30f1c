"""The result of an assessment as plain values, from which the page, the JSON and the CSV file are made."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cropzoo.evaluation.area.estimate import Estimates
from cropzoo.evaluation.area.intervals import confidence_intervals

FEW = 30
"""Number of points below which an estimate is called uncertain."""


@dataclass(frozen=True)
class Measure:
    """An estimate; all fields are None where there is none.

    Args:
        value: The estimate.
        error: Standard error.
        lower: Lower limit of the confidence interval.
        upper: Upper limit of the confidence interval.
    """

    value: float | None = None
    error: float | None = None
    lower: float | None = None
    upper: float | None = None

    def scaled(self, factor: float) -> Measure:
        """A multiple, such as an area of a share."""
        return Measure(*(None if each is None else each * factor for each in asdict(self).values()))


@dataclass(frozen=True)
class ClassResult:
    """Accuracy and area of a class.

    Args:
        name: Name of the class.
        color: Color of the class as "#rrggbb"; empty for a class that the map lacks.
        mapped_ha: Area that the map shows, ha; None if it is unknown.
        area_ha: Estimated area, ha.
        share: Estimated share of the area.
        users: User's accuracy.
        producers: Producer's accuracy.
        f1: F1 score.
        points_mapped: Number of points of the class in the map.
        points_reference: Number of points of the class by the reference.
    """

    name: str
    color: str
    mapped_ha: float | None
    area_ha: Measure
    share: Measure
    users: Measure
    producers: Measure
    f1: Measure
    points_mapped: int
    points_reference: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What makes the estimates uncertain."""
        few = [
            f"{count} point{'s' if count != 1 else ''} {where}"
            for count, where in ((self.points_mapped, "in the map"), (self.points_reference, "by the reference"))
            if count < FEW
        ]
        return (f"too few points: {', '.join(few)}",) if few else ()


@dataclass(frozen=True)
class AreaResult:
    """Accuracy and areas of the map or of one region.

    Args:
        name: Name of the region; empty for all of the map.
        area_ha: Area, ha.
        points: Number of points with a label.
        overall: Overall accuracy.
        classes: The classes.
        counts: (K, K), points by class of the map (rows) and of the reference.
        matrix: (K, K), estimated shares of the area.
    """

    name: str
    area_ha: float
    points: int
    overall: Measure
    classes: tuple[ClassResult, ...]
    counts: tuple[tuple[int, ...], ...]
    matrix: tuple[tuple[float, ...], ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What makes the estimates uncertain."""
        if not self.points:
            return ("no point with a label: nothing can be estimated",)
        return (f"too few points: {self.points}",) if self.points < FEW else ()


@dataclass(frozen=True)
class AssistedResult:
    """Model-assisted areas of a class.

    Args:
        name: Name of the class.
        census_ha: Area declared in the census, ha; None without a census.
        mapped_ha: Area that the map shows, ha; None if it was not used.
        direct_ha: Area from the sample alone, ha.
        difference_ha: Area by the difference estimator, ha.
        regression_ha: Area by the regression estimator, ha.
    """

    name: str
    census_ha: float | None
    mapped_ha: float | None
    direct_ha: Measure
    difference_ha: Measure
    regression_ha: Measure


@dataclass(frozen=True)
class StratumResult:
    """Answers in a stratum of the design.

    Args:
        name: Class or region of the stratum, or both.
        units: Number of units in the map.
        area_ha: Area, ha.
        drawn: Number of drawn units.
        answered: Number of units with a label.
    """

    name: str
    units: int
    area_ha: float
    drawn: int
    answered: int


@dataclass(frozen=True)
class Assessment:
    """Result of `assess`.

    Args:
        map_name: File name of the assessed map.
        map_sha256: Its SHA-256.
        sampled_map_name: File name of the map from which the points were drawn.
        same_map: Whether it is the assessed map.
        points_name: File name of the labels.
        label_column: Column of the labels.
        kind: Kind of the design.
        unit: "pixel" or "parcel".
        level: Confidence level.
        method: Method of the intervals.
        drawn: Number of drawn units.
        answered: Number of units with a label.
        strata: The strata.
        total: Results of all of the map.
        regions: Results of regions.
        assisted: Model-assisted areas; empty without auxiliary data.
        auxiliary: What the regression estimator uses, in words.
        notes: Notes on the result, full sentences.
        statement: Paragraph for a report.
        version: Version of cropzoo.
    """

    map_name: str
    map_sha256: str
    sampled_map_name: str
    same_map: bool
    points_name: str
    label_column: str
    kind: str
    unit: str
    level: float
    method: str
    drawn: int
    answered: int
    strata: tuple[StratumResult, ...]
    total: AreaResult
    regions: tuple[AreaResult, ...]
    assisted: tuple[AssistedResult, ...]
    auxiliary: str
    notes: tuple[str, ...]
    statement: str
    version: str

    def to_json(self) -> dict[str, Any]:
        """The result as values of JSON, the notes on classes and regions included."""
        found = asdict(self)
        for area, values in zip((self.total, *self.regions), (found["total"], *found["regions"]), strict=True):
            values["notes"] = area.notes
            for each, row in zip(area.classes, values["classes"], strict=True):
                row["notes"] = each.notes
        return found

    def to_csv(self) -> str:
        """The result as a table with one estimate a row; shares are between 0 and 1, areas in hectares."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ("region", "class", "measure", "estimate", "standard_error", "lower", "upper", "points", "note")
        )
        for area in (self.total, *self.regions):
            writer.writerow(_csv_row(area.name, "", "overall_accuracy", area.overall, area.points, area.notes))
            for each in area.classes:
                for measure, value, points in _class_measures(each):
                    writer.writerow(_csv_row(area.name, each.name, measure, value, points, each.notes))
        for found in self.assisted:
            for measure in ("census_ha", "direct_ha", "difference_ha", "regression_ha"):
                value = getattr(found, measure)
                row = value if isinstance(value, Measure) else Measure(value)
                writer.writerow(_csv_row("", found.name, f"assisted_{measure}", row, self.answered, ()))
        return file.getvalue()


def _class_measures(found: ClassResult) -> Iterator[tuple[str, Measure, int]]:
    yield "mapped_area_ha", Measure(found.mapped_ha), found.points_mapped
    yield "estimated_area_ha", found.area_ha, found.points_reference
    yield "area_share", found.share, found.points_reference
    yield "users_accuracy", found.users, found.points_mapped
    yield "producers_accuracy", found.producers, found.points_reference
    yield "f1", found.f1, found.points_mapped + found.points_reference


def _csv_row(
    region: str, name: str, measure: str, value: Measure, points: int, notes: tuple[str, ...]
) -> tuple[object, ...]:
    texts = ("" if each is None else f"{each:.6g}" for each in asdict(value).values())
    return (region, name, measure, *texts, points, "; ".join(notes))


def make_measures(estimates: Estimates, level: float, method: str) -> list[Measure]:
    """Measures of estimates of shares, with their intervals; one for each element."""
    lower, upper = confidence_intervals(estimates, level, method)
    rows = zip(*(np.ravel(each).tolist() for each in (estimates.value, estimates.error, lower, upper)), strict=True)
    return [Measure() if math.isnan(row[0]) else Measure(*row) for row in rows]
