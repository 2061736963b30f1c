"""MTLCC: bands on one grid, real dates, codes, held-out tiles; files that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cropzoo import CropzooError, UsageError
from cropzoo_plugins.datasets.mtlcc import CLASSES, MTLCC
from cropzoo_plugins.datasets.pickled.resampling import enlarge

EPOCH = date(1970, 1, 1)
ALL = "all"


@pytest.fixture
def make(generator: Callable[[str], ModuleType]) -> ModuleType:
    return generator("mtlcc")


@pytest.fixture
def made(make: ModuleType, tmp_path: Path) -> Any:
    return make.make_mtlcc(tmp_path / "MTLCC")


def names(dataset: MTLCC, split: str) -> set[str]:
    return {sample.name for sample in dataset.split(split)}


def test_a_sample(made: Any, make: ModuleType) -> None:
    dataset = MTLCC(made.folder)
    sample = dataset.split("train")[0]
    content = made.contents[f"{make.CONVERTED}/{sample.name}.pickle"]
    assert sample.series.shape == (4, 13, 12, 12)
    assert sample.series.dtype == np.int16
    assert dataset.bands[:4] == ("B04", "B03", "B02", "B08")
    np.testing.assert_array_equal(sample.series[:, :4], content["x10"].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(sample.series[:, 4:10], enlarge(content["x20"].transpose(0, 3, 1, 2), 2))
    np.testing.assert_array_equal(sample.series[:, 10:], enlarge(content["x60"].transpose(0, 3, 1, 2), 6))
    assert dataset.bands.index("B8A") == 7
    days = [(EPOCH + timedelta(days=int(day))).isoformat() for day in sample.dates]
    assert days == ["2016-01-12", "2016-04-06", "2016-06-08", "2016-08-31"]


def test_codes_become_classes(made: Any, make: ModuleType) -> None:
    dataset = MTLCC(made.folder, year=ALL)
    seen = set()
    for sample in dataset.split("train"):
        codes = made.contents[f"{make.CONVERTED}/{sample.name}.pickle"]["labels"][0]
        assert sample.labels is not None
        for code in np.unique(codes):
            found = set(np.unique(sample.labels[codes == code]).tolist())
            wanted = {index for index, each in enumerate(CLASSES) if each.code == code} or {255}
            assert found == wanted
            seen |= found
    assert seen == {*range(17), 255}
    assert [each.code for each in dataset.classes] == [1, 2, 3, 5, 8, 9, 12, 13, 15, 16, 17, 19, 22, 23, 24, 25, 26]


def test_codes_that_are_no_class_are_ignored(made: Any, make: ModuleType) -> None:
    path, content = next(iter(made.contents.items()))
    make.write(made.folder / path, content | {"labels": np.full((12, 12), 4, np.int8)})
    samples = [sample for split in ("train", "val") for sample in MTLCC(made.folder).split(split)]
    (found,) = [sample for sample in samples if sample.name == "data16/0"]
    assert found.labels is not None
    assert (found.labels == 255).all()


def test_a_label_that_changes_in_time_is_ignored(made: Any, make: ModuleType) -> None:
    for path, content in made.contents.items():
        labels = np.full((4, 12, 12), 26, np.int8)
        labels[2, 3, 4] = 22
        make.write(made.folder / path, content | {"labels": labels})
    labels_found = MTLCC(made.folder).split("train")[0].labels
    assert labels_found is not None
    assert labels_found[3, 4] == 255
    assert (labels_found == 16).sum() == 143


def test_dates_out_of_order_and_twice(made: Any, make: ModuleType) -> None:
    for path, content in made.contents.items():
        days = {"day": np.array([160, 12, 160, 30]), "year": np.array([2016, 2016, 2016, 2015])}
        make.write(made.folder / path, content | days)
    sample = MTLCC(made.folder).split("train")[0]
    days_found = [(EPOCH + timedelta(days=int(day))).isoformat() for day in sample.dates]
    assert days_found == ["2015-01-30", "2016-01-12", "2016-06-08"]
    stored = made.contents[f"{make.CONVERTED}/{sample.name}.pickle"]["x10"].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(sample.series[:, :4], stored[[3, 1, 0]])


def test_years(made: Any) -> None:
    assert names(MTLCC(made.folder), "test") == {"data16/400", "data16/900"}
    assert names(MTLCC(made.folder, year=2017), "test") == {"data17/400", "data17/900"}
    assert len(names(MTLCC(made.folder, year=ALL), "test")) == 4
    (made.folder / "data_IJGI18/datasets/full/240pkl/eval_paths_16.csv").unlink()
    assert names(MTLCC(made.folder), "test") == {"data16/400", "data16/900"}
    with pytest.raises(UsageError, match=r"year is 16; it must be 2016, 2017 or 'all'"):
        MTLCC(made.folder, year=16)


def test_a_tile_validates_in_both_years_or_in_none(made: Any) -> None:
    dataset = MTLCC(made.folder, year=ALL, val_share=0.3)
    tiles = {split: {name.split("/")[1] for name in names(dataset, split)} for split in ("train", "val", "test")}
    assert not tiles["train"] & tiles["val"]
    assert not (tiles["train"] | tiles["val"]) & tiles["test"]
    assert len(names(dataset, "val")) == 2 * len(tiles["val"]) == 6


def test_neighboring_numbers_validate_together(make: ModuleType, tmp_path: Path) -> None:
    dataset = MTLCC(make.make_mtlcc(tmp_path, tiles=40, apart=4).folder)
    val, train = ({int(name.split("/")[1]) // 64 for name in names(dataset, split)} for split in ("val", "train"))
    assert len(val) == 1
    assert not val & train


def test_the_folder_of_the_conversion_is_a_root_too(made: Any, make: ModuleType) -> None:
    inside = MTLCC(made.folder / make.CONVERTED)
    assert names(inside, "val") == names(MTLCC(made.folder), "val")


def test_other_lists(made: Any, make: ModuleType) -> None:
    for name, path in (("a", made.train[0]), ("b", made.train[1]), ("c", made.train[2])):
        (made.folder / f"{name}.csv").write_text(path)
    dataset = MTLCC(made.folder, train_paths="a.csv", val_paths="b.csv", test_paths="c.csv")
    for split, path in zip(("train", "val", "test"), made.train, strict=False):
        assert names(dataset, split) == {f"data16/{Path(path).stem}"}
    with pytest.raises(CropzooError, match=r"d.csv'; there is no such file; .*by option 'val_paths'"):
        MTLCC(made.folder, val_paths="d.csv")


def test_lists_that_are_missing_empty_or_lead_out(made: Any, make: ModuleType) -> None:
    path = made.folder / make.CONVERTED / "train_paths_16.csv"
    path.write_text("")
    with pytest.raises(CropzooError, match=r"train_paths_16.csv'; it is empty"):
        MTLCC(made.folder)
    path.write_text("data_IJGI18/../../secret.pickle\n")
    with pytest.raises(CropzooError, match=r"train_paths_16.csv' line 1; .* leads out"):
        MTLCC(made.folder)
    path.unlink()
    (path.parent / "train_paths.csv").unlink()
    with pytest.raises(CropzooError, match=r"put train_paths_16.csv or train_paths.csv into"):
        MTLCC(made.folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x20": None}, "it has no 'x20'"),
        ({"year": None}, "it has no 'year'"),
        ({"x10": np.zeros((4, 12, 12, 3), np.int16)}, r"'x10' has shape \(4, 12, 12, 3\)"),
        ({"x10": np.zeros((4, 10, 10, 4), np.int16)}, r"'x60' has shape|'x20' has shape"),
        ({"x60": np.zeros((4, 3, 2, 3), np.int16)}, r"'x60' has shape \(4, 3, 2, 3\); .* \(4, 2, 2, 3\)"),
        ({"x20": np.zeros((3, 6, 6, 6), np.int16)}, r"'x20' has shape \(3, 6, 6, 6\)"),
        ({"day": np.array([12, 97, 160])}, r"'day' has shape \(3,\)"),
        ({"day": np.array([12, 97, 0, 160])}, "an image is of day 0"),
        ({"year": np.zeros(4)}, "an image is of the year 0"),
        ({"labels": np.zeros((12, 11), np.int8)}, r"'labels' has shape \(12, 11\)"),
        ({"labels": np.zeros((3, 12, 12), np.int8)}, r"'labels' has shape \(3, 12, 12\)"),
        ({"labels": np.full((12, 12), -1, np.int8)}, "'labels' contains -1"),
        ({"labels": np.full((12, 12), 128)}, r"'labels' contains 128; expected codes in \[0, 127\]"),
        ({"labels": np.full((12, 12), np.nan)}, "'labels' contains numbers that are not integers"),
    ],
)
def test_samples_that_do_not_fit(made: Any, make: ModuleType, change: dict[str, Any], message: str) -> None:
    for path, content in made.contents.items():
        new = {key: value for key, value in (content | change).items() if value is not None}
        make.write(made.folder / path, new)
    with pytest.raises(CropzooError, match=rf"sample '.*\.pickle'; .*({message})"):
        MTLCC(made.folder).split("train")[0]
