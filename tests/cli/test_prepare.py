"""`cropzoo prepare`: from parcels and images to a dataset that trains."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from shapely.geometry import box

TRAIN = ("--backbone", "pixelwise", "--set", "image_size=6", "-b", "4", "--device", "cpu", "--epochs", "1")


def test_every_pixel_date_label_and_parcel_is_kept(read: Any, prepared: Any, site: Any) -> None:
    whole = read(prepared.folder / "ds")
    assert (whole["pixels"] == site.pixels[:, :2]).all()
    assert whole["pixels"].dtype == np.uint16
    assert (whole["clear"] == np.isin(site.pixels[:, 2], (4, 5, 6))).all()
    assert (whole["codes"] == site.labels).all()
    assert (whole["parcels"] == site.ids).all()


def test_statistics_are_those_of_clear_pixels(read: Any, prepared: Any) -> None:
    whole, folds = read(prepared.folder / "ds"), json.loads((prepared.folder / "ds/NORM_S2_patch.json").read_text())
    seen = [whole["pixels"][:, band][whole["clear"]].astype(float) for band in range(2)]
    count = sum(fold["count"] for fold in folds.values())
    assert count == seen[0].size
    for band, values in enumerate(seen):
        mean = sum(fold["count"] * fold["mean"][band] for fold in folds.values()) / count
        assert mean == pytest.approx(values.mean(), rel=1e-12)


def test_it_reports_the_dataset_and_the_next_command(prepared: Any) -> None:
    assert "cropzoo train --backbone tsvit --dataset ds/" in prepared.out
    assert "wheat" in prepared.out
    assert "3 dates from 2019-03-01 to 2019-07-20" in prepared.err
    folder = prepared.folder / "ds"
    assert "wheat" in (folder / "README.md").read_text()
    assert "wheat" in (folder / "quicklook.html").read_text()


def test_a_subtracted_offset_is_reported_once(order: Any, command: Any, own: Path) -> None:
    for path in sorted(own.glob("S2_*.tif"))[:2]:
        with rasterio.open(path, "r+") as file:
            file.update_tags(BOA_ADD_OFFSET="-10")
    ended = command(*order(own, out=own / "ds", workers=2), folder=own)
    assert ended.code == 0, ended.err
    lines = [line for line in ended.err.splitlines() if "offset" in line]
    assert lines == ["offset of 10 subtracted from 2 of 3 files: tag BOA_ADD_OFFSET"]
    ended = command(*order(own, "--offset", "0", "--dry-run", out=own / "other"), folder=own)
    lines = [line for line in ended.err.splitlines() if "offset" in line]
    assert lines == ["no offset subtracted although 2 of 3 files declare one: option 'offset' is 0"]


def test_it_trains(command: Any, prepared: Any) -> None:
    ended = command("train", *TRAIN, "--dataset", "ds/", "--name", "first", "--json", folder=prepared.folder)
    assert ended.json["test"]["pixels"] > 0
    assert command("evaluate", "runs/first", folder=prepared.folder).code == 0


def test_texts_keep_their_zeros_and_letters_through_training(order: Any, command: Any, own: Path) -> None:
    frame = geopandas.read_file(own / "parcels.gpkg")
    texts = {
        code: ("0101", "Řepka", "00", "101")[number % 4] for number, code in enumerate(sorted(set(frame.crop_code)))
    }
    frame = frame.assign(crop_code=[texts[code] for code in frame.crop_code])[["crop_code", "geometry"]]
    (own / "parcels.gpkg").unlink()
    (own / "made" / "AT").mkdir(parents=True)
    frame.to_file(own / "made" / "AT" / "p.shp", encoding="cp1250")
    (own / "made" / "AT" / "p.cpg").unlink()
    shutil.make_archive(str(own / "parcels"), "zip", own / "made")
    words = [str(word).replace("parcels.gpkg", "parcels.zip") for word in order(own, out=own / "ds")]
    wrong = command(*words, "--encoding", "cp12500", folder=own)
    assert (wrong.code, "--encoding is 'cp12500'; it is unknown" in wrong.err) == (2, True)
    ended = command(*words, "--encoding", "cp1250", folder=own)
    assert ended.code == 0, ended.err
    rows = list(csv.DictReader((own / "ds/classes.csv").open(encoding="utf-8")))
    assert {row["name"]: row["code"] for row in rows[1:-1]} == dict.fromkeys(set(texts.values()), "")
    assert [row["sources"] for row in rows[1:-1]] == sorted(set(texts.values()))
    trained = command("train", *TRAIN, "--dataset", "ds/", "--name", "texts", "--json", folder=own)
    assert trained.json["test"]["pixels"] > 0
    shown = command("show", "runs/texts/model.safetensors", "--json", folder=own)
    assert "0101" in shown.out


def test_a_window_that_is_all_there_is_cannot_be_split(order: Any, command: Any, site: Any, tmp_path: Path) -> None:
    ended = command(*order(site.folder, "--window", "128"), folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "1 spatial block(s) cannot be split" in ended.err.replace("\n", " ")
    assert "--window 8" in ended.err.replace("\n", " ")
    assert "cropzoo train" not in ended.out
    assert np.load(next((tmp_path / "ds/DATA_S2").iterdir())).shape == (3, 2, 24, 32)
    assert "split 'val' of the dataset is empty" in command("train", *TRAIN, "--dataset", "ds/", folder=tmp_path).error


def test_dry_run_writes_nothing(order: Any, command: Any, site: Any, tmp_path: Path) -> None:
    ended = command(*order(site.folder, "--dry-run"), folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "samples  12 of up to 8 x 8 pixels, 3 dates, bands B04, B08" in ended.out
    assert "wheat" in ended.out
    assert not list(tmp_path.iterdir())


def test_text_crops_merge_and_ignore(order: Any, command: Any, geotiff: ModuleType, own: Path) -> None:
    crops = ["wheat", "maize", "grass", "wheat", "maize", "hop"]
    (own / "parcels.gpkg").unlink()
    geotiff.write_parcels(own / "parcels.gpkg", crop_code=crops, crop_name=crops)
    table = own / "crops.csv"
    lines = (
        "code,name,class,color",
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


def test_the_area_of_complete_parcels_is_used_and_said(
    order: Any, command: Any, read: Any, site: Any, tmp_path: Path
) -> None:
    frame = geopandas.GeoDataFrame(geometry=[box(500_000, 5_599_000, 500_100, 5_601_000)], crs="EPSG:32631")
    frame.to_file(tmp_path / "complete.gpkg")
    ended = command(*order(site.folder, "--aoi", "complete.gpkg"), folder=tmp_path)
    assert ended.code == 0, ended.err
    outside = (site.labels == 0) & (np.arange(32) >= 10)
    assert (read(tmp_path / "ds")["codes"] == np.where(outside, -1, site.labels.astype(int))).all()
    sentence = "ground without a parcel is class 0 (none declared) inside 'complete.gpkg' and ignored outside"
    facts = json.loads((tmp_path / "ds/dataset.json").read_text())["made_from"]
    assert (facts["options"]["aoi"], facts["options"]["background"]) == ("complete.gpkg", None)
    assert facts["background"].startswith(sentence)
    shown = command("show", "ds", folder=tmp_path).out
    assert f"background: {sentence}" in shown
    assert "clear_scl: 4, 5, 6" in shown
    assert command("show", "ds", "--json", folder=tmp_path).json["made_from"]["background"].startswith(sentence)
    assert sentence in (tmp_path / "ds/README.md").read_text()
    assert "complete.gpkg" in (tmp_path / "ds/quicklook.html").read_text()


def test_split_by_a_column(order: Any, command: Any, geotiff: ModuleType, own: Path) -> None:
    (own / "parcels.gpkg").unlink()
    geotiff.write_parcels(own / "parcels.gpkg", part=["train", "val", "train", "test", "test", "test"])
    ended = command(*order(own, "--split-by", "part"), folder=own.parent)
    assert ended.code == 0, ended.err
    facts = [f["properties"] for f in json.loads((own.parent / "ds/metadata.geojson").read_text())["features"]]
    assert {fact["Fold"] for fact in facts} == {1, 2, 3}
    by_fold = {fold: [fact for fact in facts if fact["Fold"] == fold] for fold in (1, 2, 3)}
    # Parcel 2 (val) fills columns 8 to 14 of rows 0 to 10: below row 8 parcel 3 (train) has more of the window.
    assert [(fact["transform"][2], fact["transform"][5]) for fact in by_fold[2]] == [(500_080.0, 5_600_000.0)]
    test = [fact["ID_PATCH"] for fact in facts if fact["Fold"] == 3]
    ids = {i for name in test for i in np.unique(np.load(own.parent / f"ds/ANNOTATIONS/ParcelIDs_{name}.npy")).tolist()}
    assert ids >= {4, 5, 6}


def test_whole_parcels(order: Any, command: Any, site: Any, tmp_path: Path) -> None:
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


def test_years_are_separate_samples(order: Any, command: Any, geotiff: ModuleType, tmp_path: Path) -> None:
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


def test_label_scale(order: Any, command: Any, site: Any, tmp_path: Path) -> None:
    ended = command(*order(site.folder, "--label-scale", 4), folder=tmp_path)
    assert ended.code == 0, ended.err
    target = np.load(next((tmp_path / "ds/ANNOTATIONS").glob("TARGET_*.npy")))
    assert target.shape == (1, 32, 32)
    assert "--dataset ds/ --set head.upsample=4" in ended.out
    assert "--dataset ds/ --set head.upsample=4" in (tmp_path / "ds/README.md").read_text()
    assert "head.upsample" in command("train", *TRAIN, "--dataset", "ds/", folder=tmp_path).error
    fine = ("--set", "head.upsample=4")
    assert command("train", *TRAIN, *fine, "--dataset", "ds/", folder=tmp_path).code == 0


def test_the_example_of_the_guide_is_one_that_works(command: Any, tmp_path: Path) -> None:
    """Its landscape is made with fewer dates, as that takes long."""
    guide = (Path(__file__).parents[2] / "docs/data.md").read_text()
    example = next(line for line in guide.splitlines() if "prepare --from synthetic" in line)
    words = shlex.split(example.strip().removeprefix("cropzoo "))[:-1]
    ended = command(*words, "dataset.dates=1", folder=tmp_path)
    assert ended.code == 0, ended.err


@pytest.mark.skipif("CROPZOO_TEST_DATA" not in os.environ, reason="CROPZOO_TEST_DATA names no folder of real data")
def test_real_patches_give_their_labels_back_and_train(read: Any, command: Any, tmp_path: Path) -> None:
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
