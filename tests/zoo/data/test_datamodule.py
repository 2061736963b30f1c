"""The data of a recipe: splits, loaders and counts for training and for a trained model."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cropzoo.config.recipe import Recipe
from cropzoo.data.datamodule import DataModule, ModelInputs, open_data, open_training_data
from cropzoo.data.dates import parse_day
from cropzoo.data.sample import LabelClass, Sample
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.plugins.registry import load_zoo

CLASSES = tuple(LabelClass(name, number, "#000000") for number, name in enumerate(("wheat", "rye", "maize")))
DAYS = np.array([17600, 17700, 17800], np.int32)  # 10 March, 18 June and 26 September 2018


def sample(label: int, name: str = "north") -> Sample:
    """16 x 8 pixels of one class, two parcels, three dates, two bands that hold 1 and 2."""
    series = np.ones((3, 2, 16, 8), np.int16) * np.array([1, 2], np.int16)[:, None, None]
    parcels = np.repeat([1, 2], 8)[:, None].repeat(8, 1)
    return Sample(series, DAYS, np.full((16, 8), label, np.uint8), parcels, name=name)


def dataset(**splits: list[Sample]) -> Any:
    found = {"train": [sample(0), sample(2)], "val": [sample(2)], "test": [sample(0, "south")], **splits}
    return SimpleNamespace(
        bands=("red", "nir"), scale=0.5, mean=(0.5, 1.0), std=(1.0, 2.0), classes=CLASSES, citation="somebody",
        split=found.__getitem__,
    )  # fmt: skip


def recipe(**values: Any) -> Recipe:
    settings = {"backbone": "tsvit", "dataset": "fields", "image_size": 8, "batch_size": 3, **values}
    return Recipe.from_mapping(settings, "a test")


def module(inputs: ModelInputs | None = None, source: Any = None, **values: Any) -> DataModule:
    return DataModule(source or dataset(), recipe(**values), inputs or ModelInputs("doy"))


def labels_of(loader: Any) -> list[int]:
    return sorted(int(label) for batch in loader for label in batch.labels[:, 0, 0])


def test_training_reads_crops_of_train_and_tiles_of_val_and_test() -> None:
    data = module()
    assert labels_of(data.train_dataloader()) == [0, 0, 2, 2]
    assert labels_of(data.val_dataloader()) == labels_of(data.tile_loader("val")) == [2, 2]
    assert labels_of(data.test_dataloader()) == [0, 0]
    assert data.counts == {"train": [128, 0, 128], "val": [0, 0, 128], "test": [128, 0, 0]}
    assert data.class_names == ("wheat", "rye", "maize")
    batch = data.normalizer(next(iter(data.val_dataloader())))
    assert batch.series[0, 0, :, 0, 0].tolist() == [0.0, 0.0]


def test_each_stage_has_its_own_order_of_crops() -> None:
    data = module(source=dataset(train=[sample(number, str(number)) for number in range(3)] * 9))
    orders = []
    for stage in (0, 1, 0):
        data.stage = stage
        orders.append([tuple(batch.labels[:, 0, 0].tolist()) for batch in data.train_dataloader()])
    assert orders[0] == orders[2] != orders[1]


def test_labels_of_a_fraction_are_used_in_training_only() -> None:
    data = module(label_fraction=0.5)
    assert data.counts["train"] == [64, 0, 64]
    assert sum(int((each.labels != 255).sum()) for each in data.split("train")) == 256


def test_bands_and_classes_of_a_model_are_matched_by_name() -> None:
    trained = ModelInputs("doy", bands=("nir",), mean=(2.0,), std=(0.5,), classes=(CLASSES[2], CLASSES[0]))
    data = module(trained)
    assert labels_of(data.tile_loader("train")) == [0, 0, 1, 1]
    batch = data.normalizer(next(iter(data.tile_loader("test"))))
    assert batch.series.shape[2] == 1
    assert batch.series.unique().tolist() == [-2.0]
    with pytest.raises(CropzooError, match="the data lack blue"):
        module(ModelInputs("doy", bands=("blue",), mean=(1.0,), std=(1.0,)))


def test_sites_of_training_and_test_are_selected() -> None:
    data = module(test_sites=["s*"], train_sites=["north"])
    assert len(data.split("test")) == 1
    with pytest.raises(UsageError, match="split 'test' of sites east; it has no such sample; available: south in 2018"):
        module(test_sites=["east"]).split("test")


def test_a_truncated_copy_leaves_the_original() -> None:
    data = module()
    early = data.truncate(parse_day("--until", "06-30"))
    assert [len(each.dates) for each in (early.split("val")[0], data.split("val")[0])] == [2, 3]
    assert next(iter(early.tile_loader("val"))).series.shape[1] == 2


def test_sizes_and_splits_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="multiple of 3, not 8; use 6 or 9"):
        module(ModelInputs("doy", size_multiple=3))
    with pytest.raises(UnknownName, match="did you mean 'val'"):
        module().split("vall")
    with pytest.raises(CropzooError, match="split 'val' of the dataset is empty"):
        module(source=dataset(val=[])).split("val")
    with pytest.raises(CropzooError, match="split 'val' has no labeled pixel"):
        module(source=dataset(val=[sample(255)])).check_labels()
    with pytest.raises(UsageError, match=r"head.upsample=2; labels of split 'train' have 1 x"):
        module(head={"upsample": 2}).check_labels()


SOURCE = """
import numpy as np
from cropzoo.data.sample import LabelClass, Sample

class Fields:
    bands, scale, mean, std, citation = ("red", "nir"), 0.5, (1.0, 2.0), (1.0, 4.0), ""

    def __init__(self, labels=True):
        self.classes = tuple(LabelClass(n, i, "#000000") for i, n in enumerate(("wheat", "rye"))) if labels else ()

    def split(self, name):
        if name == "test" and not self.classes:
            from cropzoo.errors import CropzooError
            raise CropzooError("no test")
        labels = np.arange(64, dtype=np.uint8).reshape(8, 8) % 2 if self.classes else None
        return [Sample(np.ones((2, 2, 8, 8), np.int16), np.array([17600, 17700], np.int32), labels, name=name)]

@hookimpl
def cropzoo_datasets():
    return [dataset("fields", f"{__name__}:Fields")]
"""


@pytest.fixture
def zoo(make_plugin: Any) -> Any:
    return load_zoo([make_plugin("field-plugin", SOURCE), *built_in()])


def built_in() -> list[Any]:
    from importlib.metadata import entry_points

    return [each for each in entry_points(group="cropzoo") if each.value.startswith("cropzoo_plugins")]


def test_a_dataset_is_opened_for_training_by_name(zoo: Any) -> None:
    data = open_training_data(zoo, recipe())
    assert list(data.splits) == ["train", "val", "test"]
    assert data.collate.encoding == zoo.backbones["tsvit"].spec.dates


def test_labels_are_needed_only_by_objectives_that_need_them(zoo: Any) -> None:
    bare = {"dataset": {"name": "fields", "labels": False}}
    with pytest.raises(UsageError, match="training with 'segmentation' on dataset 'fields'; the dataset has no labels"):
        open_training_data(zoo, recipe(**bare))
    data = open_training_data(zoo, recipe(**bare, objective="mtm"))
    assert data.counts == {"train": [], "val": []}


def test_classes_that_a_model_does_not_know_are_reported(zoo: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cropzoo"):
        open_data(zoo, recipe(), ModelInputs("doy", classes=CLASSES[:1]))
    assert caplog.messages == ["classes that the model does not know are left out of the scores: rye"]
    with pytest.raises(CropzooError, match="share no class; the model knows maize, the data have wheat, rye"):
        open_data(zoo, recipe(), ModelInputs("doy", classes=CLASSES[2:]))
