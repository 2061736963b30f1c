"""A dataset as the chosen training samples show it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest

from cropzoo.data.sample import LabelClass, Sample
from cropzoo.data.subsets import restrict_dataset
from cropzoo.errors import CropzooError

CLASSES = tuple(LabelClass(name, 10 + number, "#000000") for number, name in enumerate(("wheat", "rye", "maize")))


def sample(value: int, labels: list[int]) -> Sample:
    """Two pixels, one date, one band of about that value."""
    series = np.array([value - 1, value + 1], np.int16).reshape(1, 1, 1, 2)
    return Sample(series, np.array([100], np.int32), np.array([labels], np.uint8))


class Two:
    bands, scale, mean, std, citation = ("B04",), 0.1, (7.0,), (7.0,), "somebody"
    classes: tuple[LabelClass, ...] = CLASSES

    def split(self, name: str) -> Sequence[Sample]:
        return [sample(10, [0, 2]), sample(30, [2, 255]), sample(50, [1, 1])]


def test_statistics_and_classes_are_those_of_the_samples(caplog: pytest.LogCaptureFixture) -> None:
    dataset = Two()
    with caplog.at_level(logging.WARNING, "cropzoo"):
        found = restrict_dataset(dataset, dataset.split("train")[:2])
    assert "are ignored: rye" in caplog.text
    assert found.mean == pytest.approx((2.0,))
    assert found.std == pytest.approx((np.sqrt(101) / 10,))
    assert [(label.name, label.code) for label in found.classes] == [("wheat", 10), ("maize", 12)]
    assert (found.bands, found.scale, found.citation) == (("B04",), 0.1, "somebody")
    assert [each.labels.tolist() for each in found.split("test")] == [[[0, 1]], [[1, 255]], [[255, 255]]]
    assert [each.labels.tolist() for each in found.split("test")[1:]] == [[[1, 255]], [[255, 255]]]


def test_nothing_is_said_where_every_class_is_there(caplog: pytest.LogCaptureFixture) -> None:
    assert restrict_dataset(Two(), Two().split("train")).classes == CLASSES
    assert not caplog.records


def test_series_without_labels_have_statistics() -> None:
    dataset = Two()
    dataset.classes = ()
    found = restrict_dataset(dataset, dataset.split("train")[:1])
    assert found.classes == ()
    assert found.mean == pytest.approx((1.0,))
    assert len(found.split("val")) == 3


def test_no_label_at_all_is_reported() -> None:
    with pytest.raises(CropzooError, match="the selected seasons and sites have no labeled training pixel"):
        restrict_dataset(Two(), [sample(10, [255, 255])])
