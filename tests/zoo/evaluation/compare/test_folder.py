"""Files in the folder of a study, and when it may be used."""

from __future__ import annotations

import pytest
import yaml

from cropzoo.config.schema import read_mapping
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.compare.config import read_study
from cropzoo.evaluation.compare.folder import StudyFolder, list_differences
from cropzoo.io import write_text


def test_states(plan, folder, finish):
    run = plan().runs[0]
    assert folder.state(run) == "new"
    write_text(folder.run(run).recipe, "x")
    assert folder.state(run) == "unfinished"
    finish(folder, run)
    assert folder.state(run) == "finished"


def test_runs_of_the_same_recipe_are_welcome(zoo, plan, folder, finish):
    found = plan(variants={"plain": {}, "joint": {"segmentation": {"auxiliary": "cscl:0.1"}}})
    for run in found.runs:
        finish(folder, run)
    folder.check(plan(seeds=3, pretrain=["none", "cscl", "mtm"]).runs, zoo)
    folder.check(found.runs, zoo)


def test_options_that_were_defaults_are_the_same_recipe_and_others_are_not(zoo, plan, folder, finish):
    for run in plan().runs:
        finish(folder, run)
        stored = yaml.safe_load(folder.run(run).recipe.read_text())
        stored["backbone"]["dim"] = 8
        folder.run(run).recipe.write_text(yaml.safe_dump(stored))
    folder.check(plan().runs, zoo)
    folder.check(plan(recipe={"backbone": {"dim": 8}}).runs, zoo)
    with pytest.raises(UsageError, match=r"backbone\.dim 8 -> 16"):
        folder.check(plan(recipe={"backbone": {"dim": 16}}).runs, zoo)


def test_options_of_the_weights_are_the_same_recipe(zoo, plan, folder, finish):
    for run in plan(recipe={"weights": "before"}).runs:
        finish(folder, run)
        stored = yaml.safe_load(folder.run(run).recipe.read_text())
        stored["backbone"]["dim"] = 16
        folder.run(run).recipe.write_text(yaml.safe_dump(stored))
    folder.check(plan(recipe={"weights": "before"}).runs, zoo)
    with pytest.raises(UsageError, match=r"backbone\.dim 16 -> 4"):
        folder.check(plan(recipe={"weights": "before", "backbone": {"dim": 4}}).runs, zoo)


def test_another_recipe_is_refused_with_what_differs(zoo, plan, folder, finish):
    for run in plan(seeds=3).runs:
        finish(folder, run)
    with pytest.raises(UsageError) as error:
        folder.check(plan(seeds=3, epochs=12, recipe={"lr": 0.5}).runs, zoo)
    messages = str(error.value)
    assert "choose another --out, or remove these folders" in messages
    assert "net-none-seed0': segmentation.epochs 10 -> 12; segmentation.lr 0.001 -> 0.5" in messages
    assert "cscl.lr 0.001 -> 0.5" in messages
    assert messages.endswith("and 3 more")
    assert "net-cscl-seed2" not in messages


def test_differences_name_what_only_one_side_has(plan):
    none, cscl = (run.recipe for run in plan().runs)
    assert "cscl.epochs 'unset' -> 3" in list_differences(none, cscl)
    assert list_differences(none, none) == []


def test_failures_are_those_of_runs_that_are_not_finished_since(plan, folder, finish):
    found = plan()
    for run in found.runs:
        write_text(folder.failure(run), f"{run.name} broke\n")
    finish(folder, found.runs[0])
    assert folder.failures(found.runs) == {"net-cscl-seed0": "net-cscl-seed0 broke\n"}


def test_what_is_written_is_read_again(plan, folder):
    found = plan(seeds=2)
    folder.prepare(found.study)
    assert read_study(read_mapping(folder.study), {}, [], "again") == found.study
    path = folder.write_recipe(found.runs[0])
    assert yaml.safe_load(path.read_text()) == found.runs[0].recipe.to_mapping()


def test_a_folder_of_other_things_is_refused(plan, folder):
    folder.check_place()
    folder.path.mkdir()
    (folder.path / ".study.yaml.x").touch()
    folder.check_place()
    folder.study.write_text("# what I wrote myself\nbackbones: [net]\n")
    with pytest.raises(UsageError, match="is not empty and not a study; choose another --out"):
        folder.check_place()
    folder.study.unlink()
    folder.prepare(plan().study)
    folder.check_place()


def test_a_file_in_the_way_is_reported(plan, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CropzooError, match=r"cannot create .*file/study'; Not a directory; choose another --out"):
        StudyFolder(tmp_path / "file" / "study").prepare(plan().study)


def test_other_scores_count_while_weights_split_and_scoring_are_the_same(plan, folder, finish):
    found = plan(scorings={"fine": {"upsample": "nearest"}})
    run = found.runs[0]
    finish(folder, run)
    assert folder.scorings(run, found.study) == {}
    folder.write_scoring(run, "fine", found.study, {"miou": 0.5})
    assert folder.scorings(run, found.study) == {"fine": {"miou": 0.5}}
    for other in (
        plan(scorings={"fine": {"upsample": "bilinear"}}),
        plan(**found.study.to_mapping() | {"split": "val"}),
    ):
        assert folder.scorings(run, other.study) == {}
    kept = folder.scoring(run, "fine").read_text()
    for broken in ("{", "{}", "[]", kept.replace('"scores"', '"scored"')):
        folder.scoring(run, "fine").write_text(broken)
        assert folder.scorings(run, found.study) == {}
    folder.scoring(run, "fine").write_text(kept)
    assert folder.scorings(run, found.study) == {"fine": {"miou": 0.5}}
    folder.run(run).model.write_bytes(b"trained again")
    assert folder.scorings(run, found.study) == {}
