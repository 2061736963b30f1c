"""Mask of clear pixels, padding and location reach backbones that declare them, in training and every prediction."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cropzoo import BackboneSpec, Losses, Objective, UsageError
from cropzoo.config.recipe import Recipe
from cropzoo.data.batch import Batch
from cropzoo.data.loader import Collate
from cropzoo.data.location import find_center
from cropzoo.data.normalize import Normalizer
from cropzoo.data.patches import Crops, PatchItem, PatchKey, PatchOptions, Tiles
from cropzoo.data.sample import Sample
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.inference.export.export import export_model
from cropzoo.inference.export.formats import ExportFormat
from cropzoo.inference.mapping.chunks import ChunkReader, make_batches
from cropzoo.inference.mapping.options import MapOptions
from cropzoo.inference.mapping.plan import make_plan
from cropzoo.inference.predictor import open_predictor
from cropzoo.models.checkpoint import Metadata, read_metadata, save_checkpoint
from cropzoo.models.factory import create_model, load_model
from cropzoo.plugins.registry import Zoo, load_zoo
from cropzoo.plugins.specs import InvalidSpec
from cropzoo.testing import check_backbone
from cropzoo.training.module import StageModule

AWARE = """
import torch
from torch import nn
from cropzoo import Backbone, BackboneSpec, hookimpl


class Aware(Backbone):
    def __init__(self, in_channels, classes, image_size, length, bands=None):
        super().__init__()
        self.bands, self.out_channels = bands, 4
        self.layer = nn.Conv2d(in_channels, 4, 1)
        self.place = nn.Linear(2, 4)
        self.day = nn.Linear(1, 4)

    def forward(self, series, dates, valid, *, clear=None, padded=True, location=None):
        used = valid[:, :, None, None].expand(-1, -1, *series.shape[-2:])
        if clear is not None:
            used = used & clear
        weights = used[:, :, None].to(series.dtype)
        mean = (series * weights).sum(1) / weights.sum(1).clamp(min=1)
        known = torch.zeros(len(series), 2) if location is None else location.nan_to_num()
        days = (dates * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True) / 20000
        return self.layer(mean) + (self.place(known / 90) + self.day(days))[:, :, None, None]


class Blind(Aware):
    def forward(self, series, dates, valid, *, clear=None, padded=True, location=None):
        return super().forward(series, dates, valid, location=location)


class Nowhere(Aware):
    def forward(self, series, dates, valid, *, clear=None, padded=True, location=None):
        features = super().forward(series, dates, valid, clear=clear, location=location)
        return features if location is None else features + location.sum(1)[:, None, None, None]


@hookimpl
def cropzoo_backbones():
    inputs = ("clear", "padded", "location")
    common = {"summary": "a test", "source": "a test", "license": "MIT", "dates": "epoch"}
    return [
        BackboneSpec(name="aware", build=f"{__name__}:Aware", inputs=inputs, normalization="reflectance", **common)
    ]
"""

GHENT = (51.05, 3.72)


@pytest.fixture
def zoo(make_plugin: Any) -> Zoo:
    return load_zoo([make_plugin("aware", AWARE)])


@pytest.fixture
def checkpoint(zoo: Zoo, scenes: ModuleType, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = create_model("aware", in_channels=2, classes=3, image_size=8, bands=scenes.BANDS, zoo=zoo)
    spec = zoo.backbones["aware"].spec
    about = {"backbone": {"name": "aware"}, "in_channels": 2, "image_size": 8, "classes": scenes.CLASSES}
    about |= {"bands": scenes.BANDS, "scale": 1e-4, "mean": (0.3, 0.3), "std": (0.2, 0.2), "dates": "epoch"}
    metadata = Metadata(**about, inputs=spec.inputs, normalization=spec.normalization)
    save_checkpoint(tmp_path / "model.safetensors", model.state_dict(), metadata)
    return tmp_path / "model.safetensors"


def make_sample(scenes: ModuleType, seed: int = 0, clear: bool = True) -> Sample:
    """A sample of 8 x 8 pixels near Ghent, with random clouds."""
    series, rng = scenes.random_series(8, 8, seed=seed), np.random.default_rng(seed)
    mask = rng.random((len(series), 8, 8)) < 0.6 if clear else None
    place = {"crs": "EPSG:32631", "transform": [10.0, 0.0, 550_460.0, 0.0, -10.0, 5_655_640.0]}
    return Sample(series, scenes.days_of().astype(np.int32), clear=mask, place=place)


def by_hand(model: Any, sample: Sample, clear: bool = True, location: Any = None) -> Any:
    """Probabilities of a sample, computed from its arrays."""
    series = torch.from_numpy(sample.series.astype(np.float32))[None] * 1e-4
    mask = torch.from_numpy(sample.clear)[None] if clear and sample.clear is not None else None
    place = None if location is None else torch.tensor([location], dtype=torch.float32)
    dates = torch.from_numpy(sample.dates.astype(np.int64))[None]
    with torch.no_grad():
        features = model.backbone(series, dates, torch.ones_like(dates, dtype=torch.bool), clear=mask, location=place)
        return model.head(features).softmax(1)


def test_the_center_of_a_sample_in_degrees() -> None:
    place = {"crs": "EPSG:32631", "transform": [10.0, 0.0, 500_000.0, 0.0, -10.0, 5_600_000.0]}
    latitude, longitude = find_center(place, 200, 0)
    assert (latitude, longitude) == pytest.approx((50.5422, 3.0), abs=1e-3)
    assert find_center({**place, "crs": "EPSG:4326", "transform": [0.1, 0, 3.0, 0, -0.1, 51.0]}, 10, 20) == (50.5, 4.0)
    assert np.isnan(find_center({}, 8, 8)).all()
    local = 'LOCAL_CS["field",UNIT["metre",1]]'
    assert np.isnan(find_center({**place, "crs": local}, 8, 8)).all()


@pytest.mark.parametrize("declared", [(), ("clear",), ("clear", "padded", "location")])
def test_a_batch_has_what_the_backbone_declares(scenes: ModuleType, declared: Any) -> None:
    cloudy, plain = make_sample(scenes), make_sample(scenes, clear=False)
    batch = Collate("epoch", inputs=declared)([PatchItem(cloudy), PatchItem(plain.take_dates(np.arange(2)))])
    assert batch.padded
    assert (batch.dates[0].numpy() == cloudy.dates).all()
    assert (batch.location is not None) == ("location" in declared)
    assert (batch.clear is not None) == ("clear" in declared)
    if batch.clear is not None:
        assert (batch.clear[0].numpy() == cloudy.clear).all()
        assert batch.clear[1, :2].all()
        assert not batch.clear[1, 2:].any()
    assert not Collate("epoch")([PatchItem(cloudy)]).padded


def test_flipped_crops_and_tiles_keep_their_location(scenes: ModuleType) -> None:
    collate = Collate("epoch", inputs=("location",))
    options = PatchOptions(4, flip_rotate=True)
    crops, tiles = Crops([make_sample(scenes)], options, (0, 0)), Tiles([make_sample(scenes)], options)
    for patches in (crops, tiles):
        batch = collate([patches[PatchKey(0, position)] for position in range(4)])
        assert batch.location is not None
        assert batch.location.numpy() == pytest.approx(np.tile(GHENT, (4, 1)), abs=0.01)
    assert len(batch.location.unique(dim=0)) == 4


def test_reflectance_is_scaled_only(scenes: ModuleType) -> None:
    batch = Collate("epoch")([PatchItem(make_sample(scenes))])
    normalize = Normalizer(("B04", "B08"), ("B08",), 1e-4, (0.3,), (0.2,), "reflectance")
    assert torch.allclose(normalize(batch).series, batch.series[:, :, 1:].float() * 1e-4)


def test_model_predict_passes_mask_and_location(zoo: Zoo, checkpoint: Path, scenes: ModuleType) -> None:
    model, sample = load_model(checkpoint, zoo=zoo), make_sample(scenes)
    assert model.backbone.inputs == ("clear", "padded", "location")
    assert model.backbone.bands == scenes.BANDS
    found = model.predict(sample.series, sample.dates, sample.clear, GHENT)
    assert torch.allclose(found, by_hand(model, sample, location=GHENT), atol=1e-6)
    for other in (model.predict(sample.series, sample.dates), model.predict(sample.series, sample.dates, sample.clear)):
        assert (found - other).abs().max() > 1e-3
    assert torch.allclose(model.predict(sample.series, sample.dates), by_hand(model, sample, clear=False), atol=1e-6)


@pytest.mark.parametrize("location", [(3.0, 51.0, 1.0), (200.0, 3.0), "Ghent", ((1.0, 2.0), (1.0, 2.0))])
def test_a_location_that_is_none(zoo: Zoo, checkpoint: Path, scenes: ModuleType, location: Any) -> None:
    model, sample = load_model(checkpoint, zoo=zoo), make_sample(scenes)
    with pytest.raises(UsageError, match="with location"):
        model.predict(sample.series, sample.dates, location=location)


def test_a_model_refuses_unknown_inputs(zoo: Zoo) -> None:
    model = create_model("aware", in_channels=2, classes=3, zoo=zoo)
    with pytest.raises(UsageError, match="'cloud'; further inputs are clear, padded, location"):
        model(torch.zeros(1, 2, 2, 4, 4), torch.full((1, 2), 18000), cloud=None)


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_every_predictor_passes_mask_and_location(
    zoo: Zoo, checkpoint: Path, scenes: ModuleType, tmp_path: Path, form: str
) -> None:
    path = checkpoint
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        path = tmp_path / "model.onnx"
        export_model(checkpoint, path, ExportFormat.ONNX, read_metadata(checkpoint), zoo, lambda line: None)
        assert "`location`" in (tmp_path / "model.onnx.md").read_text()
    predictor, model, sample = open_predictor(path, zoo, "cpu"), load_model(checkpoint, zoo=zoo), make_sample(scenes)
    assert sample.clear is not None
    assert predictor.facts.inputs == ("clear", "padded", "location")
    series, dates, valid = sample.series[None], sample.dates.astype(np.int64)[None], np.ones((1, 5), bool)
    given = {"clear": sample.clear[None], "location": np.array([GHENT], np.float32)}
    found = predictor.probabilities(series, dates, valid, int(dates[0, 0]), **given)
    assert found == pytest.approx(by_hand(model, sample, location=GHENT).numpy(), abs=1e-5)
    plain = predictor.probabilities(series, dates, valid, int(dates[0, 0]))
    assert plain == pytest.approx(by_hand(model, sample, clear=False).numpy(), abs=1e-5)


def test_a_map_passes_mask_and_location(scenes: ModuleType, tmp_path: Path) -> None:
    """The masks and locations of windows, one of them at an edge of a small image."""
    series = scenes.random_series(12, 6)
    clear = np.random.default_rng(0).random((len(series), 12, 6)) < 0.6
    pattern = scenes.write_images(tmp_path / "images", series, clear)
    facts = scenes.make_facts(inputs=("clear", "padded", "location"))
    plan = make_plan(find_images(pattern), facts, MapOptions((pattern,)))
    (batch,) = make_batches(plan, ChunkReader(plan).read(plan.chunks[0]))
    assert batch.clear is not None
    assert batch.location is not None
    for (row, column), mask, place in zip(batch.corners, batch.clear, batch.location, strict=True):
        seen = clear[:, row : row + 8, column : column + 8]
        assert (mask[:, : seen.shape[1], : seen.shape[2]] == seen).all()
        assert not mask[:, :, seen.shape[2] :].any()
        assert place == pytest.approx((50.55, 3.0), abs=0.01)
    shown: list[Any] = []
    batch.predict(Recorder(shown))
    assert shown[0]["clear"] is batch.clear
    assert shown[0]["location"] is batch.location


class Recorder:
    """A predictor that records its keywords."""

    def __init__(self, shown: list[Any]) -> None:
        self.shown = shown

    def probabilities(self, *arguments: Any, **inputs: Any) -> Any:
        self.shown.append(inputs)


class Direct(Objective):
    """Calls the backbone without the inputs that it declares."""

    def __init__(self, backbone: Any) -> None:
        super().__init__(backbone)
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, batch: Batch) -> Losses:
        assert self.head is not None
        return Losses(self.head(self.backbone(batch.series, batch.dates, batch.valid)).square().mean())


class Complete(Direct):
    """Calls it by `features`."""

    def forward(self, batch: Batch) -> Losses:
        assert self.head is not None
        return Losses(self.head(self.features(batch)).square().mean())


def test_training_refuses_an_objective_that_leaves_inputs_out(zoo: Zoo, scenes: ModuleType) -> None:
    backbone = create_model("aware", in_channels=2, classes=3, image_size=8, zoo=zoo).backbone
    recipe = Recipe.from_mapping({"backbone": "aware", "dataset": "any", "image_size": 8}, "a test")
    batch = Collate("epoch", inputs=backbone.inputs)([PatchItem(make_sample(scenes))])
    normalizer = Normalizer(scenes.BANDS, scenes.BANDS, 1e-4, (0.3, 0.3), (0.2, 0.2), "reflectance")
    assert StageModule(Complete(backbone), normalizer, recipe, 0, ("a", "b", "c"))._losses(normalizer(batch)).total > 0
    with pytest.raises(CropzooError, match=r"without its inputs clear, padded, location; .*self.features\(batch\)"):
        StageModule(Direct(backbone), normalizer, recipe, 0, ("a", "b", "c"))._losses(normalizer(batch))


def test_the_check_of_backbones_finds_ignored_masks_and_unknown_locations(zoo: Zoo) -> None:
    spec = zoo.backbones["aware"].spec
    module = spec.build.partition(":")[0]
    common = {"summary": "a test", "source": "a test", "license": "MIT", "dates": "epoch", "inputs": spec.inputs}
    check_backbone(spec)
    with pytest.raises(AssertionError, match="values of pixels that are not clear affect the features"):
        check_backbone(BackboneSpec(name="blind", build=f"{module}:Blind", **common))
    with pytest.raises(AssertionError, match="with the inputs clear, padded, location the features are not finite"):
        check_backbone(BackboneSpec(name="nowhere", build=f"{module}:Nowhere", **common))


@pytest.mark.parametrize(
    ("field", "value"), [("inputs", ("cloud",)), ("inputs", "clear"), ("normalization", "none"), ("dates", "month")]
)
def test_specs_of_unknown_inputs(field: str, value: Any) -> None:
    fields = {"name": "a", "build": "a:b", "summary": "a", "source": "a", "license": "MIT", "dates": "doy"}
    with pytest.raises(InvalidSpec, match=field):
        BackboneSpec(**{**fields, field: value})


def test_names_for_another_number_of_bands(zoo: Zoo) -> None:
    with pytest.raises(UsageError, match="with 3 bands and 2 names of bands"):
        create_model("aware", in_channels=3, classes=3, bands=("B04", "B08"), zoo=zoo)
