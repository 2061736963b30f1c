"""Splits of datasets whose sequences or samples are wrong."""

from __future__ import annotations

import numpy as np
import pytest

import cropzoo
from cropzoo.data.open import load_dataset, open_split
from cropzoo.data.sample import Sample
from cropzoo.errors import CropzooError, UnknownName, UsageError


class Split:
    """A split whose `__getitem__` never raises IndexError, and its dataset."""

    def __init__(self, count=2, dates=(10, 20, 30)):
        self.count, self.dates = count, dates

    def split(self, name):
        return self

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        dates = np.array(self.dates, np.int32)
        return Sample(np.zeros((3, 1, 2, 2)), dates, np.zeros((2, 2), np.uint8), name=f"field {index % self.count}")


def test_iteration_ends_at_the_length():
    samples = open_split(Split(), "train", ["train"])
    assert [sample.name for sample in samples] == ["field 0", "field 1"]
    assert [sample.name for sample in samples[-1:]] == ["field 1"]
    assert samples[-1].name == "field 1"
    with pytest.raises(IndexError):
        samples[2]


@pytest.mark.parametrize("dates", [(10, 30, 20), (10, 10, 30), (30, 20, 10), ((10, 20, 30),)])
def test_dates_that_do_not_increase_are_refused_by_name(dates):
    samples = open_split(Split(dates=dates), "train", ["train"])
    with pytest.raises(CropzooError, match="sample 'field 1' has dates"):
        samples[1]


def test_empty_split_is_refused():
    with pytest.raises(CropzooError, match="split 'train' of the dataset is empty"):
        open_split(Split(count=0), "train", ["train"])


def test_a_dataset_is_loaded_by_name(tiny_zoo):
    assert load_dataset("made", zoo=tiny_zoo).bands == ("red", "nir")
    dataset = cropzoo.load_dataset("synthetic", size=160, block=32, dates=4, years=1)
    assert dataset.split("train")[0].series.shape == (4, 10, 32, 32)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("syntetic", {}, UnknownName, "unknown dataset 'syntetic'; did you mean 'synthetic'"),
        ("synthetic", {"sizes": 3}, UnknownName, "unknown option of dataset 'synthetic': 'sizes'; did you mean 'size'"),
        ("synthetic", {"split": "train"}, UsageError, r"leave split out, and call .split\('train'\) of the dataset"),
    ],
)
def test_a_dataset_that_cannot_be_loaded_is_reported(name, options, error, message):
    with pytest.raises(error, match=message):
        load_dataset(name, **options)
