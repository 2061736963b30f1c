"""The recipe that a checkpoint is scored with."""

from __future__ import annotations

import pytest

from cropzoo import LabelClass, load_zoo
from cropzoo.config.recipe import PluginChoice
from cropzoo.errors import UnknownName
from cropzoo.models.checkpoint import Metadata
from cropzoo.models.stored_recipe import scoring_recipe

TRAINED = Metadata(
    backbone=PluginChoice(name="tsvit"),
    in_channels=2,
    image_size=24,
    classes=(LabelClass("a", 0, "#000000"), LabelClass("b", 1, "#ffffff")),
    bands=("B04", "B08"),
    dates="doy",
    recipe={"dataset": {"name": "synthetic", "min_clear": 0.3, "size": 240}, "max_dates": 9},
)


@pytest.mark.parametrize(
    ("changes", "min_clear", "options"),
    [
        ({}, 0.3, {"size": 240}),
        ({"dataset": {"name": "geotiff", "root": "x"}}, 0.3, {"root": "x"}),
        ({"dataset": {"name": "geotiff", "min_clear": 0.0}}, 0.0, {}),
        ({"dataset": {"min_clear": 0.7}}, 0.7, {"size": 240}),
    ],
)
def test_other_data_keep_the_clouds_that_the_model_knows_but_no_option(changes, min_clear, options):
    recipe = scoring_recipe(TRAINED, load_zoo(), changes)
    assert (recipe.min_clear, recipe.dataset.options, recipe.max_dates) == (min_clear, options, 9)


@pytest.mark.parametrize(
    ("given", "changes", "scale"),
    [
        ({}, {}, 1e-4),  # written when 1e-4 was the default for reflectance, too
        ({"scale": 0.5}, {}, 0.5),
        ({}, {"dataset": {"root": "elsewhere"}}, None),  # its files decide
        ({}, {"dataset": {"scale": 1.0}}, 1.0),
        ({}, {"dataset": {"name": "synthetic"}}, None),
    ],
)
def test_the_data_of_the_training_keep_their_scale(given, changes, scale):
    recipe = {"dataset": {"name": "geotiff", "root": "x", **given}}
    trained = TRAINED.model_copy(update={"recipe": recipe, "scale": 1e-4})
    assert scoring_recipe(trained, load_zoo(), changes).dataset.options.get("scale") == scale


def test_a_dataset_without_that_option_gets_none():
    assert "scale" not in scoring_recipe(TRAINED.model_copy(update={"scale": 1e-4}), load_zoo(), {}).dataset.options


def test_seasons_and_sites_are_chosen_again_for_other_data():
    chosen = {"test_years": [2018], "train_sites": ["north"]}
    trained = TRAINED.model_copy(update={"recipe": {**TRAINED.recipe, **chosen}})
    same = scoring_recipe(trained, load_zoo(), {"test_sites": ["south"]})
    assert (same.test_years, same.train_sites, same.test_sites) == ((2018,), ("north",), ("south",))
    other = scoring_recipe(trained, load_zoo(), {"dataset": {"name": "geotiff"}, "test_years": [2020]})
    assert (other.test_years, other.train_sites, other.test_sites) == ((2020,), (), ())


def test_what_the_network_follows_from_cannot_be_changed():
    with pytest.raises(UnknownName, match="other settings are fixed by the training"):
        scoring_recipe(TRAINED, load_zoo(), {"backbone": {"dim": 3}})
