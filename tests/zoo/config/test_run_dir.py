"""The run folder: when it may be written, and what is removed."""

from __future__ import annotations

import pytest
import yaml

from cropzoo.config.recipe import Recipe
from cropzoo.config.run_dir import RunFolder, versions
from cropzoo.errors import CropzooError, UsageError
from cropzoo.io import read_json, write_json

RECIPE = Recipe.from_mapping({"backbone": "net", "dataset": "fields"}, "a test")


def test_a_new_folder_gets_its_recipe(tmp_path):
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.prepare(RECIPE, overwrite=False)
    assert yaml.safe_load(folder.recipe.read_text()) == folder.stored_recipe() == RECIPE.to_mapping()
    assert not folder.finished


def test_a_file_where_the_folder_should_be_is_reported_and_stays(tmp_path):
    (tmp_path / "run").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"run folder '.*run' is a file"):
            RunFolder(tmp_path / "run").prepare(RECIPE, overwrite)
        with pytest.raises(UsageError, match=r"run folder '.*below' cannot be created because '.*run' is a file"):
            RunFolder(tmp_path / "run" / "deep" / "below").prepare(RECIPE, overwrite)
    assert (tmp_path / "run").read_text() == "mine"


def test_a_folder_of_something_else_is_never_written(tmp_path):
    (tmp_path / "photo.jpg").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="is not empty and has no run"):
            RunFolder(tmp_path).prepare(RECIPE, overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_run_is_replaced_only_on_demand_and_what_is_the_user_s_stays(tmp_path):
    folder = RunFolder(tmp_path)
    folder.prepare(RECIPE, overwrite=False)
    (tmp_path / "checkpoints").mkdir()
    folder.last.write_text("state")
    folder.model.write_text("weights")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="already has a run; resume it with --resume, replace it with --overwrite"):
        folder.prepare(RECIPE, overwrite=False)
    assert folder.model.is_file()
    folder.prepare(RECIPE, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "recipe.yaml"]


def test_a_run_that_was_killed_while_it_wrote_its_recipe_is_begun_again(tmp_path):
    (tmp_path / ".recipe.yaml.a1b2c3d4").write_text("backbone: {na")
    folder = RunFolder(tmp_path)
    folder.prepare(RECIPE, overwrite=False)
    assert folder.recipe.is_file()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".recipe").touch()
    with pytest.raises(UsageError, match="is not empty and has no run"):
        RunFolder(tmp_path / "other").check(overwrite=False)


def test_a_link_to_a_folder_is_removed_and_not_what_it_points_to(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "figure.png").write_text("mine")
    folder = RunFolder(tmp_path / "run")
    folder.prepare(RECIPE, overwrite=False)
    (folder.path / "figures").symlink_to(tmp_path / "elsewhere")
    folder.prepare(RECIPE, overwrite=True)
    assert not (folder.path / "figures").exists()
    assert (tmp_path / "elsewhere" / "figure.png").is_file()


def test_resuming_needs_a_run(tmp_path):
    with pytest.raises(UsageError, match=r"none' has no run to resume"):
        RunFolder(tmp_path / "none").stored_recipe()


def test_scores_of_a_split_that_was_not_scored_are_reported(tmp_path):
    folder = RunFolder(tmp_path)
    write_json(folder.metrics, {"test": {"oa": 0.5}})
    assert folder.scores() == {"oa": 0.5}
    with pytest.raises(CropzooError, match="has no scores of split 'val'"):
        folder.scores("val")


def test_the_environment_names_versions(tmp_path):
    RunFolder(tmp_path).write_environment("cpu", 2, ["numpy", "no-such-package"])
    environment = read_json(tmp_path / "environment.json")
    assert (environment["device"], environment["processes"]) == ("cpu", 2)
    assert {"cropzoo", "torch", "numpy"} <= environment["versions"].keys() == versions(["numpy"]).keys()
