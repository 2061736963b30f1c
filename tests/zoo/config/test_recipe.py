"""The recipe's mapping form, there and back."""

from __future__ import annotations

import pytest
import yaml

from cropzoo.config.recipe import Recipe, normalize
from cropzoo.config.schema import parse_yaml
from cropzoo.errors import UnknownName, UsageError

OBJECTIVES = ("cscl", "segmentation")
BASE = {"backbone": "tsvit", "dataset": "synthetic"}


def recipe(**values):
    return Recipe.from_mapping({**BASE, **values}, "a file", OBJECTIVES)


def test_what_is_not_given_has_its_default():
    plain = recipe()
    assert plain.backbone.name == "tsvit"
    assert [stage.objective for stage in plain.stages] == ["segmentation"]
    assert (plain.min_clear, plain.max_dates, plain.flip_rotate) == (0.0, None, True)


def test_whole_run_values_reach_every_stage_and_a_section_its_own():
    made = recipe(pretrain="cscl", lr=0.5, epochs=7, pretrain_epochs=3, cscl={"lr": 0.1, "window": 5})
    first, last = made.stages
    assert (first.epochs, first.lr, first.options) == (3, 0.1, {"window": 5})
    assert (last.epochs, last.lr, last.options) == (7, 0.5, {})


def test_a_section_has_its_own_epochs():
    made = recipe(pretrain=["cscl"], epochs=7, cscl={"epochs": 2}, segmentation={"epochs": 9})
    assert [stage.epochs for stage in made.stages] == [2, 9]


def test_the_mapping_form_comes_back_as_it_was_even_through_yaml():
    made = recipe(
        backbone={"name": "tsvit", "dim": 64},
        dataset={"name": "geotiff", "root": "fields", "min_clear": 0.25},
        pretrain=["cscl"],
        cscl={"epochs": 2, "lr_min": 5e-6, "window": 5},
        precision="bf16",
        seed=7,
    )
    text = yaml.safe_dump(made.to_mapping(), sort_keys=False)
    assert Recipe.from_mapping(parse_yaml(text, "yaml"), "yaml", OBJECTIVES) == made


def test_a_stage_of_a_plugin_that_is_gone_is_still_read():
    made = recipe(pretrain=["other"], other={"strength": 3})
    assert made.stages[0].options == {"strength": 3}


def test_min_clear_stands_alone_or_in_the_dataset():
    assert recipe(min_clear=0.5).min_clear == 0.5
    assert recipe(dataset={"name": "geotiff", "min_clear": 0.5}).min_clear == 0.5
    with pytest.raises(UsageError, match="min_clear is given twice"):
        recipe(min_clear=0.5, dataset={"name": "geotiff", "min_clear": 0.1})


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({"epoch": 3}, UnknownName, "unknown setting in a file: 'epoch'; did you mean 'epochs'"),
        ({"stages": []}, UnknownName, "unknown setting in a file: 'stages'"),
        ({"backbone": 3}, UsageError, "a file: backbone is 3; it must be a name or a mapping with a name"),
        ({"backbone": {"name": 3}}, UsageError, "a file: backbone is {'name': 3}; it must be"),
        ({"backbone": {"dim": 3}}, UsageError, "a file: key 'backbone.name' is missing"),
        ({"pretrain": 3}, UsageError, "a file: pretrain is 3; it must be a list of objectives"),
        ({"objective": 3}, UsageError, "a file: objective is 3"),
        ({"pretrain": ["cscl", "cscl"]}, UsageError, "a file: stages are cscl, cscl, segmentation; an objective"),
        ({"segmentation": 5}, UsageError, "a file: segmentation is 5; it must be a mapping"),
        ({"cscl": {}}, UsageError, "a file: settings are given for 'cscl', which is no stage of this run"),
        ({"segmentation": {"lr": 0}}, UsageError, "a file: stage 'segmentation': key 'lr' is 0; input should be"),
        ({"batch_size": "16"}, UsageError, "a file: key 'batch_size' is '16'"),
        ({"date_sampling": "best"}, UsageError, "a file: key 'date_sampling' is 'best'; input should be 'uniform', "),
        ({"precision": "8"}, UsageError, "a file: key 'precision' is '8'"),
        ({"seed": -1}, UsageError, "a file: key 'seed' is -1"),
    ],
)
def test_what_cannot_be_is_refused_and_named(values, kind, message):
    with pytest.raises(kind) as caught:
        recipe(**values)
    assert str(caught.value).startswith(message)


def test_short_forms_are_written_out_and_the_layer_is_left_alone():
    layer = {"backbone": "tsvit", "pretrain": "cscl, none", "min_clear": 0.5, "dataset": {"root": "fields"}}
    settings = normalize(layer, "here")
    assert settings == {
        "backbone": {"name": "tsvit"},
        "pretrain": ["cscl"],
        "dataset": {"root": "fields", "min_clear": 0.5},
    }
    assert layer["dataset"] == {"root": "fields"}
