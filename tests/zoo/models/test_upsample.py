"""Upsampled features: shapes, heads, weights, and the resolution of labels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cropzoo.config.catalog import Catalog
from cropzoo.config.recipe import PluginChoice, Recipe
from cropzoo.data.datamodule import DataModule, ModelInputs, check_resolution
from cropzoo.data.sample import LabelClass, Sample
from cropzoo.errors import UsageError
from cropzoo.evaluation.evaluate import predict_sample
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, save_checkpoint
from cropzoo.models.factory import create_model, load_model
from cropzoo.models.upsample import UPSAMPLE_MODES, Upsampled, match_labels, match_weights

BATCH = torch.randn(2, 3, 2, 6, 6), torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool)


def make(zoo: Any, upsample: int, **options: Any) -> Model:
    return create_model("tiny", in_channels=2, classes=3, image_size=6, upsample=upsample, zoo=zoo, **options)


def recipe(upsample: int = 1, **values: Any) -> Recipe:
    mapping = {"backbone": "tiny", "dataset": "made", "head": {"upsample": upsample}, **values}
    return Recipe.from_mapping(mapping, "a test")


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_features_and_logits_are_so_many_times_finer(tiny_zoo, scale):
    model = make(tiny_zoo, scale)
    assert model.features(*BATCH).shape == (2, 3, 6 * scale, 6 * scale)
    logits = model(*BATCH)
    assert logits.shape == (2, 3, 6 * scale, 6 * scale)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.backbone.parameters())


def test_a_stage_is_what_the_paper_says(tiny_zoo):
    backbone = make(tiny_zoo, 4).backbone
    assert isinstance(backbone, Upsampled)
    assert len(backbone.stages) == 2
    convolution, norm, activation = backbone.stages[0]
    assert (convolution.kernel_size, convolution.stride) == ((3, 3), (2, 2))
    assert isinstance(norm, nn.BatchNorm2d)
    assert activation.negative_slope == 0.01


def test_a_stage_adds_what_it_has_learnt_to_the_interpolated_features(tiny_zoo):
    backbone = make(tiny_zoo, 4).backbone.eval()
    smooth = nn.functional.interpolate(backbone.base(*BATCH), scale_factor=2, mode="bilinear")
    smooth = nn.functional.interpolate(smooth, scale_factor=2, mode="bilinear")
    assert not torch.allclose(backbone(*BATCH), smooth)
    assert [float(norm.weight.detach().unique()) for _, norm, _ in backbone.stages] == [pytest.approx(0.1)] * 2
    for _, norm, _ in backbone.stages:
        nn.init.zeros_(norm.weight)
    torch.testing.assert_close(backbone(*BATCH), smooth)


def test_a_head_that_only_passes_features_on_is_kept():
    options = {"dim": 8, "temporal_depth": 1, "spatial_depth": 1, "heads": 2, "head_dim": 4}
    coarse, fine = (create_model("tsvit", in_channels=2, classes=3, image_size=4, upsample=scale, **options)
                    for scale in (1, 2))  # fmt: skip
    assert isinstance(coarse.head, nn.Identity)
    assert isinstance(fine.head, nn.Identity)


@pytest.mark.parametrize("scale", [0, 3, 8])
def test_other_scales_are_refused(tiny_zoo, scale):
    with pytest.raises(UsageError, match=f"upsample is {scale}; it must be 1, 2 or 4"):
        make(tiny_zoo, scale)


def test_a_checkpoint_brings_its_resolution_back(tiny_zoo, tmp_path: Path):
    model = make(tiny_zoo, 2).eval()
    labels = tuple(LabelClass(name, number, "#000000") for number, name in enumerate("abc"))
    note = Metadata(
        backbone=PluginChoice(name="tiny"), in_channels=2, image_size=6, upsample=2, classes=labels, dates="doy"
    )
    save_checkpoint(tmp_path / "m.safetensors", model.state_dict(), note)
    loaded = load_model(tmp_path / "m.safetensors", zoo=tiny_zoo, catalog=Catalog({}, {}))
    assert torch.equal(loaded(*BATCH), model(*BATCH))


def test_weights_go_from_any_resolution_to_any(tiny_zoo):
    plain, fine, finer = (make(tiny_zoo, scale).backbone for scale in (1, 2, 4))
    adapted = fine.adapt_weights(match_weights(fine, plain.state_dict(), 1))
    assert torch.equal(adapted["base.look.weight"], plain.state_dict()["look.weight"])
    assert not any(key.startswith("stages.") for key in adapted)
    assert match_weights(plain, fine.state_dict(), 2).keys() == plain.state_dict().keys()
    assert match_weights(plain, plain.state_dict(), 1).keys() == plain.state_dict().keys()
    up = finer.adapt_weights(match_weights(finer, fine.state_dict(), 2))
    assert up.keys() < finer.state_dict().keys()
    assert torch.equal(up["stages.0.0.weight"], fine.state_dict()["stages.0.0.weight"])
    named_alike = {"stages.0.weight": torch.zeros(1), "base.weight": torch.zeros(1)}  # of a network of its own
    assert match_weights(plain, named_alike, 1) == named_alike
    assert list(match_weights(fine, named_alike, 1)) == ["base.stages.0.weight", "base.base.weight"]


def sample(scale: int) -> Sample:
    rng = np.random.default_rng(0)
    series = rng.normal(size=(3, 2, 10, 9)).astype(np.float32)
    labels = np.zeros((scale * 10, scale * 9), np.uint8)
    return Sample(series, np.arange(3, dtype=np.int32), labels, name="s")


@pytest.mark.parametrize(("labels", "logits"), [(4, 1), (1, 2), (4, 2)])
def test_labels_and_logits_of_different_resolutions_are_reported_before_training(labels, logits):
    with pytest.raises(
        UsageError, match=rf"head.upsample={logits}; .* have {labels} x .*set head.upsample={labels}, or"
    ):
        check_resolution("train", sample(labels), logits)
    check_resolution("train", sample(labels), labels)


@pytest.mark.parametrize("scale", [1, 4])
def test_a_whole_sample_is_predicted_at_the_fine_grid_as_at_once(tiny_zoo, scale):
    """Tiles of 5 x 5 px cover 10 x 9; a network without spatial context is not affected by their borders."""
    torch.manual_seed(0)
    model = make(tiny_zoo, scale).eval()
    if scale > 1:
        model.backbone.stages = nn.Upsample(scale_factor=scale)
    dataset: Any = SimpleNamespace(bands=("a", "b"), scale=1.0, mean=(0.0, 0.0), std=(0.02, 0.02), classes=())
    tiled, whole = (
        predict_sample(model, DataModule(dataset, recipe(scale, image_size=size), ModelInputs("doy")), sample(scale))[0]
        for size in (5, 10)
    )
    assert tiled.shape == (10 * scale, 9 * scale)
    assert (tiled == whole).all()
    assert len(np.unique(whole)) > 1


@pytest.mark.parametrize("mode", UPSAMPLE_MODES)
@pytest.mark.parametrize(("logits", "labels"), [(1, 2), (1, 4), (2, 4)])
def test_logits_are_brought_to_finer_labels(tiny_zoo, mode, logits, labels):
    model = make(tiny_zoo, logits).eval()
    matched = match_labels(model, logits, labels, mode)
    assert not matched.training
    expected = nn.functional.interpolate(
        model(*BATCH), (6 * labels, 6 * labels), mode=mode, **({} if mode == "nearest" else {"align_corners": False})
    )
    assert torch.equal(matched(*BATCH), expected)


def test_logits_are_left_as_they_are_unless_asked(tiny_zoo, caplog):
    model = make(tiny_zoo, 1)
    assert match_labels(model, 1, 1, None) is model
    assert not caplog.messages
    assert match_labels(model, 1, 4, None) is model
    [reported] = caplog.messages
    assert "is used for 4 x 4 labels" in reported


@pytest.mark.parametrize(
    ("logits", "labels", "mode", "reported"),
    [
        (1, 1, "nearest", "nothing to upsample"),
        (4, 4, "bilinear", "nothing to upsample"),
        (4, 1, None, "4 x the resolution of the images, the labels 1 x"),
        (4, 2, "bilinear", "labels with the resolution of the logits"),
    ],
)
def test_grids_that_do_not_fit(tiny_zoo, logits, labels, mode, reported):
    with pytest.raises(UsageError, match=reported):
        match_labels(make(tiny_zoo, logits), logits, labels, mode)
