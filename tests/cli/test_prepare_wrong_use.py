"""`cropzoo prepare` with wrong input: one clear error, nothing written."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas
import numpy as np
import pytest
from shapely.geometry import box


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["--crop-column", "crop"], "did you mean 'crop_name' or 'crop_code'"),
        (["--window", "4"], "--window is 4; it must be 8 pixels or more"),
        (["--label-scale", "3"], "--label-scale is 3; it must be 1, 2 or 4"),
        (["--conflict", "2"], "--conflict is 2.0"),
        (["--folds", "2"], "--folds is 2"),
        (["--season", "summer"], "--season is 'summer'; it must be first to last day, such as 09-01:08-31"),
        (["--split-by", "year"], "--split-by is 'year'; it must be used with --year-column"),
        (["--split-by", "crop_name"], "it must contain train, val and test"),
        (["--clear-scl", "a"], "--clear-scl is 'a'"),
        (["--classes", "nowhere.csv"], "nowhere.csv"),
        (["--bands", "B04,B99"], "B99"),
        (["--aoi", "nowhere.gpkg"], "nowhere.gpkg'; there is no such file"),
        (["--aoi", "a.gpkg", "--background", "ignore"], "'a.gpkg'; it must be left out with --background"),
        (["--clear-scl", "1"], "no window has a clear pixel on any date"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use(order: Any, command: Any, site: Any, tmp_path: Path, words: list[str], messages: str) -> None:
    assert messages in command(*order(site.folder), *words, folder=tmp_path).error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_constant_band(order: Any, command: Any, geotiff: ModuleType, own: Path, more: tuple[str, ...]) -> None:
    for image in own.glob("S2_*.tif"):
        geotiff.rewrite(image, lambda values: np.stack([values[0], np.full_like(values[1], 65535), values[2]]))
    ended = command(*order(own, *more), folder=own.parent)
    assert "band 'B08' (65535) has the same value in every clear pixel" in ended.error.replace("\n", " ")
    assert "--bands B04" in ended.error
    assert not (own.parent / "ds").exists()
    assert command(*order(own, "--bands", "B04"), folder=own.parent).code == 0


def test_a_failed_check_leaves_an_existing_dataset(order: Any, command: Any, own: Path) -> None:
    assert command(*order(own), folder=own.parent).code == 0
    before = {path: path.read_bytes() for path in (own.parent / "ds").rglob("*") if path.is_file()}
    ended = command(*order(own, "--overwrite", "--clear-scl", "1"), folder=own.parent)
    assert "no window has a clear pixel on any date" in ended.error
    assert before == {path: path.read_bytes() for path in (own.parent / "ds").rglob("*") if path.is_file()}


def test_a_date_with_a_wrong_crs_is_reported(order: Any, command: Any, geotiff: ModuleType, own: Path) -> None:
    geotiff.rewrite(own / "S2_2019-05-16.tif", crs="EPSG:32632")
    ended = command(*order(own), folder=own.parent)
    assert "has no parcel and is left out" in ended.err.replace("\n", " ")
    assert "S2_2019-05-16.tif" in ended.err


def test_a_home_folder_in_quotes(order: Any, command: Any, own: Path) -> None:
    words = order(Path("~/site"), "--dry-run")
    ended = command(*words, folder=own.parent, env={"HOME": str(own.parent)})
    assert ended.code == 0, ended.err


def test_nothing_given(command: Any, tmp_path: Path) -> None:
    assert "--parcels is 'nothing'" in command("prepare", "--out", "ds", folder=tmp_path).error
    images = command("prepare", "--parcels", "p.gpkg", "--images", "nothing/*.tif", "--out", "ds", folder=tmp_path)
    assert "nothing/*.tif" in images.error


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (("--from", "synthetic", "--dry-run", "--window", "64"), "options --window, --dry-run; --from synthetic"),
        (("--parcels", "p.gpkg", "--images", "*.tif", "--set", "dataset.size=480"), "options --set; they require"),
    ],
)
def test_no_option_is_ignored_silently(command: Any, tmp_path: Path, words: tuple[str, ...], messages: str) -> None:
    assert messages in command("prepare", *words, "--out", "ds", folder=tmp_path).error
    assert not list(tmp_path.iterdir())


def test_parcels_elsewhere(order: Any, command: Any, own: Path) -> None:
    frame = geopandas.GeoDataFrame({"crop_code": [1]}, geometry=[box(4.0, 40.0, 4.1, 40.1)], crs="EPSG:4326")
    frame.to_file(own / "far.gpkg")
    words = list(order(own))
    words[words.index("--parcels") + 1] = own / "far.gpkg"
    assert "far.gpkg" in command(*words, folder=own.parent).error
    assert not (own.parent / "ds").exists()
