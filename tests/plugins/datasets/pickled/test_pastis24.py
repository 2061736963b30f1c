"""PASTIS24: folds, real dates, void; files that do not fit."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cropzoo import CropzooError, UsageError
from cropzoo_plugins.datasets.pastis24 import Pastis24

EPOCH = date(1970, 1, 1)


@pytest.fixture
def make(generator: Callable[[str], ModuleType]) -> ModuleType:
    return generator("pastis24")


@pytest.fixture
def made(make: ModuleType, tmp_path: Path) -> Any:
    return make.make_pastis24(tmp_path / "PASTIS24")


def entries(made: Any, *folds: int) -> set[str]:
    return {Path(path).stem for path, fold in made.folds.items() if fold in folds}


def rewrite(made: Any, change: dict[str, Any], path: str = "pickle24x24/10000_0.pickle") -> None:
    content = pickle.loads((made.folder / path).read_bytes()) | change
    content = {key: value for key, value in content.items() if value is not None}
    (made.folder / path).write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("fold", range(1, 6))
def test_folds_are_the_published_ones(made: Any, fold: int) -> None:
    dataset = Pastis24(made.folder, fold=fold)
    turn = [(fold + step - 1) % 5 + 1 for step in range(5)]
    for split, folds in (("train", turn[:3]), ("val", turn[3:4]), ("test", turn[4:])):
        assert {sample.name for sample in dataset.split(split)} == entries(made, *folds)
    train = np.concatenate([made.series[f"pickle24x24/{name}.pickle"] for name in sorted(entries(made, *turn[:3]))])
    np.testing.assert_allclose(dataset.mean, 1e-4 * train.mean(axis=(0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(dataset.std, 1e-4 * train.std(axis=(0, 2, 3)), rtol=1e-9)


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("step", [73, 5, 31])
def test_samples_have_their_real_dates(make: ModuleType, tmp_path: Path, channels: bool, step: int) -> None:
    made = make.make_pastis24(tmp_path, windows=1, size=6, step=step, channels=channels)
    for split in ("train", "val", "test"):
        for sample in Pastis24(made.folder).split(split):
            path = f"pickle24x24/{sample.name}.pickle"
            assert [EPOCH + timedelta(days=int(day)) for day in sample.dates] == made.days[path]
            np.testing.assert_array_equal(sample.series, made.series[path])
            np.testing.assert_array_equal(sample.labels, np.where(made.labels[path] == 19, 255, made.labels[path]))
            assert sample.dates.dtype == np.int32


def test_a_day_that_both_years_have(made: Any) -> None:
    """The generator's first and last image are of one day of the year."""
    days = made.days["pickle24x24/10000_0.pickle"]
    assert (days[0].timetuple().tm_yday, days[-1].year) == (days[-1].timetuple().tm_yday, 2019)
    sample = Pastis24(made.folder).split("train")[0]
    assert len(sample.dates) == len(days)


def test_without_metadata_autumn_is_of_2018(make: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = make.make_pastis24(tmp_path, metadata=False)
    with caplog.at_level(logging.WARNING, "cropzoo"):
        sample = Pastis24(made.folder).split("train")[0]
    assert "its files have no years, so dates in autumn are assumed to be of 2018" in caplog.text
    found = [EPOCH + timedelta(days=int(day)) for day in sample.dates]
    assert found == made.days["pickle24x24/10000_0.pickle"]  # all its autumn is of 2018 but the day that comes twice
    assert all(earlier < later for earlier, later in pairwise(found))


def test_days_without_a_year_by_the_rule(make: ModuleType, tmp_path: Path) -> None:
    made = make.make_pastis24(tmp_path, metadata=False)
    doy = np.array([3, 243, 244, 300, 300, 365])
    img = np.arange(6, dtype=np.int16)[:, None, None, None] * np.ones((1, 10, 24, 24), np.int16)
    rewrite(made, {"doy": doy, "img": img})
    sample = Pastis24(made.folder).split("train")[0]
    wanted = ["2018-09-01", "2018-10-27", "2018-12-31", "2019-01-03", "2019-08-31", "2019-10-27"]
    assert [(EPOCH + timedelta(days=int(day))).isoformat() for day in sample.dates] == wanted
    assert sample.series[:, 0, 0, 0].tolist() == [2, 3, 5, 0, 1, 4]
    for again in ([3, 3, 244, 300, 300, 365], [3, 243, 300, 300, 300, 365]):
        rewrite(made, {"doy": np.array(again)})
        with pytest.raises(CropzooError, match=r"10000_0.pickle'; 'doy' repeats a day"):
            Pastis24(made.folder).split("train")[0]


def test_lists_of_single_folds_will_do(made: Any) -> None:
    for path in (made.folder / "fold-paths").glob("folds_*"):
        path.unlink()
    assert {sample.name for sample in Pastis24(made.folder, fold=2).split("train")} == entries(made, 2, 3, 4)
    (made.folder / "fold-paths" / "fold_4_paths.csv").unlink()
    with pytest.raises(CropzooError, match=r"folds_2_234_paths.csv'; there is no such file"):
        Pastis24(made.folder, fold=2)


def test_what_tests_never_trains(made: Any, caplog: pytest.LogCaptureFixture) -> None:
    path = made.folder / "fold-paths" / "folds_1_123_paths.csv"
    path.write_text(path.read_text() + (made.folder / "fold-paths" / "fold_5_paths.csv").read_text())
    with caplog.at_level(logging.WARNING, "cropzoo"):
        dataset = Pastis24(made.folder)
    assert "4 samples of train are in a later split too" in caplog.text
    assert {sample.name for sample in dataset.split("train")} == entries(made, 1, 2, 3)
    path.write_text((made.folder / "fold-paths" / "fold_5_paths.csv").read_text())
    with pytest.raises(
        CropzooError, match=r"split 'train' has only samples of later splits; check .*folds_1_123_paths.csv"
    ):
        Pastis24(made.folder)


@pytest.mark.parametrize("fold", [0, 6, "1", 1.0, True])
def test_no_such_fold(made: Any, fold: Any) -> None:
    with pytest.raises(UsageError, match=r"'pastis24'; fold is .*; it must be an integer from 1 to 5"):
        Pastis24(made.folder, fold=fold)


def test_no_root() -> None:
    with pytest.raises(UsageError, match=r"--set dataset.root=FOLDER"):
        Pastis24()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img": None}, "it has no 'img'; its keys are doy, labels"),
        ({"doy": None}, "it has no 'doy'"),
        ({"labels": None}, "it has no 'labels'"),
        ({"img": np.zeros((6, 9, 24, 24), np.int16)}, r"'img' has shape \(6, 9, 24, 24\); .* \(6, 10, 24, 24\)"),
        ({"img": np.zeros((10, 24, 24), np.int16)}, "'img' is int16 of shape"),
        ({"doy": np.arange(1, 6)}, r"'doy' has shape \(5,\)"),
        ({"labels": np.zeros((24, 23), np.uint8)}, r"'labels' has shape \(24, 23\)"),
        ({"labels": np.full((24, 24), 20, np.uint8)}, r"'labels' contains 20; expected codes in \[0, 19\]"),
        ({"labels": np.full((24, 24), -1, np.int8)}, "'labels' contains -1"),
        ({"doy": np.arange(1, 7)}, "'doy' differs from the days in metadata.geojson"),
        ({"img": "text"}, "'img' is a str; it must be an array"),
    ],
)
def test_samples_that_do_not_fit(made: Any, change: dict[str, Any], message: str) -> None:
    rewrite(made, change)
    with pytest.raises(CropzooError, match=rf"10000_0.pickle'; {message}"):
        Pastis24(made.folder).split("train")[0]


def test_a_sample_that_is_cut_off_or_missing_or_dangerous(made: Any) -> None:
    path = made.folder / "pickle24x24" / "10000_0.pickle"
    path.write_bytes(path.read_bytes()[:5000])
    train = Pastis24(made.folder).split("train")
    with pytest.raises(CropzooError, match=r"10000_0.pickle'; it is not a valid pickle"):
        train[0]
    path.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(CropzooError, match=r"10000_0.pickle'; it uses 'os.system'.*do not trust this file"):
        train[0]
    path.unlink()
    with pytest.raises(CropzooError, match=r"10000_0.pickle'; there is no such file"):
        train[0]


def test_metadata_without_the_patch(made: Any) -> None:
    path = made.folder / "metadata.geojson"
    content = json.loads(path.read_text())
    del content["features"][0]
    path.write_text(json.dumps(content))
    with pytest.raises(CropzooError, match=r"metadata.geojson'; it has no patch of '.*10000_0.pickle'"):
        Pastis24(made.folder).split("train")[0]


def test_statistics_are_remembered_until_the_files_change(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mean = Pastis24(made.folder).mean
    read = Pastis24.read_sample
    monkeypatch.setattr(Pastis24, "read_sample", lambda *_: pytest.fail("the samples were read again"))
    assert Pastis24(made.folder).mean == mean
    monkeypatch.setattr(Pastis24, "read_sample", read)
    rewrite(made, {"img": np.full((6, 10, 24, 24), 20_000, np.int16), "labels": np.zeros((3, 24, 24), np.uint8)})
    assert Pastis24(made.folder).mean != mean


def test_slices_and_the_end(made: Any) -> None:
    val = Pastis24(made.folder).split("val")
    assert [sample.name for sample in val[1:3]] == [val[1].name, val[2].name]
    assert val[-1].name == list(val)[-1].name
    with pytest.raises(IndexError):
        val[len(val)]
