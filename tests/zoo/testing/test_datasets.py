"""Each check of a dataset detects its fault."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo import DatasetSpec
from cropzoo.testing import check_dataset

DATASETS = """
import dataclasses
import numpy as np
from cropzoo import LabelClass, Sample, UnknownName
from cropzoo.data.statistics import band_statistics, class_counts


class Samples:
    def __init__(self, changes, count=3):
        self.changes, self.count = changes, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index >= self.count:
            raise IndexError(index)
        random = np.random.default_rng(index)
        sample = Sample(
            series=random.integers(0, 10000, (4, 2, 6, 6), dtype=np.int16),
            dates=np.array([10, 20, 30, 45], dtype=np.int32),
            labels=np.full((12, 12), 1, dtype=np.uint8),
            parcels=np.full((12, 12), 7, dtype=np.int32),
            clear=np.ones((4, 6, 6), dtype=bool),
            place={"crs": "EPSG:32631", "transform": [10, 0, 0, 0, -10, 0]},
        )
        return dataclasses.replace(sample, **self.changes)


class Good:
    bands, scale, mean, std, citation = ("B04", "B08"), 1e-4, (0.1, 0.3), (0.05, 0.1), ""
    classes = (LabelClass("none", 0, "#000000"), LabelClass("maize", 26, "#ffcc00"))

    def __init__(self, changes=None, attributes=None):
        self.changes = changes or {}
        for name, value in (attributes or {}).items():
            setattr(self, name, value)

    def split(self, name):
        if name not in ("train", "val", "test"):
            raise UnknownName("split", name, ("train", "val", "test"))
        return Samples(self.changes)


class Swallows(Good):
    def __init__(self, **options):
        super().__init__()


class EmptySplit(Good):
    def split(self, name):
        super().split(name)
        return Samples({}, count=0 if name == "test" else 3)


class AnySplit(Good):
    def split(self, name):
        return Samples({})


class Random(Good):
    def split(self, name):
        super().split(name)
        return Restless({})


class Restless(Samples):
    def __getitem__(self, index):
        noise = np.random.default_rng().random((4, 2, 6, 6))
        return dataclasses.replace(super().__getitem__(index), series=noise)


class Drifts(Good):
    count = 0

    def __init__(self):
        super().__init__()
        Drifts.count += 1
        self.changes = {"series": np.full((4, 2, 6, 6), Drifts.count)}


class Endless(Good):
    def split(self, name):
        super().split(name)
        return Wrapping({})


class Wrapping(Samples):
    def __getitem__(self, index):
        return super().__getitem__(index % self.count)


class EndlessWithStatistics(Endless):
    def __init__(self):
        super().__init__()
        train = self.split("train")
        self.mean, self.std = band_statistics(train, self.scale)
        class_counts(train, 2)


class Stuck(Good):
    def split(self, name):
        samples = super().split(name)
        samples.opened = lambda: None
        return samples
"""

FAULTS = {
    "Swallows": "list each option",
    "EmptySplit": "split 'test' is empty",
    "AnySplit": r"split\('no-such-split'\) must raise cropzoo.UnknownName",
    "Random": "sample 0 of split 'train' differs when it is read a second time",
    "Drifts": "split 'train' differs in a second dataset with the same options",
    "Endless": "returns a sample beyond its length; it must raise IndexError",
    "EndlessWithStatistics": "returns a sample beyond its length; it must raise IndexError",
    "Stuck": "cannot be sent to a worker process",
}
DESCRIPTIONS = [
    ({"bands": ["B04", "B08"]}, "bands are .*; they must be a tuple of distinct names"),
    ({"bands": ("B04", "B04")}, "bands are .*; they must be a tuple of distinct names"),
    ({"bands": ("B04", "B99")}, "bands are .*, the spec declares"),
    ({"scale": 0}, "scale is 0; it must be positive"),
    ({"mean": (0.1,)}, "mean has 1 values for 2 bands"),
    ({"mean": (0.1, float("nan"))}, "mean is .*; it must be finite"),
    ({"std": (0.1, 0.0)}, "std is .*; it must be positive"),
    ({"citation": None}, "citation must be a string"),
    ({"classes": ("none", "maize")}, "must be a tuple of cropzoo.LabelClass"),
]
SAMPLES = [
    ({"series": np.zeros((4, 6, 6))}, r"series has shape \(4, 6, 6\); it must be \(T, C, H, W\)"),
    ({"series": np.zeros((4, 3, 6, 6))}, "series has 3 channels for the 2 bands"),
    ({"series": np.zeros((4, 2, 6, 6), dtype=bool)}, "series is bool"),
    ({"series": np.full((4, 2, 6, 6), np.nan)}, "series is not finite"),
    ({"series": np.zeros((0, 2, 6, 6))}, "no dimension may be empty"),
    ({"series": np.zeros((3, 2, 6, 6))}, r"dates have shape \(4,\) for 3 images"),
    ({"dates": np.arange(4)}, "dates are int64; they must be int32"),
    ({"dates": np.array([1, 2, 2, 3], dtype=np.int32)}, "dates must increase"),
    ({"labels": np.zeros((12, 6), dtype=np.uint8)}, r"labels have shape \(12, 6\)"),
    ({"labels": np.zeros((3, 3), dtype=np.uint8)}, r"labels have shape \(3, 3\)"),
    ({"labels": np.zeros((12, 12), dtype=np.float32)}, "labels are float32"),
    ({"labels": np.full((12, 12), 2, dtype=np.uint8)}, r"labels contain \[2\]; classes are 0 to 1"),
    ({"parcels": np.zeros((6, 6), dtype=np.int32)}, r"parcels have shape \(6, 6\), labels \(12, 12\)"),
    ({"parcels": np.zeros((12, 12), dtype=np.int64)}, "parcels are int64"),
    ({"parcels": np.full((12, 12), -1, dtype=np.int32)}, "negative id"),
    ({"clear": np.ones((4, 12, 12), dtype=bool)}, r"clear has shape \(4, 12, 12\)"),
    ({"clear": np.ones((4, 6, 6), dtype=np.uint8)}, "clear is uint8"),
    ({"place": {"crs": "EPSG:32631"}}, "place is .*; it must be empty, or have crs"),
]


@pytest.fixture
def make_spec(module_folder):
    """`make_spec(factory)` is the spec of one of the datasets above."""
    (module_folder / "made_datasets.py").write_text(DATASETS)

    def make(factory, **fields):
        common = {"summary": "a test", "source": "a test", "license": "MIT", "bands": ("B02", "B04", "B08")}
        return DatasetSpec(name="fields", build=f"made_datasets:{factory}", **{**common, **fields})

    return make


def test_good_datasets_pass(make_spec):
    check_dataset(make_spec("Good"))
    check_dataset(make_spec("Good"), changes={"labels": None, "parcels": None, "clear": None, "place": {}})
    check_dataset(make_spec("Good", bands=()), changes={"labels": np.full((6, 6), 255), "parcels": None})


@pytest.mark.parametrize("factory", FAULTS)
def test_fault_of_splits_is_found(factory, make_spec):
    with pytest.raises(AssertionError, match=f"dataset 'fields': .*{FAULTS[factory]}"):
        check_dataset(make_spec(factory))


@pytest.mark.parametrize(("attributes", "says"), DESCRIPTIONS)
def test_fault_of_the_description_is_found(attributes, says, make_spec):
    with pytest.raises(AssertionError, match=f"dataset 'fields': .*{says}"):
        check_dataset(make_spec("Good"), attributes=attributes)


@pytest.mark.parametrize(("changes", "says"), SAMPLES)
def test_fault_of_a_sample_is_found(changes, says, make_spec):
    with pytest.raises(AssertionError, match=f"dataset 'fields': sample 0 of split 'train': .*{says}"):
        check_dataset(make_spec("Good"), changes=changes)
