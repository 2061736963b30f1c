"""Stages that others join: the mapping form, there and back."""

from __future__ import annotations

from typing import Any

import pytest

from cropzoo.config.recipe import Recipe
from cropzoo.errors import UsageError

OBJECTIVES = ("cscl", "boundary", "segmentation")


def recipe(**values: Any) -> Recipe:
    return Recipe.from_mapping({"backbone": "tsvit", "dataset": "synthetic", **values}, "a file", OBJECTIVES)


@pytest.mark.parametrize("form", ["cscl:0.1, boundary:2", {"cscl": 0.1, "boundary": 2}])
def test_both_forms_say_the_same(form: object) -> None:
    [stage] = recipe(segmentation={"auxiliary": form}, cscl={"window": 5}).stages
    assert [(each.objective, each.weight, each.options) for each in stage.auxiliary] == [
        ("cscl", 0.1, {"window": 5}),
        ("boundary", 2.0, {}),
    ]
    assert stage.options == {}


def test_the_mapping_form_gives_the_same_recipe() -> None:
    made = recipe(
        pretrain="boundary",
        boundary={"epochs": 2},
        segmentation={"auxiliary": "cscl:0.1,boundary:1", "loss": "focal"},
        cscl={"window": 5},
    )
    mapping = made.to_mapping()
    assert mapping["cscl"] == {"window": 5}
    assert mapping["segmentation"]["auxiliary"] == {"cscl": 0.1, "boundary": 1.0}
    assert Recipe.from_mapping(mapping, "a file", OBJECTIVES) == made


def test_none_joins_nothing() -> None:
    assert recipe(segmentation={"auxiliary": "none"}).stages[0].auxiliary == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"segmentation": {"auxiliary": "cscl"}}, "auxiliary is 'cscl'; it must be objectives with their weights"),
        ({"segmentation": {"auxiliary": "cscl:much"}}, "such as 'cscl:0.1'"),
        ({"segmentation": {"auxiliary": {"cscl": 0}}}, "key 'auxiliary.0.weight' is 0"),
        ({"segmentation": {"auxiliary": "segmentation:1"}}, "it is joined by itself"),
        ({"segmentation": {"auxiliary": "cscl:1"}, "cscl": {"lr": 1e-3}}, "cscl.lr is given, but 'cscl' only joins"),
        ({"cscl": {"window": 5}}, "which is no stage of this run"),
        ({"lr_scale": {"backbone": "a"}}, "lr_scale"),
        ({"label_fraction": 0}, "label_fraction"),
        ({"train_years": "2018,then"}, "train_years is '2018,then'; it must be whole numbers"),
    ],
)
def test_wrong_values_are_told(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe(**values)


def test_years_and_sites_in_short_form() -> None:
    assert recipe(train_sites=None).train_sites == ()
    made = recipe(train_years=2018, test_years="2019, 2020", train_sites="T31*", test_sites=["a", 3])
    assert (made.train_years, made.test_years) == ((2018,), (2019, 2020))
    assert (made.train_sites, made.test_sites) == (("T31*",), ("a", "3"))
