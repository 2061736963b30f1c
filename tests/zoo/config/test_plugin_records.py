"""What a run stores about its plugins, and what is said when they differ."""

from __future__ import annotations

import logging

import pytest

from cropzoo import UsageError, load_zoo
from cropzoo.config.plugin_records import PluginRecord, check_plugins, complete_recipe, record_plugins
from cropzoo.config.recipe import Recipe

BODY = '@hookimpl\ndef cropzoo_backbones():\n    return [backbone("mine")]\n'
MINE = ["backbone mine"]


@pytest.fixture
def zoo(module_folder, write_plugin, install):
    """A zoo in which distribution my-dist 9.0 provides backbone `mine`."""
    install("my-dist", "[cropzoo]\nmine = my_dist_model\n")
    write_plugin(module_folder / "my_dist_model.py", BODY)
    return load_zoo()


def record(**values):
    return PluginRecord(**{"provides": tuple(MINE), "distribution": "my-dist", "version": "9.0", **values})


def test_installed_plugin_is_recorded_by_its_distribution(zoo):
    assert record_plugins(zoo, MINE) == (record(),)
    both = record_plugins(zoo, ["backbone tsvit", *MINE, "dataset synthetic"])
    assert [each.provides for each in both] == [("backbone tsvit", "dataset synthetic"), ("backbone mine",)]


def test_module_is_recorded_by_its_name_and_file_without_its_folder(tmp_path, module_folder, write_plugin):
    path = write_plugin(tmp_path / "deep" / "my_file_model.py", BODY)
    [found] = record_plugins(load_zoo([], [str(path)]), MINE)
    assert found.to_mapping() == {"provides": MINE, "module": "my_file_model.py"}
    write_plugin(module_folder / "my_named_model.py", BODY)
    [found] = record_plugins(load_zoo([], ["my_named_model"]), MINE)
    assert found.to_mapping() == {"provides": MINE, "module": "my_named_model"}


def test_same_version_is_silent(zoo, caplog):
    check_plugins(zoo, [record()], "same.yaml")
    assert caplog.records == []


@pytest.mark.parametrize("old", [{"version": "1.0"}, {"version": "10.0"}, {"distribution": "other"}])
def test_other_version_is_warned_about_once_in_one_line(old, zoo, caplog):
    was = record(**old)
    where = f"{was.distribution}-{was.version}.yaml"
    for _ in range(2):
        check_plugins(zoo, [was, was], where)
    [line] = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    name = f"{was.distribution} {was.version}"
    assert line == f"{where} was written with {name}, and my-dist 9.0 is used; results may differ; use {name}"


def test_other_plugin_that_provides_the_component_is_warned_about(zoo, tmp_path, write_plugin, caplog):
    file = PluginRecord(provides=tuple(MINE), module="mine.py")
    check_plugins(zoo, [file], "packaged.yaml")
    path = write_plugin(tmp_path / "deep" / "my_other_file.py", BODY)
    check_plugins(load_zoo([], [str(path)]), [record(version="1.0")], "unpacked.yaml")
    check_plugins(load_zoo([], [str(path)]), [file], "renamed.yaml")
    assert [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING] == [
        "packaged.yaml was written with mine.py, and my-dist 9.0 is used; results may differ; use mine.py",
        "unpacked.yaml was written with my-dist 1.0, and my_other_file.py is used; results may differ; use my-dist 1.0",
        "renamed.yaml was written with mine.py, and my_other_file.py is used; results may differ; use mine.py",
    ]


def test_builtin_plugins_of_other_versions_are_silent(zoo, caplog):
    check_plugins(zoo, [record(provides=("backbone tsvit", "backbone gone"), distribution="cropzoo")], "a.yaml")
    assert caplog.records == []


def test_what_is_not_needed_may_be_missing(zoo):
    check_plugins(zoo, [record(provides=("backbone gone",))], "a.yaml", ["backbone mine"])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"module": "x.py"}, "it was written with the plugin file 'x.py'; add that file with -p or CROPZOO_PLUGINS"),
        ({"module": "x"}, "it was written with the plugin module 'x'; add that module with -p or CROPZOO_PLUGINS"),
        ({"distribution": "a", "version": "2"}, "the plugin package 'a 2', which is not installed; install it"),
        ({"distribution": "my-dist", "version": "2"}, "'my-dist 2', and the installed version has no such entry"),
        ({"distribution": "broken", "version": "2"}, "'broken 2' is installed but broken; `cropzoo plugins` shows"),
    ],
)
def test_missing_plugin_is_named(values, says, zoo, install):
    install("broken", "[cropzoo]\nbroken = no_such_module_at_all\n")
    gone = PluginRecord(provides=("backbone gone",), **values)
    with pytest.raises(UsageError) as raised:
        check_plugins(load_zoo(), [gone], "a.yaml")
    assert str(raised.value).startswith("a.yaml needs backbone 'gone'; ")
    assert says in str(raised.value)


def test_complete_recipe_is_stable_and_keeps_what_was_given(zoo):
    values = {
        "backbone": {"name": "timm/resnet50", "levels": 2},
        "dataset": "synthetic",
        "stages": [
            {"objective": "cscl", "options": {"window": 5}},
            {"objective": "segmentation", "auxiliary": [{"objective": "boundary", "weight": 0.5}]},
        ],
    }
    recipe = complete_recipe(zoo, Recipe.from_mapping(values, "here"))
    assert recipe.backbone.name == "timm"
    options = recipe.backbone.options
    assert (options["encoder"], options["levels"], options["decoder_width"]) == ("resnet50", 2, 64)
    assert "bands" not in options
    assert (recipe.stages[0].options["window"], recipe.stages[0].options["dilation"]) == (5, 1)
    assert recipe.stages[1].auxiliary[0].options == {"of": "classes", "positive_weight": None}
    assert recipe.dataset.options["block"] == 48
    assert complete_recipe(zoo, recipe) == recipe
    assert Recipe.from_mapping(recipe.to_mapping(), "here") == recipe


def test_every_builtin_stores_every_option(zoo):
    for registry in zoo.registries:
        for entry in registry.values():
            if entry.owner.builtin:
                assert entry.complete({}) == entry.complete(entry.complete({}))
