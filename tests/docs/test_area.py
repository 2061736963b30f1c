"""The guide on accuracy and areas runs from generated data to the page, and its estimates cover the truth."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import rasterio

from .test_tutorials import run

GUIDE = Path(__file__).parents[2] / "docs" / "area.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands of the guide have run."""
    folder = tmp_path_factory.mktemp("area")
    page = GUIDE.read_text(encoding="utf-8")
    for language, title, body in re.findall(r'```(\w+)(?: title="([^"]*)")?\n(.*?)```', page, re.DOTALL):
        if language == "python":
            (folder / title).write_text(body, encoding="utf-8")
            continue
        for line in body.strip().splitlines():
            run(shlex.split(line), folder)
    return folder


def hectares(folder: Path, columns: slice = slice(None)) -> list[float]:
    """True areas of the classes."""
    with rasterio.open(folder / "truth.tif") as file:
        return (np.bincount(file.read(1)[:, columns].ravel(), minlength=5) / 100).tolist()


def misses(rows: list[dict[str, float]], truth: list[float]) -> list[float]:
    """Differences to the truth in standard errors; intervals of 95 % need not cover it in one generated example."""
    return [abs(row["value"] - value) / row["error"] for row, value in zip(rows, truth, strict=True)]


@pytest.mark.parametrize("name", ["assessment", "districts", "census", "parcels"])
def test_pages_are_written(folder: Path, name: str) -> None:
    assert "cropzoo assessment" in (folder / f"{name}.html").read_text(encoding="utf-8")
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        assert {"region", "class", "measure", "estimate", "lower", "upper"} <= set(next(csv.reader(file)))


@pytest.mark.parametrize("name", ["assessment", "parcels"])
def test_estimates_are_near_the_truth_where_mapped_areas_are_not(folder: Path, name: str) -> None:
    classes = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["total"]["classes"]
    truth = hectares(folder)
    assert max(misses([each["area_ha"] for each in classes], truth)) < 3
    maize = classes[2]
    assert maize["mapped_ha"] > 1.1 * truth[2]
    assert maize["area_ha"]["upper"] < maize["mapped_ha"]


def test_regions_are_near_the_truth(folder: Path) -> None:
    regions = json.loads((folder / "districts.json").read_text(encoding="utf-8"))["regions"]
    assert [each["name"] for each in regions] == ["West", "East"]
    for region, columns in zip(regions, (slice(0, 240), slice(240, 600)), strict=True):
        assert max(misses([each["area_ha"] for each in region["classes"]], hectares(folder, columns))) < 3.5


def test_declared_crops_gain_precision(folder: Path) -> None:
    for each, truth in zip(
        json.loads((folder / "census.json").read_text(encoding="utf-8"))["assisted"], hectares(folder), strict=True
    ):
        assert abs(each["regression_ha"]["value"] - truth) < 3.5 * each["regression_ha"]["error"]
        assert each["regression_ha"]["error"] < 0.8 * each["direct_ha"]["error"]


def test_points_without_a_label_are_reported(folder: Path) -> None:
    found = json.loads((folder / "assessment.json").read_text(encoding="utf-8"))
    assert (found["drawn"], found["answered"]) == (600, 588)
    assert "12 of 600 pixels (2.0 %) have no label" in found["notes"][0]


def test_the_table_of_the_study_is_its_result() -> None:
    """Ranges of the coverage over areas of more than 2 % of the map, by size of the sample."""
    with (GUIDE.parent / "area_coverage.csv").open(encoding="utf-8") as file:
        rows = [
            row for row in csv.DictReader(file) if row["quantity"].startswith("area") and float(row["truth"]) > 0.02
        ]
    page = GUIDE.read_text(encoding="utf-8")
    for size in ("600", "1200", "2400"):
        ranges = []
        for column in ("coverage", "normal"):
            shares = [100 * float(row[column]) for row in rows if row["size"] == size]
            ranges.append(f"{min(shares):.1f} to {max(shares):.1f} %")
        assert f"| {int(size):,} |" in page
        assert " | ".join(ranges) in page
