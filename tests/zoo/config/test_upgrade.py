"""Recipes of version 1 in the form of today."""

from __future__ import annotations

import pytest

from cropzoo.config.recipe import Recipe
from cropzoo.config.upgrade import upgrade_recipe

RATES = {"epochs": 3, "lr": 0.1, "lr_min": 0.0, "warmup_epochs": 1.0, "weight_decay": 0.0}


def test_a_stored_recipe_gets_a_list_of_stages():
    stored = {
        "backbone": {"name": "net", "dim": 3},
        "dataset": {"name": "fields", "min_clear": 0.5},
        "pretrain": ["cscl"],
        "objective": "segmentation",
        "cscl": {**RATES, "window": 5},
        "segmentation": {**RATES, "auxiliary": {"boundary": 0.5, "mtm": 1.0}, "loss": "focal"},
        "boundary": {"of": "classes"},
        "turns": False,
        "date_drop": 0.25,
        "clip_norm": 2.0,
        "seed": 7,
    }
    upgraded = upgrade_recipe(stored)
    joined = [
        {"objective": "boundary", "weight": 0.5, "options": {"of": "classes"}},
        {"objective": "mtm", "weight": 1.0},
    ]
    assert upgraded == {
        "version": 2,
        "backbone": {"name": "net", "dim": 3},
        "dataset": {"name": "fields", "min_clear": 0.5},
        "stages": [
            {"objective": "cscl", **RATES, "options": {"window": 5}},
            {"objective": "segmentation", **RATES, "auxiliary": joined, "options": {"loss": "focal"}},
        ],
        "flip_rotate": False,
        "temporal_dropout": 0.25,
        "gradient_clip_norm": 2.0,
        "seed": 7,
    }
    recipe = Recipe.from_mapping(upgraded, "a run")
    assert (recipe.flip_rotate, recipe.temporal_dropout, recipe.gradient_clip_norm) == (False, 0.25, 2.0)
    assert upgrade_recipe(upgraded) == upgraded


def test_a_part_of_a_recipe_keeps_what_it_names():
    assert upgrade_recipe({"pretrain": "cscl", "cscl": {"epochs": 9, "window": 5}, "lr": 0.5}) == {
        "version": 2,
        "pretrain": "cscl",
        "lr": 0.5,
        "objectives": {"cscl": {"epochs": 9, "options": {"window": 5}}},
    }
    assert upgrade_recipe({"cscl.window": 5, "stages": ["cscl"]}) == {
        "version": 2,
        "cscl.window": 5,
        "stages": ["cscl"],
    }
    assert upgrade_recipe({}) == {}


@pytest.mark.parametrize("name", ["boundary", "cscl", "mtm", "segmentation", "supcon", "other"])
def test_an_objective_need_not_be_known(name):
    assert "objectives" in upgrade_recipe({name: {"lr": 1}})


def test_a_misspelled_key_is_no_objective_unless_one_has_that_name():
    assert upgrade_recipe({"bakbone": {"dim": 1}}) == {"version": 2, "bakbone": {"dim": 1}}
    assert upgrade_recipe({"bakbone": {"dim": 1}}, ["bakbone"])["objectives"] == {"bakbone": {"options": {"dim": 1}}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"pretrain": 3, "objective": "segmentation", "segmentation": RATES},
        {"pretrain": [], "objective": 3},
        {"pretrain": [], "objective": "segmentation", "segmentation": {**RATES, "auxiliary": "cscl"}},
        {"pretrain": [], "objective": "segmentation", "segmentation": 5},
    ],
)
def test_wrong_values_are_left_to_the_reader(wrong):
    with pytest.raises(Exception, match="a file"):
        Recipe.from_mapping(upgrade_recipe({"backbone": "a", "dataset": "b", **wrong}), "a file")
