"""The runs that a study means, their names and what each cell is compared with."""

from __future__ import annotations

import pytest

from cropzoo.config.catalog import Catalog, CatalogEntry
from cropzoo.errors import UsageError
from cropzoo.evaluation.compare.config import Study
from cropzoo.evaluation.compare.grid import GridCell, make_plan

WINDOW = {"cscl": {"window": 5}}
JOINT = {"segmentation": {"auxiliary": "cscl:0.1"}}


def names(found):
    return [cell.name for cell in found.cells]


def baselines(found):
    return {cell.name: base.name for cell, base in found.baselines.items() if base != cell}


def test_every_cell_of_a_seed_and_fold_comes_before_the_next(plan):
    found = plan(dataset="folded", seeds=2, folds=[4, 5])
    assert [run.name for run in found.runs] == [
        f"net-{pretrain}-fold{fold}-seed{seed}" for seed in (0, 1) for fold in (4, 5) for pretrain in ("none", "cscl")
    ]
    assert [run.recipe.dataset.options["fold"] for run in found.runs] == [4, 4, 5, 5] * 2
    assert [run.recipe.seed for run in found.runs] == [0] * 4 + [1] * 4
    assert [run.name for run in found.of(found.cells[1])] == [
        "net-cscl-fold4-seed0", "net-cscl-fold5-seed0", "net-cscl-fold4-seed1", "net-cscl-fold5-seed1",
    ]  # fmt: skip


def test_a_new_axis_keeps_the_names_of_the_runs_that_are_there(plan):
    before = names(plan())
    assert before == ["net-none", "net-cscl"]
    after = names(plan(backbones=["net", "other-net"], label_fractions=[0.05, 1], variants={"old": {}, "w5": WINDOW}))
    assert set(before) < set(after)
    assert "net-cscl-labels0.05-w5" in after
    assert len(set(after)) == len(after) == 2 * 2 * 3


def test_backbones_may_be_named_with_the_tag_of_their_weights(zoo):
    def entry(dim):
        seen = {"regions": "r", "years": "y", "level": "l"}
        weights = {
            "url": "https://example.org/a", "sha256": "0" * 64, "size": 1, "license": "MIT", "format": "published",
            "citation": "c", "trained_on": seen,
        }  # fmt: skip
        size, recipe = {"bands": 1, "classes": 2, "dates": 1, "pixels": 1}, {"backbone": {"name": "net", "dim": dim}}
        return CatalogEntry.parse(
            {"summary": "a", "source": "b", "size": size, "recipe": recipe, "weights": weights}, ""
        )

    entries = {"net.small": entry(4), "net.large": entry(16)}
    study = Study(backbones=("net", "net.small", "net.large"), pretrain=("none",), epochs=2)
    found = make_plan(study, zoo, Catalog(entries, dict.fromkeys(entries, "test")))
    assert names(found) == ["net-none", "net.small-none", "net.large-none"]
    recipes = [(run.recipe.backbone.name, run.recipe.backbone.options, run.recipe.weights) for run in found.runs]
    assert recipes == [("net", {}, None), ("net", {"dim": 4}, "net.small"), ("net", {"dim": 16}, "net.large")]


def test_a_variant_that_changes_nothing_is_no_cell(plan):
    found = plan(variants={"plain": {}, "w5": WINDOW, "same": {"epochs": 10}})
    assert names(found) == ["net-none", "net-cscl", "net-cscl-w5"]


def test_all_are_compared_with_none_of_their_backbone_and_labels(plan):
    found = plan(backbones=["net", "other-net"], pretrain=["cscl", "none", "mtm"], label_fractions=[0.1, 1])
    assert baselines(found)["other-net-mtm-labels0.1"] == "other-net-none-labels0.1"
    assert baselines(found)["net-cscl"] == "net-none"
    assert len(baselines(found)) == 8


def test_a_difference_has_one_cause(plan):
    """Pre-training is compared within its variant, a variant without pre-training with the first one."""
    found = plan(variants={"plain": {}, "w5": WINDOW, "joint": JOINT})
    assert baselines(found) == {
        "net-none-joint": "net-none",
        "net-cscl": "net-none",
        "net-cscl-w5": "net-none",
        "net-cscl-joint": "net-none-joint",
    }


def test_the_baseline_can_be_chosen(plan):
    variants = {"plain": {}, "joint": JOINT}
    assert baselines(plan(baseline="cscl")) == {"net-none": "net-cscl"}
    found = plan(variants=variants, baseline={"variant": "plain"})
    assert set(baselines(found).values()) == {"net-none"}
    found = plan(variants=variants, baseline={"pretrain": "cscl", "variant": "joint"})
    assert set(baselines(found).values()) == {"net-cscl-joint"}
    assert set(baselines(plan(pretrain=["cscl", "mtm"])).values()) == {"net-cscl"}


@pytest.mark.parametrize(
    ("study", "messages"),
    [
        ({"backbones": ["nett"]}, "run nett-none: unknown backbone 'nett'; did you mean 'net'"),
        ({"pretrain": ["none", "csl"]}, "unknown objective 'csl'; did you mean 'cscl'"),
        ({"dataset": "sinthetic"}, "unknown dataset 'sinthetic'; did you mean 'synthetic'"),
        ({"recipe": {"batchsize": 3}}, "run net-none: .*'batchsize'; did you mean 'batch_size'"),
        ({"recipe": {"mtm": {"share": 0.5}}}, "recipe: settings for 'mtm', which no run uses; add it to"),
        ({"variants": {"a": {"mtm": {}}}}, "variant 'a': settings for 'mtm', which no run uses"),
        ({"label_fractions": [0]}, "run net-none-labels0: .*'label_fraction' is 0"),
        ({"seeds": [-1]}, "'seed' is -1"),
        ({"folds": [1, 2]}, "folds 1, 2; dataset 'synthetic' has no option fold; leave the folds out"),
        ({"baseline": "mtm"}, "baseline pretrain 'mtm'; the grid has no such run, but pretrain none, cscl"),
        (
            {"variants": {"a": JOINT}, "baseline": {"variant": "b"}},
            "with variant 'b'; .* and variants a; change baseline",
        ),
        ({"label_fractions": [0.1234561, 0.1234562]}, "two runs of the study have the name"),
    ],
)
def test_what_is_wrong_is_named(plan, study, messages):
    with pytest.raises(UsageError, match=messages):
        plan(**study)


def test_a_family_member_is_part_of_a_file_name():
    assert GridCell("timm/resnet18", "cscl+mtm", 0.05, "w5").name == "timm-resnet18-cscl+mtm-labels0.05-w5"
    assert GridCell("net", "none", 1.0, "").label == "none"
    assert GridCell("net", "cscl", 1.0, "w5").label == "cscl, w5"
