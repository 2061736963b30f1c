"""`cropzoo prepare`: from parcels and images to a dataset, at a first go, interrupted, and with wrong input."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from shapely.geometry import box

TRAIN = ("--backbone", "pixelwise", "--set", "image_size=6", "-b", "4", "--device", "cpu", "--epochs", "1")
WINDOW = ("--window", "8", "--block", "8")


@pytest.fixture(scope="module")
def geotiff(generator: Any) -> ModuleType:
    """The generator of tiny sites: 24 x 32 pixels, three dates, six parcels."""
    made: ModuleType = generator("geotiff")
    return made


@pytest.fixture(scope="module")
def site(geotiff: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A site that tests read and do not change."""
    return geotiff.make_site(tmp_path_factory.mktemp("site") / "north")


@pytest.fixture
def own(site: Any, tmp_path: Path) -> Path:
    """A copy of the site to spoil."""
    return Path(shutil.copytree(site.folder, tmp_path / "site"))


def order(folder: Path, *more: object, out: object = "ds", workers: int = 1) -> tuple[object, ...]:
    files = ("--parcels", folder / "parcels.gpkg", "--images", f"{folder}/S2_*.tif")
    return ("prepare", *files, *WINDOW, "--out", out, "-j", workers, *more)


def read(folder: Path) -> dict[str, Any]:
    """What the layout holds, put together again: pixels, clear, codes and parcels of the whole site."""
    index = json.loads((folder / "metadata.geojson").read_text())["features"]
    codes = {row["index"]: row["code"] for row in csv.DictReader((folder / "classes.csv").open())}
    to_code = np.full(256, -1)
    to_code[[int(key) for key in codes]] = [int(code) if code else -1 for code in codes.values()]
    whole: dict[str, Any] = {}
    for feature in index:
        facts = feature["properties"]
        name, (a, _, west, _, e, north) = facts["ID_PATCH"], facts["transform"]
        row, column = round((north - 5_600_000) / e), round((west - 500_000) / a)
        parts = {
            "pixels": np.load(folder / f"DATA_S2/S2_{name}.npy"),
            "clear": np.load(folder / f"DATA_CLEAR/CLEAR_{name}.npy"),
            "codes": to_code[np.load(folder / f"ANNOTATIONS/TARGET_{name}.npy")[0]],
            "parcels": np.load(folder / f"ANNOTATIONS/ParcelIDs_{name}.npy"),
        }
        for key, part in parts.items():
            target = whole.setdefault(key, np.zeros((*part.shape[:-2], 24, 32), part.dtype))
            target[..., row : row + part.shape[-2], column : column + part.shape[-1]] = part
    return whole


@pytest.fixture(scope="module")
def prepared(command: Any, site: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A dataset of the site."""
    ended = command(*order(site.folder, workers=2), folder=tmp_path_factory.mktemp("made"))
    assert ended.code == 0, ended.err
    return ended


def test_every_pixel_date_label_and_parcel_is_kept(prepared: Any, site: Any) -> None:
    whole = read(prepared.folder / "ds")
    assert (whole["pixels"] == site.pixels[:, :2]).all()
    assert whole["pixels"].dtype == np.uint16
    assert (whole["clear"] == np.isin(site.pixels[:, 2], (4, 5, 6))).all()
    assert (whole["codes"] == site.labels).all()
    assert (whole["parcels"] == site.ids).all()


def test_it_says_what_it_made_and_how_to_go_on(prepared: Any) -> None:
    assert "cropzoo train --backbone tsvit --dataset ds/" in prepared.out
    assert "wheat" in prepared.out
    assert "3 dates from 2019-03-01 to 2019-07-20" in prepared.err
    folder = prepared.folder / "ds"
    assert "wheat" in (folder / "README.md").read_text()
    assert "wheat" in (folder / "quicklook.html").read_text()


def test_it_trains(command: Any, prepared: Any) -> None:
    ended = command("train", *TRAIN, "--dataset", "ds/", "--name", "first", "--json", folder=prepared.folder)
    assert ended.json["test"]["pixels"] > 0
    assert command("evaluate", "runs/first", folder=prepared.folder).code == 0


def test_a_second_go_makes_nothing_again(command: Any, prepared: Any, site: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in (prepared.folder / "ds/DATA_S2").iterdir()}
    ended = command(*order(site.folder), folder=prepared.folder)
    assert ended.code == 0
    assert "made already" in ended.err
    assert before == {path: path.stat().st_mtime_ns for path in (prepared.folder / "ds/DATA_S2").iterdir()}


def test_other_options_need_overwrite(command: Any, site: Any, tmp_path: Path) -> None:
    assert command(*order(site.folder), folder=tmp_path).code == 0
    other = order(site.folder, "--conflict", "0.2")
    assert "begun with other options" in command(*other, folder=tmp_path).error.replace("\n", " ")
    assert command(*other, "--overwrite", folder=tmp_path).code == 0


def test_a_window_that_is_all_there_is_cannot_be_split(command: Any, site: Any, tmp_path: Path) -> None:
    ended = command(*order(site.folder, "--window", "128"), folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "1 block(s) of ground cannot be split" in ended.err
    assert "--window 8" in ended.err.replace("\n", " ")
    assert "cropzoo train" not in ended.out
    assert np.load(next((tmp_path / "ds/DATA_S2").iterdir())).shape == (3, 2, 24, 32)
    assert "split 'val' of the dataset is empty" in command("train", *TRAIN, "--dataset", "ds/", folder=tmp_path).error


def test_dry_run_writes_nothing(command: Any, site: Any, tmp_path: Path) -> None:
    ended = command(*order(site.folder, "--dry-run"), folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "samples  12 of up to 8 x 8 pixels, 3 dates, bands B04, B08" in ended.out
    assert "wheat" in ended.out
    assert not list(tmp_path.iterdir())


def test_a_truncated_image_stops_it_and_it_goes_on_once_mended(command: Any, own: Path, site: Any) -> None:
    image = own / "S2_2019-05-16.tif"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    error = command(*order(own), folder=own.parent).error
    assert "S2_2019-05-16.tif" in error
    assert not (own.parent / "ds/metadata.geojson").exists()
    image.write_bytes(whole)
    assert command(*order(own), folder=own.parent).code == 0
    assert (read(own.parent / "ds")["pixels"] == site.pixels[:, :2]).all()


@pytest.fixture
def wide(geotiff: ModuleType, own: Path) -> Path:
    """A site of 96 x 96 pixels in strips of 32 rows: three regions that are read one after the other."""
    for image in own.glob("S2_*.tif"):
        geotiff.rewrite(image, lambda values: np.tile(values, (1, 4, 3)), blockysize=32)
    return own


def test_what_is_done_is_not_done_again(command: Any, wide: Path, tmp_path: Path) -> None:
    """It is ended in the middle: what the journal holds stays as it is, and the rest is made."""
    image = wide / "S2_2019-07-20.tif"
    whole = image.read_bytes()
    straight = order(wide, "--keep-empty", out="straight")
    assert command(*straight, folder=tmp_path).code == 0
    with rasterio.open(image) as source:
        last = int(source.get_tag_item("BLOCK_OFFSET_0_2", "TIFF", bidx=1))
    image.write_bytes(whole[:last] + bytes(60) + whole[last + 60 :])  # its last rows cannot be decompressed
    assert "S2_2019-07-20.tif" in command(*order(wide, "--keep-empty"), folder=tmp_path).error
    done = {path.stem for path in (tmp_path / "ds/.prepare/done").iterdir()}
    assert len(done) == 96
    stamps = {name: (tmp_path / f"ds/DATA_S2/S2_{name}.npy").stat().st_mtime_ns for name in done}
    image.write_bytes(whole)
    assert command(*order(wide, "--keep-empty"), folder=tmp_path).code == 0
    assert stamps == {name: (tmp_path / f"ds/DATA_S2/S2_{name}.npy").stat().st_mtime_ns for name in done}
    assert_same(tmp_path / "straight", tmp_path / "ds")


def test_killed_at_any_point_it_goes_on_to_the_same_dataset(command: Any, wide: Path, tmp_path: Path) -> None:
    words = [str(word) for word in order(wide, "--keep-empty", workers=2)]
    assert command(*order(wide, "--keep-empty", out="straight"), folder=tmp_path).code == 0
    for wait in ("ds/.prepare/order.json", "ds/.prepare/done/*"):
        process = subprocess.Popen([sys.executable, "-m", "cropzoo_cli.main", *words], cwd=tmp_path)
        while process.poll() is None and not list(tmp_path.glob(wait)):
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not (tmp_path / "ds/metadata.geojson").exists()
    assert command(*words, folder=tmp_path).code == 0
    assert_same(tmp_path / "straight", tmp_path / "ds")


def assert_same(one: Path, other: Path) -> None:
    """All that a reader of the dataset reads is the same, byte for byte, and there is nothing beside it."""
    files = [{path.relative_to(root) for path in root.rglob("*") if path.is_file()} for root in (one, other)]
    assert files[0] == files[1]
    for path in files[0]:
        if path.suffix not in (".html", ".md"):  # these name their folder
            assert (one / path).read_bytes() == (other / path).read_bytes(), path


def test_text_crops_merge_and_ignore(command: Any, geotiff: ModuleType, own: Path) -> None:
    crops = ["wheat", "maize", "grass", "wheat", "maize", "hop"]
    (own / "parcels.gpkg").unlink()
    geotiff.write_parcels(own / "parcels.gpkg", crop_code=crops, crop_name=crops)
    table = own / "crops.csv"
    lines = (
        "code,name,class,colour",
        "wheat,wheat,cereals,#ddbb44",
        "maize,,cereals,",
        "grass,grass,,",
        "hop,,ignore,",
    )
    table.write_text("\n".join(lines))
    ended = command(*order(own, "--classes", table), folder=own.parent)
    assert ended.code == 0, ended.err
    rows = list(csv.DictReader((own.parent / "ds/classes.csv").open()))
    assert [row["name"] for row in rows] == ["none declared", "cereals", "grass", "void"]
    assert rows[1]["sources"] == "wheat;maize"
    labels = [np.load(path)[0] for path in (own.parent / "ds/ANNOTATIONS").glob("TARGET_*.npy")]
    assert {int(value) for part in labels for value in np.unique(part)} == {0, 1, 2, 3}


def test_split_by_a_column(command: Any, geotiff: ModuleType, own: Path) -> None:
    (own / "parcels.gpkg").unlink()
    geotiff.write_parcels(own / "parcels.gpkg", part=["train", "val", "train", "test", "test", "test"])
    ended = command(*order(own, "--split-by", "part"), folder=own.parent)
    assert ended.code == 0, ended.err
    facts = [f["properties"] for f in json.loads((own.parent / "ds/metadata.geojson").read_text())["features"]]
    assert {fact["Fold"] for fact in facts} == {1, 2, 3}
    test = [fact["ID_PATCH"] for fact in facts if fact["Fold"] == 3]
    ids = {i for name in test for i in np.unique(np.load(own.parent / f"ds/ANNOTATIONS/ParcelIDs_{name}.npy")).tolist()}
    assert ids >= {4, 5, 6}


def test_whole_parcels(command: Any, site: Any, tmp_path: Path) -> None:
    """Parcels that lie in several folds are ignored in all but the one that has most of them."""
    assert "parcels that also have training pixels" in command(*order(site.folder), folder=tmp_path).err
    ended = command(*order(site.folder, "--whole-parcels", out="whole"), folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "parcels that also have" not in ended.err
    folds: dict[int, set[int]] = {}
    for feature in json.loads((tmp_path / "whole/metadata.geojson").read_text())["features"]:
        facts = feature["properties"]
        labels = np.load(tmp_path / f"whole/ANNOTATIONS/TARGET_{facts['ID_PATCH']}.npy")[0]
        parcels = np.load(tmp_path / f"whole/ANNOTATIONS/ParcelIDs_{facts['ID_PATCH']}.npy")
        for parcel in np.unique(parcels[labels != 5]):
            folds.setdefault(int(parcel), set()).add(facts["Fold"])
    folds.pop(0)
    assert {len(found) for found in folds.values()} == {1}
    assert len(folds) == 6


def test_years_are_samples_of_their_own(command: Any, geotiff: ModuleType, tmp_path: Path) -> None:
    days = ("2018-04-01", "2018-06-01", "2019-04-01", "2019-06-01", "2019-08-01", "2020-05-05")
    site = geotiff.make_site(tmp_path / "site", days=days, parcels=False)
    geotiff.write_parcels(site.folder / "parcels.gpkg", year=[2018, 2019, 2019, 2020, 2018, 2019])
    ended = command(*order(site.folder, "--year-column", "year", "--split-by", "year"), folder=tmp_path)
    assert ended.code == 0, ended.err
    facts = [f["properties"] for f in json.loads((tmp_path / "ds/metadata.geojson").read_text())["features"]]
    assert {(fact["Year"], fact["Fold"], len(fact["dates-S2"])) for fact in facts} == {
        (2018, 1, 2),
        (2019, 2, 3),
        (2020, 3, 1),
    }


def test_label_scale(command: Any, site: Any, tmp_path: Path) -> None:
    ended = command(*order(site.folder, "--label-scale", 4), folder=tmp_path)
    assert ended.code == 0, ended.err
    target = np.load(next((tmp_path / "ds/ANNOTATIONS").glob("TARGET_*.npy")))
    assert target.shape == (1, 32, 32)
    assert "head.upsample" in command("train", *TRAIN, "--dataset", "ds/", folder=tmp_path).error
    fine = ("--set", "head.upsample=4")
    assert command("train", *TRAIN, *fine, "--dataset", "ds/", folder=tmp_path).code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--crop-column", "crop"], "did you mean 'crop_name' or 'crop_code'"),
        (["--window", "4"], "--window is 4; it must be 8 pixels or more"),
        (["--label-scale", "3"], "--label-scale is 3; it must be 1, 2 or 4"),
        (["--conflict", "2"], "--conflict is 2.0"),
        (["--folds", "2"], "--folds is 2"),
        (["--season", "summer"], "--season is 'summer'; it must be like 09-01:08-31"),
        (["--split-by", "year"], "--split-by is 'year'; it must be used with --year-column"),
        (["--split-by", "crop_name"], "it must hold train, val and test"),
        (["--clear-scl", "a"], "--clear-scl is 'a'"),
        (["--classes", "nowhere.csv"], "nowhere.csv"),
        (["--bands", "B04,B99"], "B99"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use(command: Any, site: Any, tmp_path: Path, words: list[str], told: str) -> None:
    assert told in command(*order(site.folder), *words, folder=tmp_path).error
    assert not list(tmp_path.iterdir())


def test_nothing_given(command: Any, tmp_path: Path) -> None:
    assert "--parcels is 'nothing'" in command("prepare", "--out", "ds", folder=tmp_path).error
    images = command("prepare", "--parcels", "p.gpkg", "--images", "nothing/*.tif", "--out", "ds", folder=tmp_path)
    assert "nothing/*.tif" in images.error


def test_parcels_elsewhere(command: Any, own: Path) -> None:
    frame = geopandas.GeoDataFrame({"crop_code": [1]}, geometry=[box(4.0, 40.0, 4.1, 40.1)], crs="EPSG:4326")
    frame.to_file(own / "far.gpkg")
    words = list(order(own))
    words[words.index("--parcels") + 1] = own / "far.gpkg"
    assert "far.gpkg" in command(*words, folder=own.parent).error
    assert not (own.parent / "ds").exists()


@pytest.mark.skipif("CROPZOO_TEST_DATA" not in os.environ, reason="CROPZOO_TEST_DATA names no folder of real data")
def test_real_patches_give_their_labels_back_and_train(command: Any, tmp_path: Path) -> None:
    """Two places and seasons, 118 and 72 dates, crops declared by farmers: labels equal labels.tif pixel for pixel."""
    root = Path(os.environ["CROPZOO_TEST_DATA"]) / "flanders"
    parcels = [word for path in sorted(root.glob("*/parcels.gpkg")) for word in ("--parcels", path)]
    words = ("prepare", *parcels, "--images", f"{root}/*/S2_*.tif", "--window", "16", "--keep-empty", "--out", "ds")
    ended = command(*words, folder=tmp_path)
    assert ended.code == 0, ended.err
    ds = tmp_path / "ds"
    codes = {int(row["index"]): int(row["code"] or -1) for row in csv.DictReader((ds / "classes.csv").open())}
    compared = 0
    for feature in json.loads((ds / "metadata.geojson").read_text())["features"]:
        facts = feature["properties"]
        target = np.load(ds / f"ANNOTATIONS/TARGET_{facts['ID_PATCH']}.npy")[0]
        with rasterio.open(root / facts["TILE"] / "labels.tif") as source:
            row, column = source.index(facts["transform"][2] + 5, facts["transform"][5] - 5)
            truth = source.read(1, window=((row, row + 16), (column, column + 16)))
        assert (np.vectorize(codes.get)(target) == truth).all()
        compared += truth.size
    assert compared == 2 * 64 * 64
    fit = ("--set", "image_size=12", "--set", "min_clear=0.4", "--epochs", "1", "--device", "cpu")
    ended = command("train", "--backbone", "pixelwise", "--dataset", "ds/", *fit, "--json", folder=tmp_path)
    assert ended.json["test"]["pixels"] > 1000


def test_a_folder_of_something_else(command: Any, own: Path) -> None:
    (own.parent / "ds").mkdir()
    (own.parent / "ds/thesis.txt").write_text("mine")
    assert "no preparation made" in command(*order(own, "--overwrite"), folder=own.parent).error


def test_a_full_disk_leaves_no_dataset(command: Any, own: Path) -> None:
    ended = command(*order(own), folder=own.parent, file_size=300)
    assert "cannot write" in ended.error
    assert not (own.parent / "ds/metadata.geojson").exists()
    assert not [path for path in (own.parent / "ds").rglob("*.npy") if path.stat().st_size == 300]
