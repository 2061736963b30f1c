"""`cropzoo assess`: texts, files and exit codes; the numbers are tested with `cropzoo.evaluation.area`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import pytest

from ..zoo.evaluation.area.assessed import Study

ASSESS = ("assess", "map.tif", "--points", "points.gpkg")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A map with a known truth and a labeled sample of it, one point without a label."""
    found = Study(tmp_path)
    found.relabel({0: ""})
    return found


def test_result_is_printed_and_written(command: Any, study: Study) -> None:
    study.write_regions({"west": (0, 0, 40, 60)})
    study.write_parcels()
    words = ("--by", "regions.gpkg", "--census", "parcels.gpkg", "--crop-column", "crop", "--out", "found.html")
    ended = command(*ASSESS, *words, folder=study.folder, plugin=False)
    assert ended.code == 0, ended.err
    assert "points     119 of 120 pixels have a label (stratified sample)" in ended.out
    assert "estimated ha (95 % interval)" in ended.out
    assert "west: " in ended.out
    assert "model-assisted areas, by the declared crops" in ended.out
    assert "warning: 1 of 120 pixels (0.8 %) have no label" in ended.err
    assert "wrote found.html, found.json and found.csv" in ended.err
    values = json.loads((study.folder / "found.json").read_text())
    assert values["answered"] == 119
    assert (study.folder / "found.csv").read_text().startswith("region,class,measure,estimate,")
    printed = command(*ASSESS, *words[:-2], "--json", folder=study.folder, plugin=False).json
    assert printed == values


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("--out", "found.pdf"), 2, "ends in .html"),
        (("--out", "old.html"), 2, "'old.csv'; it exists already"),
        (("--census", "parcels.gpkg"), 2, "--census and --crop-column belong together"),
        (("--label-column", "refrence"), 1, "no column 'refrence'; did you mean 'reference'"),
        (("--by", "none.gpkg"), 1, "there is no such file"),
        (("--parcels", "parcels.gpkg"), 2, "pixels and not parcels"),
    ],
)
def test_wrong_use(command: Any, study: Study, words: tuple[str, ...], code: int, problem: str) -> None:
    (study.folder / "old.csv").write_text("kept")
    ended = command(*ASSESS, *words, folder=study.folder, plugin=False)
    assert problem in ended.error
    assert ended.code == code
    assert (study.folder / "old.csv").read_text() == "kept"


def test_a_test_split_is_refused_with_what_to_do(command: Any, study: Study) -> None:
    frame = geopandas.read_file(study.points, layer="points")
    frame.to_file(study.folder / "split.gpkg")
    ended = command("assess", "map.tif", "--points", "split.gpkg", folder=study.folder, plugin=False)
    assert "no sampling design" in ended.error
    assert "`cropzoo sample`" in ended.error
    assert ended.code == 1


def test_existing_files_are_replaced_on_request(command: Any, study: Study) -> None:
    (study.folder / "found.json").write_text("old")
    ended = command(*ASSESS, "--out", "found.html", "--overwrite", folder=study.folder, plugin=False)
    assert ended.code == 0, ended.err
    assert json.loads((study.folder / "found.json").read_text())["drawn"] == 120


def test_sample_and_assess_belong_together(command: Any, study: Study) -> None:
    """Points of `cropzoo sample`, labeled with the truth: each design is read and estimated."""
    study.write_parcels()
    designs = {
        "stratified": (),
        "simple": ("--design", "simple"),
        "two-stage": ("--design", "two-stage", "--block-side", "10", "--blocks", "20"),
        "parcels": ("--parcels", "parcels.gpkg", "--minimum", "5"),
    }
    for name, words in designs.items():
        size = "30" if name == "parcels" else "160"
        file = f"drawn_{name}.gpkg"
        drawn = command("sample", "map.tif", "--n", size, *words, "--out", file, folder=study.folder, plugin=False)
        assert drawn.code == 0, drawn.err
        labels = study.label(study.folder / file)
        ended = command(
            "assess", "map.tif", "--points", labels.name, "--design", file, "--json", folder=study.folder, plugin=False
        )
        found = ended.json
        correct = float((study.labels == study.truth).mean())
        overall = found["total"]["overall"]
        if name == "parcels":
            assert overall["value"] > 0.9  # the majority of a field is right
        else:
            assert abs(overall["value"] - correct) < 3.5 * overall["error"]
        assert sum(each["area_ha"]["value"] for each in found["total"]["classes"]) == pytest.approx(48)
