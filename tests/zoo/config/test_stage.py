"""Stages with auxiliary objectives: the mapping form, there and back."""

from __future__ import annotations

from typing import Any

import pytest

from cropzoo.config.recipe import Recipe
from cropzoo.errors import UsageError


def recipe(**values: Any) -> Recipe:
    return Recipe.from_mapping({"backbone": "tsvit", "dataset": "synthetic", **values}, "a file")


@pytest.mark.parametrize(
    "form",
    [
        "cscl:0.1, boundary:2",
        {"cscl": 0.1, "boundary": 2},
        [{"objective": "cscl", "weight": 0.1}, {"objective": "boundary", "weight": 2}],
    ],
)
def test_all_forms_give_the_same_stage(form: object) -> None:
    [stage] = recipe(objectives={"segmentation": {"auxiliary": form}, "cscl": {"options": {"window": 5}}}).stages
    assert [(each.objective, each.weight, each.options) for each in stage.auxiliary] == [
        ("cscl", 0.1, {"window": 5}),
        ("boundary", 2.0, {}),
    ]
    assert stage.options == {}


def test_the_mapping_form_gives_the_same_recipe() -> None:
    made = recipe(
        stages=[
            {"objective": "boundary", "epochs": 2},
            {"objective": "segmentation", "auxiliary": "cscl:0.1,boundary:1", "options": {"loss": "focal"}},
        ],
        objectives={"cscl": {"options": {"window": 5}}},
    )
    mapping = made.to_mapping()
    assert [stage["objective"] for stage in mapping["stages"]] == ["boundary", "segmentation"]
    assert mapping["stages"][1]["auxiliary"] == [
        {"objective": "cscl", "weight": 0.1, "options": {"window": 5}},
        {"objective": "boundary", "weight": 1.0},
    ]
    assert mapping["stages"][1]["options"] == {"loss": "focal"}
    assert Recipe.from_mapping(mapping, "a file") == made


def test_none_joins_nothing() -> None:
    assert recipe(**{"segmentation.auxiliary": "none"}).stages[0].auxiliary == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"segmentation.auxiliary": "cscl"}, "auxiliary is 'cscl'; it must be objectives with their weights"),
        ({"segmentation.auxiliary": "cscl:much"}, "such as 'cscl:0.1'"),
        ({"segmentation.auxiliary": [{"weight": 1}]}, "such as 'cscl:0.1'"),
        ({"segmentation.auxiliary": [{"objective": "cscl"}]}, "key 'auxiliary.0.weight' is missing"),
        ({"segmentation.auxiliary": "cscl:1,cscl:2"}, "it names an objective twice"),
        ({"segmentation.auxiliary": {"cscl": 0}}, "key 'auxiliary.0.weight' is 0"),
        ({"segmentation.auxiliary": "segmentation:1"}, "auxiliary names the objective of the stage itself"),
        (
            {"segmentation.auxiliary": "cscl:1", "cscl.lr": 1e-3},
            "cscl.lr is given, but 'cscl' is only an auxiliary obj",
        ),
        ({"cscl.window": 5}, "which is no stage of this run"),
        ({"lr_scale": {"backbone": "a"}}, "lr_scale"),
        ({"label_fraction": 0}, "label_fraction"),
        ({"train_years": "1_6"}, "train_years is '1_6'; it must be whole numbers"),
        ({"test_years": ["2018", "20_19"]}, "it must be whole numbers"),
        ({"train_years": "2018,\u0662\u0660\u0661\u0668"}, "it must be whole numbers"),
        ({"train_years": "9" * 5000}, "it must be whole numbers"),
        ({"train_years": "2018,then"}, "train_years is '2018,then'; it must be whole numbers"),
    ],
)
def test_wrong_values_are_reported(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe(**values)


def test_years_and_sites_in_short_form() -> None:
    assert recipe(train_sites=None).train_sites == ()
    made = recipe(train_years=2018, test_years="2019, 2020", train_sites="T31*", test_sites=["a", 3])
    assert (made.train_years, made.test_years) == ((2018,), (2019, 2020))
    assert (made.train_sites, made.test_sites) == (("T31*",), ("a", "3"))
