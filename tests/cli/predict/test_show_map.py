"""`cropzoo show` of a map."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from cropzoo.models.checkpoint import read_metadata

LEGACY = Path(__file__).parents[2] / "data" / "legacy" / "map"


def test_json_has_the_counts_of_the_file(command: Any, whole: Any, outputs: tuple[str, ...]) -> None:
    facts = command("show", "map.tif", "--json", folder=whole.folder).json
    with rasterio.open(whole.folder / "map.tif") as source:
        labels, tags = source.read(1), source.tags()
    assert (facts["kind"], facts["file"], facts["height"], facts["width"]) == ("class map", "map.tif", 72, 60)
    assert [each["pixels"] for each in facts["classes"]] == [(labels == value).sum() for value in range(3)]
    assert [each["hectares"] for each in facts["classes"]] == [(labels == value).sum() / 100 for value in range(3)]
    assert sum(each["share"] for each in facts["classes"]) == pytest.approx(1)
    assert [each["name"] for each in facts["classes"]] == [tags[f"CLASS_{index}"] for index in range(3)]
    assert facts["mapped_hectares"] == pytest.approx((labels != 255).sum() / 100)
    assert facts["nodata_share"] == (labels == 255).mean()
    assert (facts["crs"], facts["pixel_size"], facts["unit"]) == ("EPSG:32631", [10, 10], "metre")
    assert facts["extent"] == [500_000, 5_600_000 - 720, 500_600, 5_600_000]
    west, south, east, north = facts["longitude_latitude"]
    assert 2.999 < west < 3.001 < east < 3.01
    assert 50.5 < south < north < 50.6
    assert (facts["dates"], facts["first_date"], facts["last_date"]) == (4, "2019-04-01", "2019-07-30")
    assert facts["bands"] == ["B02", "B04", "B08"]
    assert facts["checkpoint_sha256"] == tags["CHECKPOINT_SHA256"]
    assert list(facts["outputs"]) == list(outputs)


def test_the_text_fits_in_80_columns(command: Any, whole: Any) -> None:
    lines = command("show", "map.tif", folder=whole.folder).out.splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "4 dates from 2019-04-01 to 2019-07-30" in text
    assert "72 x 60 pixels of 10 m, EPSG:32631" in text
    assert "0.0 % of the pixels (value 255)" in text
    assert "map_probabilities.tif" in text
    assert "Areas are mapped, not estimated" in text
    areas = {line.split()[0]: line.split()[-2] for line in lines if line.split() and line.split()[-1][0].isdigit()}
    with rasterio.open(whole.folder / "map.tif") as source:
        labels = source.read(1)
    assert areas["maize"] == f"{(labels == 1).sum() / 100:.1f}"
    assert "all classes" in text


@pytest.mark.skipif(not LEGACY.is_dir(), reason="there is no map of an earlier version")
def test_a_map_of_an_earlier_version(command: Any, tmp_path: Path) -> None:
    (path,) = (path for path in LEGACY.glob("*.tif") if "_" not in path.stem)
    shutil.copytree(LEGACY, tmp_path / "map")
    facts = command("show", f"map/{path.name}", "--json", folder=tmp_path).json
    with rasterio.open(path) as source:
        assert [each["pixels"] for each in facts["classes"]] == [
            (source.read(1) == each["value"]).sum() for each in facts["classes"]
        ]
    assert command("show", f"map/{path.name}", folder=tmp_path).code == 0


@pytest.mark.parametrize(
    ("name", "bands", "kind", "problem"),
    [
        ("image.tif", 3, "uint16", r"it has 3 band(s) of uint16; a class map has one of uint8"),
        ("labels.tif", 1, "uint8", "its tags hold no classes; give a map that `cropzoo predict` wrote"),
        ("labels.TIFF", 1, "uint8", "its tags hold no classes"),
    ],
)
def test_another_raster_is_refused(
    command: Any, tmp_path: Path, name: str, bands: int, kind: str, problem: str
) -> None:
    profile = {"driver": "GTiff", "count": bands, "height": 4, "width": 4, "dtype": kind, "crs": "EPSG:32631"}
    with rasterio.open(tmp_path / name, "w", transform=Affine(10, 0, 0, 0, -10, 0), **profile) as file:
        file.write(np.zeros((bands, 4, 4), kind))
    error = command("show", name, folder=tmp_path).error
    assert name in error
    assert problem in error


def test_an_output_next_to_a_map_is_refused(command: Any, whole: Any) -> None:
    for name in ("confidence", "margin", "entropy"):
        error = command("show", f"map_{name}.tif", folder=whole.folder).error
        assert f"'map_{name}.tif'; it holds the {name} of a map; give the class map next to it" in error


def test_a_damaged_map_and_options_of_datasets_are_refused(command: Any, whole: Any, tmp_path: Path) -> None:
    (tmp_path / "map.tif").write_bytes((whole.folder / "map.tif").read_bytes()[:200])
    assert "cannot be read" in command("show", "map.tif", folder=tmp_path).error
    assert "it is not a dataset" in command("show", "map.tif", "--check", folder=tmp_path).error


def test_names_of_classes_reach_the_terminal_without_control_characters(
    command: Any, whole: Any, tmp_path: Path
) -> None:
    shutil.copy(whole.folder / "map.tif", tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.update_tags(CLASS_0="\x1b[31mwheat " + "long " * 20)
    ended = command("show", "map.tif", folder=tmp_path)
    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


def test_scores_of_the_model(command: Any, whole: Any, run_folder: Path) -> None:
    ended = command("show", "map.tif", folder=whole.folder)
    scores = read_metadata(run_folder / "model.safetensors").scores
    text = f"test OA {100 * scores['oa']:.1f} %, mIoU {100 * scores['miou']:.1f} % (knn baseline"
    assert text in " ".join(ended.out.split())
    facts = command("show", "map.tif", "--json", folder=whole.folder).json
    assert facts["model"] == "pixelwise"
    assert (facts["model"], facts["dataset"]) == ("pixelwise", "plots")
    assert facts["scores"].startswith(text)
    assert facts["classes"][1]["test_precision"] == pytest.approx(scores["per_class"]["maize"]["precision"], abs=1e-4)
