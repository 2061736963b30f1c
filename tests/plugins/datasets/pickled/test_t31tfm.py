"""T31TFM-1618: bands on one grid, label sets, finer labels, conflicts, held-out ground; files that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cropzoo import CropzooError, Sample, UsageError
from cropzoo_plugins.datasets.pickled.resampling import enlarge
from cropzoo_plugins.datasets.t31tfm import LABEL_SETS, T31TFM

EPOCH = date(1970, 1, 1)

PUBLISHED = {
    1: 0, 2: 1, 3: 2, 6: 3, 7: 4, 8: 5, 9: 6, 10: 7, 11: 8, 12: 9, 13: 10, 14: 11, 20: 12, 25: 13, 33: 14, 34: 15,
    35: 16, 36: 17, 48: 18, 73: 19,
}  # fmt: skip
"""The index of each code of labels_20k2k."""


@pytest.fixture
def make(generator: Callable[[str], ModuleType]) -> ModuleType:
    return generator("t31tfm")


@pytest.fixture
def made(make: ModuleType, tmp_path: Path) -> Any:
    return make.make_t31tfm(tmp_path / "T31TFM_1618")


def content_of(made: Any, sample: Sample) -> dict[str, Any]:
    (found,) = [content for path, content in made.contents.items() if path.endswith(f"{sample.name}.pickle")]
    return dict(found)


def rewrite(made: Any, make: ModuleType, change: dict[str, Any]) -> None:
    for path, content in made.contents.items():
        new = {key: value for key, value in (content | change).items() if value is not None}
        make.write(made.folder / path, new)


def test_a_sample(made: Any) -> None:
    dataset = T31TFM(made.folder)
    for sample in (*dataset.split("train"), *dataset.split("test")):
        content = content_of(made, sample)
        assert sample.series.shape == (3, 13, 12, 12)
        assert sample.series.dtype == np.uint16
        for index, band in enumerate(dataset.bands):
            times = 12 // content[band].shape[-1]
            np.testing.assert_array_equal(sample.series[:, index], enlarge(content[band], times))
        first = EPOCH + timedelta(days=int(sample.dates[0]))
        assert first.isoformat() == f"{sample.name[-4:]}-02-09"
        np.testing.assert_array_equal(sample.parcels, content["ids"])
    assert dataset.bands[:4] == ("B04", "B03", "B02", "B08")


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("conflicts", ["ignore", "keep"])
def test_labels(made: Any, scale: int, conflicts: str) -> None:
    dataset = T31TFM(made.folder, label_scale=scale, conflicts=conflicts)
    seen: set[int] = set()
    end = "" if scale == 1 else "_x4"
    for sample in dataset.split("train"):
        content = content_of(made, sample)
        wanted = np.vectorize(lambda code: PUBLISHED.get(int(code), 255))(content[f"labels{end}"])
        claimed = (content[f"full_ass{end}"] != 0) | (content[f"part_ass{end}"] != 0)
        if conflicts == "ignore":
            wanted[claimed] = 255
        np.testing.assert_array_equal(sample.labels, wanted)
        assert sample.label_scale == scale
        np.testing.assert_array_equal(sample.parcels, content[f"ids{end}"])
        seen |= set(wanted[claimed].tolist())
    assert (seen == {255}) is (conflicts == "ignore")


def test_label_sets(made: Any) -> None:
    assert {code: index for index, code in enumerate(LABEL_SETS["20k2k"])} == PUBLISHED
    assert sorted(PUBLISHED.values()) == list(range(20))
    dataset = T31TFM(made.folder, label_set="all", conflicts="keep")
    assert len(dataset.classes) == 167
    sample = dataset.split("train")[0]
    codes = content_of(made, sample)["labels"]
    assert sample.labels is not None
    np.testing.assert_array_equal(sample.labels, np.where(codes == 0, 255, codes - 1))
    assert dataset.classes[72].name == "code 73"


def test_a_table_names_the_classes(made: Any) -> None:
    assert [each.name for each in T31TFM(made.folder).classes[:4]] == ["code 1", "code 2", "code 3", "code 6"]
    (made.folder / "classes.csv").write_text("code,name,color\n6,maize,#f08a24\n99,never met,\n")
    classes = T31TFM(made.folder).classes
    assert (classes[3].name, classes[3].code, classes[3].color) == ("maize", 6, "#f08a24")
    assert classes[2].name == "code 3"
    assert len(classes) == 20


def test_ground_that_validates_trains_in_no_year(made: Any) -> None:
    dataset = T31TFM(made.folder)
    number = {
        split: {int(sample.name[1:7]) // 27_000 for sample in dataset.split(split)}
        for split in ("train", "val", "test")
    }
    assert [len(number[split]) for split in ("train", "val", "test")] == [2, 1, 1]
    assert not number["train"] & number["val"]
    assert len(dataset.split("val")) == 6


def test_other_lists(made: Any) -> None:
    (made.folder / "paths" / "val.csv").write_text(made.train[0])
    dataset = T31TFM(made.folder, val_paths="paths/val.csv")
    assert len(dataset.split("train")) == len(made.train) - 1
    assert [sample.name for sample in dataset.split("val")] == [made.train[0].split("/", 2)[2][: -len(".pickle")]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_set": "19"}, "unknown label set '19'; known: 20k2k, all"),
        ({"conflicts": "drop"}, "unknown treatment of conflicts 'drop'"),
        ({"label_scale": 2}, "label_scale is 2; its files have labels at scales 1 and 4"),
        ({"label_scale": "4"}, "label_scale is '4'"),
        ({"val_share": 0}, "val_share is 0"),
        ({"root": ""}, "--set dataset.root=FOLDER"),
    ],
)
def test_options_that_do_not_fit(made: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        T31TFM(**({"root": made.folder} | options))


@pytest.mark.parametrize(
    ("change", "message", "scale"),
    [
        ({"B8A": None}, "it has no 'B8A'", 1),
        ({"ids": None}, "it has no 'ids'", 1),
        ({"part_ass": None}, "it has no 'part_ass'", 1),
        ({"labels_x4": None}, "it has no 'labels_x4'", 4),
        ({"B01": np.zeros((3, 3, 3), np.uint16)}, r"'B01' has shape \(3, 3, 3\); .* \(3, 2, 2\)", 1),
        ({"B04": np.zeros((3, 14, 14), np.uint16)}, "has shape", 1),
        ({"B04": np.zeros((3, 13, 13), np.uint16)}, "has shape", 1),
        ({"doy": np.array([40, 130])}, r"'doy' has shape \(2,\)", 1),
        ({"doy": np.array([40, 130, 367])}, "day 367", 1),
        ({"labels": np.full((12, 12), 168.0)}, r"'labels' contains 168; expected codes in \[0, 167\]", 1),
        ({"labels": np.full((12, 12), 0.5)}, "'labels' contains numbers that are not integers", 1),
        ({"labels_x4": np.zeros((12, 12))}, r"'labels_x4' has shape \(12, 12\); .* \(48, 48\)", 4),
        ({"ids": np.full((12, 12), -3.0)}, "'ids' contains -3 to -3", 1),
        ({"ids": np.full((12, 12), 3e9)}, "parcel ids must be >= 0", 1),
    ],
)
def test_samples_that_do_not_fit(made: Any, make: ModuleType, change: dict[str, Any], message: str, scale: int) -> None:
    rewrite(made, make, change)
    with pytest.raises(CropzooError, match=rf"sample '.*\.pickle'; .*({message})"):
        T31TFM(made.folder, label_scale=scale).split("train")[0]


def test_a_name_without_a_year(made: Any, make: ModuleType) -> None:
    path = made.train[0]
    (made.folder / path).rename(made.folder / "sample.pickle")
    made.train[0] = "sample.pickle"
    make.write_lists(made)
    dataset = T31TFM(made.folder)
    with pytest.raises(CropzooError, match=r"sample.pickle'; its name has no year"):
        list(dataset.split("train")) + list(dataset.split("val"))


def test_a_missing_list(made: Any) -> None:
    (made.folder / "paths" / "eval_paths.csv").unlink()
    with pytest.raises(CropzooError, match=r"paths/eval_paths.csv'; there is no such file; .*option 'test_paths'"):
        T31TFM(made.folder)
