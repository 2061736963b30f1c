"""Objectives by name: `create_objective`."""

from __future__ import annotations

import pytest
import torch

import cropzoo
from cropzoo.data.batch import Batch
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.models.factory import create_model
from cropzoo.models.objectives import create_objective
from cropzoo.plugins.registry import load_zoo


@pytest.fixture(scope="module")
def model():
    return create_model("ltae", in_channels=2, classes=3)


def test_an_objective_trains_a_backbone(model):
    objective = cropzoo.create_objective("segmentation", model.backbone, 3, class_weights="none")
    batch = Batch(
        series=torch.randn(2, 4, 2, 8, 8),
        dates=torch.arange(10, 50, 10).expand(2, -1),
        valid=torch.ones(2, 4, dtype=torch.bool),
        labels=torch.randint(0, 3, (2, 8, 8)),
    )
    losses = objective(batch)
    losses.total.backward()
    assert losses.logits.shape == (2, 3, 8, 8)
    assert objective.backbone is model.backbone
    assert all(parameter.grad is not None for parameter in objective.head.parameters())


@pytest.mark.parametrize(
    ("name", "classes", "options", "error", "message"),
    [
        ("segmentaton", 3, {}, UnknownName, "unknown objective 'segmentaton'; did you mean 'segmentation'"),
        ("cscl", 3, {"windo": 5}, UnknownName, "unknown option of objective 'cscl': 'windo'; did you mean 'window'"),
        ("segmentation", -1, {}, UsageError, r"create_objective\('segmentation'\) with classes=-1"),
        ("segmentation", "3", {}, UsageError, r"create_objective\('segmentation'\) with classes='3'"),
    ],
)
def test_what_cannot_be_created_is_reported(model, name, classes, options, error, message):
    with pytest.raises(error, match=message):
        create_objective(name, model.backbone, classes, **options)


def test_something_else_than_a_backbone_is_refused(model):
    with pytest.raises(
        UsageError, match=r"of type Model; it takes a cropzoo.Backbone; pass its backbone: model.backbo"
    ):
        create_objective("segmentation", model, 3)
    with pytest.raises(UsageError, match=r"of type str; it takes a cropzoo.Backbone; create one with"):
        create_objective("segmentation", "tsvit", 3)


def test_a_factory_that_returns_something_else_is_reported(model, make_plugin):
    body = """
def nothing(backbone, classes):
    return None


@hookimpl
def cropzoo_objectives():
    facts = {"summary": "a test", "source": "a test", "license": "MIT", "needs_labels": False}
    return [ObjectiveSpec(name="empty", build=f"{__name__}:nothing", **facts)]
"""
    zoo = load_zoo([make_plugin("empty", body)])
    with pytest.raises(CropzooError, match="objective 'empty' of plugin 'empty': its factory returned NoneType"):
        create_objective("empty", model.backbone, 3, zoo=zoo)
