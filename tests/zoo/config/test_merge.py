"""Which layer of settings wins."""

from __future__ import annotations

import pytest

from cropzoo.config.catalog import Catalog, CatalogEntry
from cropzoo.config.merge import merge, parse_assignments, read_recipe, resolve_recipe
from cropzoo.errors import UnknownName, UsageError
from cropzoo.plugins.registry import load_zoo

BODY = """
from cropzoo import ObjectiveSpec


@hookimpl
def cropzoo_backbones():
    return [backbone("net"), backbone("other-net"), backbone("family", member="encoder", members="a:b")]


@hookimpl
def cropzoo_datasets():
    return [dataset("synthetic"), dataset("fields")]


@hookimpl
def cropzoo_objectives():
    common = dict(build="nowhere:nothing", summary="a test", source="a test", license="MIT", needs_labels=True)
    return [ObjectiveSpec(name=name, **common) for name in ("cscl", "segmentation")]
"""


@pytest.fixture
def zoo(make_plugin):
    return load_zoo([make_plugin("settings", BODY)])


def catalog(**entries):
    made = {
        name.replace("__", "."): CatalogEntry(summary="a", source="b", recipe=recipe)
        for name, recipe in entries.items()
    }
    return Catalog(made, dict.fromkeys(made, "test"))


def resolved(zoo, entries, *layers):
    return resolve_recipe(zoo, entries, *[(f"layer {number}", layer) for number, layer in enumerate(layers)])


def test_the_dataset_is_synthetic_unless_named(zoo):
    recipe, pair = resolved(zoo, catalog(), {"backbone": "net"})
    assert recipe.dataset.name == "synthetic"
    assert pair == ""


def test_flags_win_over_a_file_over_the_catalog_over_defaults(zoo):
    entries = catalog(net__fields={"batch_size": 1, "seed": 1, "image_size": 8, "backbone": {"dim": 1, "depth": 1}})
    file = {"batch_size": 2, "seed": 2, "backbone": {"dim": 2}}
    flags = {"batch_size": 3, "backbone": "net", "dataset": "fields"}
    recipe, pair = resolved(zoo, entries, file, flags)
    assert pair == "net.fields"
    assert (recipe.batch_size, recipe.seed, recipe.image_size, recipe.patience) == (3, 2, 8, 0)
    assert recipe.backbone.options == {"dim": 2, "depth": 1}


def test_another_name_drops_the_options_of_the_name_before(zoo):
    file = {"backbone": {"name": "net", "dim": 2}, "dataset": {"name": "fields", "min_clear": 0.5}}
    recipe, _ = resolved(zoo, catalog(), file, {"backbone": "other-net", "dataset": "synthetic"})
    assert (recipe.backbone.name, recipe.backbone.options, recipe.min_clear) == ("other-net", {}, 0.0)


def test_options_without_a_name_below_belong_to_the_name_above():
    assert merge({"backbone": {"dim": 2}}, {"backbone": {"name": "net"}}) == {"backbone": {"name": "net", "dim": 2}}


@pytest.mark.parametrize("above", [{"min_clear": 0.5}, {"dataset": {"min_clear": 0.5}}])
@pytest.mark.parametrize("below", [{"min_clear": 0.1}, {"dataset": {"min_clear": 0.1}}])
def test_min_clear_of_the_upper_layer_wins_in_either_form(zoo, below, above):
    recipe, _ = resolved(zoo, catalog(), {"backbone": "net", **below}, above)
    assert recipe.min_clear == 0.5


def test_a_rate_for_the_run_wins_over_a_lower_layer_s_stage_and_not_over_its_own(zoo):
    entries = catalog(
        net__fields={"pretrain": "cscl", "objectives": {"cscl": {"lr": 1.0, "epochs": 11}, "segmentation": {"lr": 2.0}}}
    )
    base = {"backbone": "net", "dataset": "fields"}
    recipe, _ = resolved(zoo, entries, base, {"lr": 3.0, "cscl.lr": 4.0})
    assert [stage.lr for stage in recipe.stages] == [4.0, 3.0]
    recipe, _ = resolved(zoo, entries, base, {"epochs": 5})
    assert [stage.epochs for stage in recipe.stages] == [11, 5]
    recipe, _ = resolved(zoo, entries, base, {"pretrain_epochs": 5})
    assert recipe.stages[0].epochs == 5


def test_the_catalog_s_stages_are_used_in_short_form_and_dropped_with_their_settings(zoo):
    entries = catalog(net__fields={"pretrain": "cscl", "cscl.window": 5})
    base = {"backbone": "net", "dataset": "fields"}
    assert resolved(zoo, entries, base)[0].stages[0].options == {"window": 5}
    assert resolved(zoo, entries, base, {"pretrain": "none"})[0].pretrain == ()


def test_the_catalog_s_settings_for_a_stage_wait_until_it_is_asked_for(zoo):
    entries = catalog(net__fields={"objectives": {"cscl": {"options": {"window": 5}}}})
    base = {"backbone": "net", "dataset": "fields"}
    assert resolved(zoo, entries, base)[0].pretrain == ()
    assert resolved(zoo, entries, base, {"pretrain": "cscl"})[0].stages[0].options == {"window": 5}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({}, "no backbone is named; add --backbone NAME, one of: family, net, other-net"),
        ({"backbone": "nett"}, "unknown backbone 'nett'; did you mean 'net'"),
        ({"backbone": "net", "dataset": "feilds"}, "unknown dataset 'feilds'; did you mean 'fields'"),
        ({"backbone": "net", "pretrain": "csl"}, "unknown objective 'csl'; did you mean 'cscl'"),
        ({"backbone": "net", "objective": "segment"}, "unknown objective 'segment'; did you mean 'segmentation'"),
        ({"backbone": "net", "cscl.window": 5}, "the recipe: settings are given for 'cscl', which is no stage"),
        (
            {"backbone": "net", "cscl": 5},
            "layer 0: 'cscl' is an objective, not a setting; write cscl.KEY, or use objectives",
        ),
        ({"backbone": "net", "csl.window": 5}, "unknown setting in layer 0: 'csl'; did you mean 'cscl'"),
        ({"backbone": "net", "bakbone.dim": 5}, "unknown setting in layer 0: 'bakbone'; did you mean 'backbone'"),
        ({"backbone": "net", "batchsize": 5}, "unknown setting in layer 0: 'batchsize'; did you mean 'batch_size'"),
    ],
)
def test_what_is_unknown_is_reported_with_close_names(zoo, layer, message):
    with pytest.raises(UsageError) as caught:
        resolved(zoo, catalog(), layer)
    assert str(caught.value).startswith(message)


def test_an_objective_that_only_the_catalog_names_is_looked_up_too(zoo):
    with pytest.raises(UnknownName, match="unknown objective 'csl'"):
        resolved(zoo, catalog(net__synthetic={"pretrain": ["csl"]}), {"backbone": "net"})


@pytest.mark.parametrize(
    ("assignments", "settings"),
    [
        (["lr=1e-3", "backbone.dim=64"], {"lr": 1e-3, "backbone": {"dim": 64}}),
        (["dataset=fields", "dataset.root=a"], {"dataset": {"name": "fields", "root": "a"}}),
        (["dataset.root=a", "dataset=fields"], {"dataset": {"name": "fields", "root": "a"}}),
        (["dataset.bands=[B02, B03]"], {"dataset": {"bands": ["B02", "B03"]}}),
        (["dataset.root=a=b"], {"dataset": {"root": "a=b"}}),
        (["seed=1", "seed=2"], {"seed": 2}),
    ],
)
def test_set_reads_values_as_yaml(assignments, settings):
    assert parse_assignments(assignments) == settings


@pytest.mark.parametrize("wrong", ["lr", "=1", "a..b=1", "a.b.c=1", "lr=[1", "lr=!!python/name:os.system"])
def test_set_refuses_what_it_cannot_read(wrong):
    with pytest.raises(UsageError, match="--set"):
        parse_assignments([wrong])


def test_a_stage_that_is_left_out_takes_its_settings_along():
    lower = {"pretrain": ["cscl"], "objectives": {"cscl": {"lr": 1}, "segmentation": {"epochs": 3}}}
    assert merge(lower, {"pretrain": []}) == {"pretrain": [], "objectives": {"segmentation": {"epochs": 3}}}
    assert merge(lower, {"pretrain": ["cscl"]}) == lower


def test_a_member_of_a_family_is_its_option(zoo):
    entries = catalog(family__fields={"backbone": {"encoder": "small", "levels": 2}})
    recipe, pair = resolved(zoo, entries, {"backbone": "family/big", "dataset": "fields"})
    assert (recipe.backbone.name, recipe.backbone.options) == ("family", {"encoder": "big", "levels": 2})
    assert pair == "family.fields"
    recipe, _ = resolved(zoo, entries, {"backbone": "family/big"}, {"backbone": {"encoder": "other"}})
    assert recipe.backbone.options == {"encoder": "other"}
    with pytest.raises(UsageError, match=r"layer 0: backbone is 'family/big' and backbone.encoder is 'x'; remove one"):
        resolved(zoo, entries, {"backbone": {"name": "family/big", "encoder": "x"}})


def test_the_head_has_a_section_of_its_own(zoo):
    entries = catalog(net__synthetic={"head": {"upsample": 2}, "epochs": 3})
    recipe, _ = resolved(zoo, entries, {"backbone": "net"}, parse_assignments(["head.upsample=4"]))
    assert recipe.head.upsample == 4
    assert resolved(zoo, entries, {"backbone": "net", "epochs": 5})[0].head.upsample == 2
    with pytest.raises(UsageError, match=r"key 'head.upsample' is 3; input should be 1, 2 or 4"):
        resolved(zoo, entries, {"backbone": "net", "head": {"upsample": 3}})
    with pytest.raises(UsageError, match=r"unknown key 'head.upsmple'; did you mean 'upsample'"):
        resolved(zoo, entries, {"backbone": "net", "head": {"upsmple": 2}})


def stages_of(recipe):
    return [(stage.objective, stage.epochs, stage.options) for stage in recipe.stages]


def test_a_list_of_stages_replaces_the_list_below_and_has_the_catalogs_defaults(zoo):
    entries = catalog(
        net__fields={
            "stages": ["cscl", {"objective": "segmentation", "epochs": 9}],
            "objectives": {"cscl": {"epochs": 6, "options": {"window": 5}}},
        }
    )
    base = {"backbone": "net", "dataset": "fields"}
    assert stages_of(resolved(zoo, entries, base)[0]) == [("cscl", 6, {"window": 5}), ("segmentation", 9, {})]
    file = {"stages": ["cscl", {"objective": "cscl", "epochs": 2}, "segmentation"]}
    assert stages_of(resolved(zoo, entries, base, file)[0]) == [
        ("cscl", 6, {"window": 5}),
        ("cscl", 2, {"window": 5}),
        ("segmentation", 20, {}),
    ]


def test_pretrain_and_objective_rebuild_the_list_and_stages_that_stay_keep_their_settings(zoo):
    file = {
        "backbone": "net",
        "stages": [{"objective": "cscl", "epochs": 2}, {"objective": "segmentation", "epochs": 9}],
    }
    assert stages_of(resolved(zoo, catalog(), file, {"pretrain": "none"})[0]) == [("segmentation", 9, {})]
    assert stages_of(resolved(zoo, catalog(), file, {"pretrain": "segmentation,cscl"})[0]) == [
        ("segmentation", 20, {}),
        ("cscl", 2, {}),
        ("segmentation", 9, {}),
    ]
    assert stages_of(resolved(zoo, catalog(), file, {"objective": "cscl", "pretrain": "none"})[0]) == [("cscl", 2, {})]


def test_set_addresses_the_stage_of_an_objective_or_a_stage_by_its_index(zoo):
    file = {
        "backbone": "net",
        "stages": [{"objective": "cscl", "options": {"window": 3, "dilation": 2}}, "segmentation"],
    }
    paths = parse_assignments(["cscl.window=5", "cscl.epochs=4", "stages.1.epochs=7"])
    assert stages_of(resolved(zoo, catalog(), file, {"epochs": 1}, paths)[0]) == [
        ("cscl", 4, {"dilation": 2, "window": 5}),
        ("segmentation", 7, {}),
    ]
    twice = {"backbone": "net", "stages": ["cscl", "cscl", "segmentation"]}
    with pytest.raises(
        UsageError, match=r"'cscl', which is the objective of stages.0 and stages.1; address one of them"
    ):
        resolved(zoo, catalog(), twice, parse_assignments(["cscl.window=5"]))
    named = resolved(zoo, catalog(), twice, parse_assignments(["stages.1.window=5"]))[0]
    assert [stage.options for stage in named.stages] == [{}, {"window": 5}, {}]
    later = resolved(zoo, catalog(), {"backbone": "net", "pretrain": "cscl"}, parse_assignments(["stages.0.window=5"]))[
        0
    ]
    assert later.stages[0].options == {"window": 5}


def test_an_auxiliary_objective_has_the_catalogs_options_and_keeps_its_own(zoo):
    entries = catalog(net__synthetic={"objectives": {"cscl": {"lr": 1.0, "options": {"window": 5}}}})
    weights = {"backbone": "net", "segmentation.auxiliary": "cscl:0.1"}
    [stage] = resolved(zoo, entries, weights)[0].stages
    assert [(each.weight, each.options) for each in stage.auxiliary] == [(0.1, {"window": 5})]
    joined = [{"objective": "cscl", "weight": 0.1, "options": {"dilation": 2}}]
    file = {"backbone": "net", "stages": [{"objective": "segmentation", "auxiliary": joined}]}
    [stage] = resolved(zoo, catalog(), file, {"segmentation.auxiliary": "cscl:0.2"})[0].stages
    assert [(each.weight, each.options) for each in stage.auxiliary] == [(0.2, {"dilation": 2})]
    [stage] = resolved(zoo, catalog(), file, {"cscl.dilation": 3})[0].stages
    assert stage.auxiliary[0].options == {"dilation": 3}


def test_an_old_key_is_read_with_a_warning_on_the_command_line(caplog):
    assert parse_assignments(["turns=false", "date_drop=0.3"]) == {"flip_rotate": False, "temporal_dropout": 0.3}
    assert [record.getMessage() for record in caplog.records] == [
        "--set turns is deprecated; use --set flip_rotate",
        "--set date_drop is deprecated; use --set temporal_dropout",
    ]


RENAMED = BODY.replace("needs_labels=True)", "needs_labels=True, renamed_options={'colour': 'color'})")


def test_an_old_option_is_read_with_a_warning_on_the_command_line_alone(make_plugin, caplog):
    zoo = load_zoo([make_plugin("renamed", RENAMED)])
    typed = parse_assignments(["cscl.colour=red"], zoo)
    assert typed == {"objectives": {"cscl": {"options": {"color": "red"}}}}
    assert [record.getMessage() for record in caplog.records] == [
        "--set: option cscl.colour is deprecated; use cscl.color"
    ]
    caplog.clear()
    joined = [{"objective": "cscl", "weight": 1, "options": {"colour": "red"}}]
    file = {"backbone": "net", "stages": [{"objective": "segmentation", "options": {"colour": 3}, "auxiliary": joined}]}
    [stage] = resolved(zoo, catalog(), file)[0].stages
    assert (stage.options, stage.auxiliary[0].options) == ({"color": 3}, {"color": "red"})
    assert read_recipe(zoo, {**file, "dataset": "synthetic"}, "a run").stages == (stage,)
    entries = catalog(net__synthetic={"cscl.colour": "blue"})
    assert resolved(zoo, entries, {"backbone": "net", "pretrain": "cscl"})[0].stages[0].options == {"color": "blue"}
    assert not caplog.records


def test_a_dataset_with_a_name_that_is_no_path():
    for name in ("9" * 5000, "a\0b"):
        with pytest.raises(UnknownName, match="unknown dataset"):
            resolve_recipe(load_zoo(), Catalog({}, {}), ("a test", {"backbone": "utae", "dataset": name}))


def test_epochs_above_replace_steps_below_and_steps_win_over_epochs_of_a_lower_layer(zoo):
    def budget(*layers):
        recipe, _ = resolved(zoo, catalog(), *layers)
        return recipe.stages[-1].epochs, recipe.stages[-1].steps

    net = {"backbone": "net", "dataset": "fields"}
    assert budget({**net, "epochs": 7}, {"steps": 50}) == (7, 50)
    assert budget({**net, "steps": 50}, {"epochs": 7}) == (7, None)
    assert budget({**net, "segmentation.steps": 50}, {"epochs": 7}) == (7, None)
    assert budget({**net, "segmentation.steps": 50}, {"steps": 60})[1] == 60
    assert budget({**net, "steps": 50}, {"segmentation.steps": 60})[1] == 60
    assert budget({**net, "stages": [{"objective": "segmentation", "steps": 50}]}, {"epochs": 7}) == (7, None)
