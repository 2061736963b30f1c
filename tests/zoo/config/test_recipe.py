"""The recipe's mapping form, there and back."""

from __future__ import annotations

import re

import pytest
import yaml

from cropzoo.config.recipe import Recipe, Stage
from cropzoo.config.schema import parse_yaml
from cropzoo.config.short_forms import STAGE_FIELDS, expand_short_forms
from cropzoo.errors import UnknownName, UsageError

BASE = {"backbone": "tsvit", "dataset": "synthetic"}


def recipe(**values):
    return Recipe.from_mapping({**BASE, **values}, "a file")


def test_what_is_not_given_has_its_default():
    plain = recipe()
    assert plain.backbone.name == "tsvit"
    assert [stage.objective for stage in plain.stages] == ["segmentation"]
    assert (plain.min_clear, plain.max_dates, plain.flip_rotate) == (0.0, None, True)


def test_whole_run_values_reach_every_stage_and_a_section_its_own():
    made = recipe(
        pretrain="cscl", lr=0.5, epochs=7, pretrain_epochs=3, objectives={"cscl": {"lr": 0.1, "options": {"window": 5}}}
    )
    first, last = made.stages
    assert (first.epochs, first.lr, first.options) == (3, 0.1, {"window": 5})
    assert (last.epochs, last.lr, last.options) == (7, 0.5, {})


def test_a_section_has_its_own_epochs():
    made = recipe(pretrain=["cscl"], epochs=7, objectives={"cscl": {"epochs": 2}, "segmentation": {"epochs": 9}})
    assert [stage.epochs for stage in made.stages] == [2, 9]


def test_the_mapping_form_comes_back_as_it_was_even_through_yaml():
    made = recipe(
        backbone={"name": "tsvit", "dim": 64},
        dataset={"name": "geotiff", "root": "fields", "min_clear": 0.25},
        stages=[
            {"objective": "cscl", "epochs": 2, "lr_min": 5e-6, "options": {"window": 5}},
            "segmentation",
            {"objective": "cscl", "epochs": 3, "auxiliary": {"boundary": 0.5}},
        ],
        precision="bf16",
        seed=7,
    )
    text = yaml.safe_dump(made.to_mapping(), sort_keys=False)
    assert Recipe.from_mapping(parse_yaml(text, "yaml"), "yaml") == made


def test_a_stage_of_a_plugin_that_is_gone_is_still_read():
    made = recipe(stages=[{"objective": "other", "options": {"strength": 3}}, "segmentation"])
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
        ({"stages": []}, UsageError, "a file: key 'stages' is []; tuple should have at least 1 item"),
        ({"stages": 3}, UsageError, "a file: stages is 3; it must be a list such as [{objective: cscl, epochs: 6}]"),
        ({"stages": [3]}, UsageError, "a file: stages.0 is 3; it must be a mapping with any of objective, epochs"),
        ({"stages": [{"lr": 1}]}, UsageError, "a file: stages.0 is {'lr': 1}; it must name its objective"),
        (
            {"stages": [{"objective": "cscl", "window": 5}]},
            UnknownName,
            "unknown setting in a file: stages.0: 'window'; known: auxiliary, epochs, lr, lr_min, objective, options, "
            "steps, warmup_epochs, weight_decay; options of the objective belong in options",
        ),
        ({"stages": ["cscl"], "pretrain": "cscl"}, UsageError, "a file: stages and pretrain are given"),
        (
            {"stages.2.lr": 1},
            UsageError,
            "a file: stages.2 is set, but the run has no such stage; its stages are 0 seg",
        ),
        ({"stages.last.lr": 1}, UsageError, "a file: 'stages.last.lr'; a stage is addressed by its index from 0"),
        (
            {f"stages.{'9' * 5000}.lr": 1},
            UsageError,
            f"a file: 'stages.{'9' * 73}'... (5010 characters); a stage is addressed by its index from 0",
        ),
        (
            {"stages": ["cscl", "cscl"], "objectives": {"cscl": {"lr": 1}}},
            UsageError,
            "a file: settings are given for 'cscl', which is the objective of stages.0 and stages.1; address one of "
            "them, such as --set stages.0.lr=VALUE",
        ),
        (
            {"objectives": 3},
            UsageError,
            "a file: objectives is 3; it must be a mapping of objectives to their settings",
        ),
        ({"objectives": {"cscl": {"windw": 5}}}, UnknownName, "unknown setting in a file: objectives.cscl: 'windw'"),
        ({"version": 3}, UsageError, "a file: version is 3; this cropzoo reads version 2; upgrade cropzoo"),
        ({"cscl": {"lr": 1}}, UnknownName, "unknown setting in a file: 'cscl'; known: "),
        ({"backbone": 3}, UsageError, "a file: backbone is 3; it must be a name or a mapping with a name"),
        ({"backbone": {"name": 3}}, UsageError, "a file: backbone is {'name': 3}; it must be"),
        ({"backbone": {"dim": 3}}, UsageError, "a file: key 'backbone.name' is missing"),
        ({"pretrain": 3}, UsageError, "a file: pretrain is 3; it must be a list of objectives"),
        ({"objective": 3}, UsageError, "a file: objective is 3"),
        (
            {"objectives": {"cscl": {}}},
            UsageError,
            "a file: settings are given for 'cscl', which is no stage of this run",
        ),
        ({"segmentation.lr": 0}, UsageError, "a file: stage 'segmentation': key 'lr' is 0; input should be"),
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


def test_an_objective_may_be_several_stages():
    made = recipe(stages=["cscl", {"objective": "cscl", "options": {"window": 5}}, "segmentation"], pretrain_epochs=3)
    assert [(stage.objective, stage.epochs, stage.options) for stage in made.stages] == [
        ("cscl", 3, {}),
        ("cscl", 3, {"window": 5}),
        ("segmentation", 20, {}),
    ]


def test_the_fields_of_a_stage_are_known():
    assert {"objective", "options", "auxiliary", *STAGE_FIELDS} == set(Stage.model_fields)


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("lr", {"lr": 1}),
        ("backbone.dim", {"backbone": {"dim": 1}}),
        ("cscl.window", {"objectives": {"cscl": {"options": {"window": 1}}}}),
        ("cscl.lr", {"objectives": {"cscl": {"lr": 1}}}),
        ("cscl.options.lr", {"objectives": {"cscl": {"options": {"lr": 1}}}}),
        ("objectives.backbone.lr", {"objectives": {"backbone": {"lr": 1}}}),
        ("objectives.cscl.options.window", {"objectives": {"cscl": {"options": {"window": 1}}}}),
        ("stages.1.window", {"stages": {1: {"options": {"window": 1}}}}),
        ("stages.0.options.window", {"stages": {0: {"options": {"window": 1}}}}),
        ("stages.0.epochs", {"stages": {0: {"epochs": 1}}}),
    ],
)
def test_a_key_with_dots_is_a_path(path, settings):
    assert expand_short_forms({path: 1}, "here") == settings


@pytest.mark.parametrize(
    "path", ["a..b", ".a", "backbone.a.b", "cscl.lr.x", "stages.0", "objectives.cscl", "cscl.options"]
)
def test_a_path_of_another_form_is_refused(path):
    with pytest.raises(UsageError, match="here: "):
        expand_short_forms({path: 1}, "here")


def test_short_forms_are_written_out_and_the_layer_is_left_alone():
    layer = {"backbone": "tsvit", "pretrain": "cscl, none", "min_clear": 0.5, "dataset": {"root": "fields"}}
    settings = expand_short_forms(layer, "here")
    assert settings == {
        "backbone": {"name": "tsvit"},
        "pretrain": ["cscl"],
        "dataset": {"root": "fields", "min_clear": 0.5},
    }
    assert layer["dataset"] == {"root": "fields"}


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("train_sites: [NO, off, 12:30, 2021-04-10, 1_6, 010]", "train_sites", "NO,off,12:30,2021-04-10,1_6,010"),
        ("train_sites: 0101", "train_sites", "0101"),
        ("test_sites: [33, 34]", "test_sites", "33,34"),
        ("weights: 0123", "weights", "0123"),
    ],
)
def test_texts_of_a_yaml_file_stay_texts(line, key, value):
    text = f"backbone: tsvit\ndataset: synthetic\n{line}\n"
    found = getattr(Recipe.from_mapping(parse_yaml(text, "here"), "here"), key)
    assert (found if isinstance(found, str) else ",".join(found)) == value


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_sites: [31.10]", "its items must be texts; put them in quotes"),
        ("train_sites: 1e3", "its items must be texts; put them in quotes"),
        ("train_sites: [true]", "its items must be texts; put them in quotes"),
        ("flip_rotate: off", "key 'flip_rotate' is 'off'; it must be true or false"),
        ("batch_size: 010", "key 'batch_size' is '010'; input should be a valid integer"),
        ("batch_size: 1e3", "key 'batch_size' is 1000.0; input should be a valid integer"),
        ("weights: 1e3", "key 'weights' is 1000.0; input should be a valid string"),
        ("seed: 12:30", "key 'seed' is '12:30'; input should be a valid integer"),
    ],
)
def test_what_yaml_might_mean_otherwise_is_refused(line, message):
    text = f"backbone: tsvit\ndataset: synthetic\n{line}\n"
    with pytest.raises(UsageError, match=re.escape(message)):
        Recipe.from_mapping(parse_yaml(text, "here"), "here")
