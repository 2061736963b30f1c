"""Splits of datasets whose sequences or samples are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo.data.open import open_split
from cropzoo.data.sample import Sample
from cropzoo.errors import CropzooError


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
