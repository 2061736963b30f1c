"""The recipe of each run: layers and budget."""

from __future__ import annotations

import pytest

from cropzoo.config.catalog import Catalog, CatalogEntry
from cropzoo.config.merge import resolve_recipe
from cropzoo.config.recipe import Recipe
from cropzoo.errors import UsageError
from cropzoo.evaluation.compare.config import read_study
from cropzoo.evaluation.compare.grid import make_plan


def recipes(found):
    return {run.cell.name: run.recipe for run in found.runs if run.seed == found.study.seeds[0]}


def epochs(recipe):
    return {stage.objective: stage.epochs for stage in recipe.stages}


def test_the_total_budget_is_that_of_a_run_without_pre_training(plan):
    found = recipes(plan(pretrain=["none", "cscl", "cscl+mtm"]))
    assert epochs(found["net-none"]) == {"segmentation": 10}
    assert epochs(found["net-cscl"]) == {"cscl": 3, "segmentation": 7}
    assert epochs(found["net-cscl+mtm"]) == {"cscl": 3, "mtm": 3, "segmentation": 4}


def test_under_the_other_budget_pre_training_comes_on_top(plan):
    assert epochs(recipes(plan(budget="finetune"))["net-cscl"]) == {"cscl": 3, "segmentation": 10}


def test_pre_training_that_nobody_gave_epochs_has_a_quarter(plan):
    settings = {"epochs": None, "pretrain_epochs": None, "pretrain": ["none", "cscl", "cscl+mtm"]}
    found = recipes(plan(**settings, recipe={"mtm": {"epochs": 2}}))
    assert epochs(found["net-none"]) == {"segmentation": 20}
    assert epochs(found["net-cscl"]) == {"cscl": 5, "segmentation": 15}
    assert epochs(found["net-cscl+mtm"]) == {"cscl": 5, "mtm": 2, "segmentation": 13}
    assert epochs(recipes(plan(**settings, budget="finetune"))["net-cscl"]) == {"cscl": 20, "segmentation": 20}


@pytest.mark.parametrize("spent", [10, 11])
def test_pre_training_must_leave_something(plan, spent):
    with pytest.raises(UsageError, match=f"run net-cscl: the budget is 10 epochs in total; pre-training takes {spent}"):
        plan(pretrain_epochs=spent)
    plan(pretrain_epochs=spent, budget="finetune")


def test_variants_go_over_what_the_study_gives(plan):
    found = recipes(
        plan(
            dataset={"name": "synthetic", "scale": 1, "root": "x"},
            recipe={"lr": 0.5},
            variants={
                "plain": {},
                "fine": {"dataset": {"scale": 4}},
                "long": {"cscl": {"epochs": 6}},
                "slow": {"lr": 0.1},
            },
        )
    )
    assert found["net-none"].dataset.options == {"scale": 1, "root": "x"}
    assert found["net-cscl-fine"].dataset.options == {"scale": 4, "root": "x"}
    assert epochs(found["net-cscl-long"]) == {"cscl": 6, "segmentation": 4}
    assert "net-none-long" not in found
    assert {stage.lr for stage in found["net-cscl-slow"].stages} == {0.1}
    assert {stage.lr for stage in found["net-cscl"].stages} == {0.5}


def test_the_study_goes_over_its_recipe(plan):
    found = recipes(plan(dataset="synthetic", recipe={"dataset": {"root": "x"}, "epochs": 99, "cscl": {"epochs": 50}}))
    assert found["net-cscl"].dataset.options == {"root": "x"}
    assert epochs(found["net-cscl"]) == {"cscl": 3, "segmentation": 7}


def test_settings_of_an_objective_reach_the_runs_that_use_it(plan):
    found = recipes(plan(pretrain=["none", "cscl", "mtm"], recipe={"cscl": {"window": 5}, "mtm": {"share": 0.2}}))
    assert [stage.options for stage in found["net-cscl"].stages] == [{"window": 5}, {}]
    assert [stage.options for stage in found["net-mtm"].stages] == [{"share": 0.2}, {}]
    assert [stage.options for stage in found["net-none"].stages] == [{}]


def test_an_objective_that_joins_a_stage_gets_its_settings(plan):
    joint = {"segmentation": {"auxiliary": "mtm:0.1"}, "mtm": {"share": 0.2}}
    found = recipes(plan(variants={"plain": {}, "joint": joint}))
    (joined,) = found["net-none-joint"].stages[-1].auxiliary
    assert (joined.objective, joined.weight, joined.options) == ("mtm", 0.1, {"share": 0.2})
    assert found["net-none"].stages[-1].auxiliary == ()
    assert epochs(found["net-cscl-joint"]) == {"cscl": 3, "segmentation": 7}


def test_training_by_the_written_recipe_gives_that_recipe(zoo):
    """`cropzoo train -c` puts a recipe over the entry of the catalog that the plan has used already."""
    entry = CatalogEntry(
        summary="a",
        source="b",
        recipe={"max_dates": 9, "lr": 0.1, "cscl.window": 7, "segmentation.epochs": 5},
    )
    catalog = Catalog({"net.synthetic": entry}, {})
    settings = {"backbones": ["net"], "pretrain": ["none", "cscl"], "pretrain_epochs": 2}
    variants = {"plain": {}, "joint": {"segmentation": {"auxiliary": "cscl:0.1"}}}
    found = make_plan(read_study({**settings, "variants": variants}, {}, [], "x"), zoo, catalog)
    assert len(found.cells) == 4
    for run in found.runs:
        written = run.recipe.to_mapping()
        assert resolve_recipe(zoo, catalog, ("file", written))[0] == run.recipe
        assert Recipe.from_mapping(written, "file") == run.recipe
    assert epochs(recipes(found)["net-cscl"]) == {"cscl": 2, "segmentation": 3}
    assert recipes(found)["net-cscl"].stages[0].options == {"window": 7}


def test_data_of_another_scoring_are_looked_up_before_anything_is_trained(plan):
    for data in ("folded", {"scale": 4}, {"min_clear": 0.5}, {"name": "folded", "fold": 2}):
        assert plan(scorings={"other": {"dataset": data}}).study.scorings["other"].dataset == data
    for data in ({"fold": 2}, {"name": "folded", "fold": 2}):
        with pytest.raises(UsageError, match="scoring 'x' sets a fold; each run is scored on its own fold"):
            plan(dataset="folded", folds=[1, 2], scorings={"x": {"dataset": data}})
    both = {"a": {}, "b": {"dataset": {"name": "folded"}}}
    with pytest.raises(UsageError, match="option of dataset 'folded' in scoring 'x': 'scale'"):
        plan(variants=both, scorings={"x": {"dataset": {"scale": 4}}})
    with pytest.raises(UsageError, match="unknown dataset 'fold'; did you mean 'folded'"):
        plan(scorings={"other": {"dataset": {"name": "fold", "fold": 2}}})
    with pytest.raises(UsageError, match="option of dataset 'synthetic' in scoring 'x': 'scael'; did you mean 'scale'"):
        plan(scorings={"x": {"dataset": {"scael": 4}}})
