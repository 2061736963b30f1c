"""Bias, coverage and planned errors of area estimates over repeated samples of a map whose truth is known.

Usage: python benchmarks/area_coverage.py [--repetitions 1000] [--out docs/area_coverage.csv]

A truth of 2,000 x 2,000 pixels and 10 classes is generated as fields, and a map that is wrong in complete fields and in
single pixels. Samples of 600, 1,200 and 2,400 pixels are drawn from it again and again with the allocation of
`cropzoo sample`, and estimated as `cropzoo assess` does. The table has a row for each size and quantity:

- truth, mapped: share of the area, or accuracy, of the truth and as counted in the map.
- bias: mean of the estimates minus the truth, divided by the truth.
- coverage: share of the 95 % intervals that contain the truth, and the same of the normal intervals.
- error, reached: mean of the estimated standard errors, and standard deviation of the estimates.
- planned: standard error that the plan of the sample promised.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from cropzoo.data.classified_map import class_tags, open_map
from cropzoo.data.sample import LabelClass
from cropzoo.evaluation.area.allocation import allocate, expect, expected_errors
from cropzoo.evaluation.area.estimate import Sample, estimate_classes
from cropzoo.evaluation.area.intervals import METHODS, confidence_intervals
from cropzoo.evaluation.area.strata import Strata, count_pixels, make_strata

SIDE, FIELD = 2000, 20
SHARES = (0.27, 0.2, 0.15, 0.11, 0.09, 0.07, 0.045, 0.03, 0.025, 0.01)
"""Shares of the classes in the truth."""

RIGHT = (0.9, 0.87, 0.84, 0.82, 0.8, 0.78, 0.75, 0.72, 0.65, 0.6)
"""Shares of the fields of each class that the map has right."""

NOISE = 0.03
"""Share of the pixels that have any class in the map."""

SIZES = (600, 1200, 2400)
COLUMNS = ("size", "quantity", "truth", "mapped", "bias", "coverage", "normal", "error", "reached", "planned")


def make_landscape(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Truth and map, (2000, 2000)."""
    generator = np.random.default_rng(seed)
    fields = generator.choice(len(SHARES), (SIDE // FIELD,) * 2, p=SHARES)
    right = generator.random(fields.shape) < np.array(RIGHT)[fields]
    mapped = np.where(right, fields, generator.choice(len(SHARES), fields.shape, p=_confused()))
    grown = [np.kron(each, np.ones((FIELD, FIELD), np.uint8)).astype(np.uint8) for each in (fields, mapped)]
    noise = generator.random((SIDE, SIDE)) < NOISE
    return grown[0], np.where(noise, generator.integers(0, len(SHARES), (SIDE, SIDE)), grown[1]).astype(np.uint8)


def _confused() -> NDArray[np.float64]:
    """Classes that wrong fields have in the map: more of the rare ones than there are."""
    weights: NDArray[np.float64] = np.sqrt(SHARES)
    return np.asarray(weights / weights.sum())


def repeat(
    strata: Strata, pixels: list[NDArray[np.int64]], truth: NDArray[np.int64], sampled: NDArray[np.int64], seed: int
) -> Any:
    """Values, errors and limits by both methods of all quantities in one sample."""
    generator = np.random.default_rng(seed)
    drawn = np.concatenate(
        [generator.choice(each, count, False, shuffle=False) for each, count in zip(pixels, sampled, strict=True)]
    )
    stratum = np.repeat(np.arange(len(sampled)), sampled)
    sample = Sample(
        strata=stratum,
        clusters=np.arange(len(drawn)),
        weights=(strata.units / sampled)[stratum],
        areas=np.full(len(drawn), 100.0),
        stratum_areas=strata.area,
        fractions=sampled / strata.units,
    )
    found = estimate_classes(sample, strata.map_class[stratum], truth[drawn], len(SHARES))
    groups = (found.share, found.users, found.producers, found.overall)
    limits = [
        np.concatenate([np.ravel(confidence_intervals(each, method=name)) for each in groups]) for name in METHODS
    ]
    values, errors = (np.concatenate([np.ravel(getattr(each, name)) for each in groups]) for name in ("value", "error"))
    ends = [_split(each) for each in limits]
    return values, errors, ends


def _split(limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower and upper limits, (2, quantities), of limits group by group."""
    count = len(SHARES)
    groups = ((0, count), (2 * count, count), (4 * count, count), (6 * count, 1))
    return np.concatenate([limits[start : start + 2 * size].reshape(2, size) for start, size in groups], axis=1)


def run(repetitions: int, seed: int) -> list[dict[str, Any]]:
    """Rows of the table."""
    truth, labels = make_landscape(seed)
    classes = [LabelClass(f"class {index}", index, f"#{index * 20:02x}8040") for index in range(len(SHARES))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.tif"
        profile = {"driver": "GTiff", "dtype": "uint8", "nodata": 255, "crs": "EPSG:32631", "compress": "deflate"}
        place = from_origin(500_000, 5_600_000, 10, 10)
        with rasterio.open(path, "w", count=1, height=SIDE, width=SIDE, transform=place, **profile) as file:
            file.write(labels, 1)
            file.update_tags(**class_tags(classes))
        strata = make_strata(count_pixels(open_map(path)), by_class=True)
    pixels = [np.flatnonzero(labels == kind) for kind in strata.map_class]
    flat = truth.ravel().astype(np.int64)
    joint = np.bincount(labels.ravel() * len(SHARES) + flat, minlength=len(SHARES) ** 2).reshape(len(SHARES), -1)
    correct, of_map, of_truth = np.diag(joint), joint.sum(axis=1), joint.sum(axis=0)
    true = np.concatenate([of_truth / joint.sum(), correct / of_map, correct / of_truth, [correct.sum() / joint.sum()]])
    mapped = np.concatenate([of_map / joint.sum(), np.full(2 * len(SHARES) + 1, np.nan)])
    names = [f"{what} {index}" for what in ("area", "users", "producers") for index in range(len(SHARES))] + ["overall"]
    expected = expect(strata, correct / of_map)
    rows = []
    for size in SIZES:
        sampled = allocate(expected, size)
        plan = expected_errors(expected, sampled)
        planned = np.concatenate(
            [plan.share_error, plan.accuracy_error, np.full(len(SHARES), np.nan), [plan.overall_error]]
        )
        found = [repeat(strata, pixels, flat, sampled, number) for number in range(repetitions)]
        values, errors = (np.array([each[part] for each in found]) for part in (0, 1))
        covered = [
            np.mean([(each[2][method][0] <= true) & (true <= each[2][method][1]) for each in found], axis=0)
            for method in range(len(METHODS))
        ]
        for index, name in enumerate(names):
            numbers = (
                true[index],
                mapped[index],
                values[:, index].mean() / true[index] - 1,
                covered[0][index],
                covered[1][index],
                errors[:, index].mean(),
                values[:, index].std(),
                planned[index],
            )
            texts = ["" if np.isnan(each) else f"{each:.4f}" for each in numbers]
            rows.append(dict(zip(COLUMNS, (size, name, *texts), strict=True)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="CSV file to write; printed if left out")
    options = parser.parse_args()
    rows = run(options.repetitions, options.seed)
    lines = [",".join(COLUMNS), *(",".join(str(row[name]) for name in COLUMNS) for row in rows)]
    if options.out is None:
        print("\n".join(lines))
    else:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for row in rows:
        if row["quantity"] == "overall" or row["quantity"].startswith("area"):
            print(*row.values())


if __name__ == "__main__":
    main()
