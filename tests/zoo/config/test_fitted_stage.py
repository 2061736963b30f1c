"""Recipes whose last stage is fitted to frozen features, without epochs, rates and gradients."""

from __future__ import annotations

import logging

import pytest

from cropzoo.config.catalog import Catalog, CatalogEntry
from cropzoo.config.merge import read_recipe, resolve_recipe
from cropzoo.errors import UsageError
from cropzoo.plugins.registry import load_zoo

BODY = """
from cropzoo import ObjectiveSpec


@hookimpl
def cropzoo_backbones():
    return [backbone("net")]


@hookimpl
def cropzoo_datasets():
    return [dataset("synthetic")]


@hookimpl
def cropzoo_objectives():
    common = dict(build="nowhere:nothing", summary="a test", source="a test", license="MIT", needs_labels=True)
    trained = [ObjectiveSpec(name=name, **common) for name in ("cscl", "segmentation")]
    return [*trained, *(ObjectiveSpec(name=name, fitted=True, **common) for name in ("forest", "knn"))]
"""


@pytest.fixture
def zoo(make_plugin):
    return load_zoo([make_plugin("settings", BODY)])


def resolve(zoo, *layers, recipe=None):
    entry = CatalogEntry(summary="a", source="b", recipe={"backbone": "net", "dataset": "synthetic", **(recipe or {})})
    named = [(f"layer {number}", {"backbone": "net", **layer}) for number, layer in enumerate(layers)]
    return resolve_recipe(zoo, Catalog({"net.synthetic": entry}, {"net.synthetic": "cropzoo"}), *named)[0]


def test_a_fitted_stage_has_no_epochs_and_a_frozen_backbone(zoo):
    recipe = resolve(zoo, {"objective": "forest", "forest.trees": 9})
    assert recipe.freeze
    assert recipe.stages[0].fitted
    assert recipe.stages[0].epochs == 0
    assert recipe.to_mapping()["stages"] == [{"objective": "forest", "options": {"trees": 9}}]
    assert read_recipe(zoo, recipe.to_mapping(), "stored") == recipe
    assert resolve(zoo, recipe.to_mapping()) == recipe


def test_stages_before_it_keep_epochs_and_rates(zoo):
    recipe = resolve(zoo, {"pretrain": ["cscl"], "objective": "knn", "pretrain_epochs": 3, "lr": 1e-4})
    assert [(stage.objective, stage.epochs, stage.fitted) for stage in recipe.stages] == [
        ("cscl", 3, False),
        ("knn", 0, True),
    ]
    assert recipe.stages[0].lr == 1e-4
    assert resolve(zoo, recipe.to_mapping()) == recipe


def test_settings_for_another_objective_below_are_dropped(zoo):
    trained = resolve(zoo, {"epochs": 7, "lr": 1e-4, "lr_scale": {"backbone": 0.1}, "segmentation.loss": "dice"})
    for recipe in (
        resolve(zoo, trained.to_mapping(), {"objective": "forest"}),
        resolve(zoo, {"objective": "forest"}, recipe={"epochs": 9, "lr": 1e-4, "freeze": False}),
    ):
        assert recipe.stages[0].fitted
        assert recipe.freeze
        assert not recipe.lr_scale
    back = resolve(zoo, resolve(zoo, {"objective": "forest"}).to_mapping(), {"objective": "segmentation", "epochs": 4})
    assert (back.stages[0].objective, back.stages[0].epochs) == ("segmentation", 4)


@pytest.mark.parametrize(
    ("layer", "key"),
    [
        ({"epochs": 3}, "epochs"),
        ({"steps": 300}, "steps"),
        ({"lr": 1e-3}, "lr"),
        ({"forest.epochs": 3}, "epochs"),
        ({"stages.0.weight_decay": 0.1}, "weight_decay"),
        ({"freeze": False}, "freeze"),
        ({"lr_scale": {"backbone": 0.1}}, "lr_scale"),
    ],
)
def test_settings_without_effect_are_errors(zoo, layer, key):
    message = f"{key} is given, but 'forest' is fitted once to frozen features"
    with pytest.raises(UsageError, match=f"layer 0: {message}"):
        resolve(zoo, {"objective": "forest", **layer})
    with pytest.raises(UsageError, match=f"layer 1: {message}"):
        resolve(zoo, {"objective": "forest"}, layer)


@pytest.mark.parametrize(
    ("layer", "keys"),
    [
        ({"temporal_dropout": 0.2}, "temporal_dropout"),
        ({"patience": 3, "flip_rotate": True, "end_early": 0.5}, "flip_rotate, end_early, patience"),
        ({"weight_average": 0.99, "gradient_clip_norm": 1.0}, "weight_average, gradient_clip_norm"),
        ({"crops_per_tile": 4, "val_fraction": 0.5}, "crops_per_tile, val_fraction"),
    ],
)
def test_settings_of_trained_stages_are_a_warning(zoo, caplog, layer, keys):
    resolve(zoo, {"objective": "forest", **layer})
    resolve(zoo, {"objective": "knn"}, layer)
    first, second = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert first.startswith(f"layer 0: no effect of {keys}; 'forest' is fitted once")
    assert second.startswith(f"layer 1: no effect of {keys}; 'knn' is fitted once")


def test_settings_that_are_off_stored_or_read_by_another_stage_are_no_warning(zoo, caplog):
    augmented = {"temporal_dropout": 0.2, "flip_rotate": True}
    resolve(zoo, {"objective": "forest", "flip_rotate": False, "temporal_dropout": 0.0, "val_fraction": 1})
    resolve(zoo, augmented, {"objective": "forest"})
    resolve(zoo, {"objective": "forest"}, recipe=augmented)
    resolve(zoo, {"objective": "forest", "pretrain": ["cscl"], **augmented})
    resolve(zoo, resolve(zoo, {"objective": "forest"}).to_mapping(), {"seed": 1})
    assert not caplog.records


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        (
            {"pretrain": ["forest"]},
            "'forest' is fitted to frozen features and gives no gradient, but it is stage 1 of 2",
        ),
        ({"stages": ["knn", "cscl", "segmentation"]}, "'knn' .* it is stage 1 of 3"),
        ({"segmentation.auxiliary": "knn:0.1"}, "'knn' .* it is an auxiliary objective of 'segmentation'"),
        ({"objective": "knn", "knn.auxiliary": "cscl:0.1"}, "'knn' .* it has the auxiliary objective 'cscl'"),
        ({"objective": "knn", "knn.auxiliary": "forest:0.1"}, "'forest' .* it is an auxiliary objective of 'knn'"),
    ],
)
def test_a_fitted_objective_is_only_the_last_stage(zoo, layer, problem):
    with pytest.raises(UsageError, match=problem):
        resolve(zoo, layer)
