"""`cropzoo sample`: what is printed and written, and exit codes; the numbers are tested with `evaluation.area`."""

from __future__ import annotations

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine

from cropzoo.data.classified_map import class_tags
from cropzoo.data.sample import LabelClass
from cropzoo.evaluation.area.points import read_points

CLASSES = (LabelClass("grass", 60, "#33aa33"), LabelClass("maize", 201, "#ddbb22"))


@pytest.fixture
def folder(tmp_path):
    """A map of two crops, three quarters grass and a quarter maize, and parcels on it."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 255, "height": 60, "width": 80}
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 600_000, 0, -10, 5_650_000)}
    with rasterio.open(tmp_path / "map.tif", "w", **profile, **place) as file:
        file.write(np.repeat([[0, 0, 0, 1]], 20, axis=1).repeat(60, axis=0).astype(np.uint8)[None])
        file.update_tags(**class_tags(CLASSES), PRECISION_0="0.9", PRECISION_1="0.8")
    shapes = [
        shapely.box(600_000 + 20 * x, 5_649_400 + 40 * y, 600_020 + 20 * x, 5_649_440 + 40 * y)
        for x in range(40)
        for y in range(15)
    ]
    geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:32631").to_file(tmp_path / "fields.gpkg")
    return tmp_path


def test_points_are_written_and_the_next_steps_are_said(command, folder):
    ended = command("sample", "map.tif", "--n", "150", "--out", "points.gpkg", folder=folder, plugin=False)
    assert ended.code == 0, ended.err
    assert "points     points.gpkg  150 pixels, stratified design, seed 0" in ended.out
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["grass", "3,600", "36.0", "100"] in rows
    assert ["maize", "1,200", "12.0", "50"] in rows
    assert "expected with 150 points: overall accuracy 87.5 %" in ended.out
    assert "This is a plan for a map as accurate as expected, not a result." in ended.out
    assert "cropzoo assess map.tif --points points.gpkg" in ended.out
    points, design = read_points(folder / "points.gpkg")
    assert (len(points), design.kind, design.unit) == (150, "stratified", "pixel")
    assert set(points.reference) == {""}
    assert "map_class" not in pyogrio.read_info(folder / "points.gpkg", layer="points")["fields"]


def test_a_dry_run_writes_nothing(command, folder):
    words = ("sample", "map.tif", "--target-se", "0.02", "--target", "maize:5%", "--dry-run")
    ended = command(*words, "--out", "points.gpkg", folder=folder, plugin=False)
    assert ended.code == 0, ended.err
    assert not (folder / "points.gpkg").exists()
    found = command(*words, "--json", folder=folder, plugin=False).json
    assert found["points"] is None
    assert found["targets"] == {"overall": 0.02, "maize": pytest.approx(0.0125)}
    assert found["expected"]["overall_accuracy_se"] <= 0.02
    assert found["expected"]["classes"][1]["share_se"] <= 0.0125
    assert f"expected with {found['size']:,} points" in ended.out


@pytest.mark.parametrize(
    ("options", "kind", "unit", "strata"),
    [
        (("--design", "simple"), "simple", "pixel", 1),
        (("--design", "two-stage", "--block-side", "10", "--blocks", "12"), "two-stage", "pixel", 1),
        (("--parcels", "fields.gpkg"), "stratified", "parcel", 2),
        (("--strata", "halves.gpkg", "--region-column", "id"), "stratified", "pixel", 4),
    ],
)
def test_designs_and_units(command, folder, options, kind, unit, strata):
    halves = [shapely.box(600_000, 5_649_400 + 300 * k, 600_800, 5_649_700 + 300 * k) for k in range(2)]
    geopandas.GeoDataFrame({"id": [1, 2]}, geometry=halves, crs="EPSG:32631").to_file(folder / "halves.gpkg")
    words = ("sample", "map.tif", "--n", "140", "--out", "points.gpkg", "--show-map-class", "--seed", "3", *options)
    ended = command(*words, folder=folder, plugin=False)
    assert ended.code == 0, ended.err
    points, design = read_points(folder / "points.gpkg")
    assert (len(points), design.kind, design.unit, len(design.strata), design.seed) == (140, kind, unit, strata, 3)
    assert "map_class" in pyogrio.read_info(folder / "points.gpkg", layer="points")["fields"]


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("--n", "150"), 2, "name the points file by --out, or pass --dry-run"),
        (("--out", "p.gpkg"), 2, "give the number of units by --n"),
        (("--n", "3", "--out", "p.gpkg"), 2, "the 2 strata need 4 units"),
        (("--n", "150", "--out", "p.csv"), 2, "give a name that ends in .gpkg"),
        (("--n", "150", "--out", "fields.gpkg", "--parcels", "fields.gpkg"), 2, "it is an input file"),
        (("--n", "150", "--out", "old.gpkg"), 2, "it exists already, perhaps with labels; pass --overwrite"),
        (("--n", "150", "--out", "p.gpkg", "--strata", "fields.gpkg", "--region-column", "x"), 1, "no column 'x'"),
        (("--n", "150", "--out", "p.gpkg", "--strata", "none.gpkg"), 1, "there is no such file"),
    ],
)
def test_wrong_use(command, folder, words, code, problem):
    (folder / "old.gpkg").write_bytes(b"labels")
    ended = command("sample", "map.tif", *words, folder=folder, plugin=False)
    assert ended.code == code
    assert problem in ended.err
    assert (folder / "old.gpkg").read_bytes() == b"labels"
    assert not (folder / "p.gpkg").exists()


def test_an_existing_file_is_replaced_on_request(command, folder):
    words = ("sample", "map.tif", "--n", "150", "--out", "points.gpkg")
    assert command(*words, folder=folder, plugin=False).code == 0
    assert command(*words, folder=folder, plugin=False).code == 2
    assert command(*words, "--overwrite", "--seed", "4", folder=folder, plugin=False).code == 0
    assert read_points(folder / "points.gpkg")[1].seed == 4
