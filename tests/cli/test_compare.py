"""`cropzoo compare`: a study that breaks, is resumed and reported."""

from __future__ import annotations

import csv
import json

import pytest

GRID = ("--backbones", "pixelwise", "--pretrain", "none,cscl", "--epochs", "2", "--pretrain-epochs", "1")
SMALL = ("--dataset", "plots", "--set", "image_size=12", "--set", "batch_size=4", "--device", "cpu")
STUDY = (*GRID, *SMALL, "--seeds", "1", "--out", "study")
WRONG = "variants: {plain: {}, wrong: {dataset: {flaw: no labels}}}"
NAMES = ["pixelwise-none-seed0", "pixelwise-cscl-seed0"]


def files(folder):
    """What the run folders hold, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def broken(command, tmp_path_factory):
    """A study of which one run was killed in step 6 of 8, and one found no labels."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "wrong.yaml").write_text(WRONG)
    return command("compare", "wrong.yaml", *STUDY, "--pretrain", "none", folder=folder, env={"PLOTS_END_AT": "6"})


@pytest.fixture(scope="module")
def study(command, broken):
    """Without what was wrong, and with pre-training next to none, as JSON."""
    return command("compare", *STUDY, "--json", folder=broken.folder)


@pytest.fixture(scope="module")
def again(command, study):
    """`again(*args)` asks for the finished study once more; no file of a run may change."""

    def run(*args, **how):
        before = files(study.folder / "study" / "runs")
        ended = command("compare", *STUDY, *args, folder=study.folder, **how)
        assert files(study.folder / "study" / "runs") == before
        return ended

    return run


def test_runs_that_fail_are_reported_and_stop_no_other(broken):
    assert broken.code == 1
    assert "Traceback" not in broken.err
    messages = "error: 2 of 2 runs failed; see study/failed; fix the cause and repeat the command"
    assert broken.err.splitlines()[-1] == messages
    for name, error in ((NAMES[0], "killed, probably because memory"), ("pixelwise-none-wrong-seed0", "no labels")):
        messages = (broken.folder / f"study/failed/{name}.txt").read_text().splitlines()[0]
        assert error in messages
        assert f"s: {messages} (see study/failed/{name}.txt)" in broken.err
    page = (broken.folder / "study/study.html").read_text()
    assert "Failures" in page
    assert "0 of 2 runs are finished" in page
    assert "0/1" in broken.out


def test_the_next_call_goes_on_from_there(study):
    assert study.code == 0, study.err
    assert f"[1/2] {NAMES[0]}: resuming" in study.err
    assert f"[2/2] {NAMES[1]}: training" in study.err
    assert not (study.folder / f"study/failed/{NAMES[0]}.txt").exists()
    log = (study.folder / f"study/logs/{NAMES[0]}.txt").read_text()
    assert (log.count("segmentation 1/2"), log.count("segmentation 2/2")) == (1, 1)


def test_json_has_scores_budget_and_costs(study):
    messages = study.json
    assert (messages["budget"], messages["split"], messages["failed"]) == ("total", "test", {})
    none, cscl = messages["cells"]
    assert (none["runs"], none["planned"], none["epochs"], cscl["epochs"]) == (1, 1, "2", "1 + 1")
    assert none["steps"] == cscl["steps"] == 8
    assert cscl["baseline"] == "pixelwise-none"
    assert cscl["miou_difference"] == pytest.approx(cscl["miou"] - none["miou"])
    assert cscl["miou_low"] is None
    for run, cell in zip(messages["runs"], messages["cells"], strict=True):
        scores = json.loads((study.folder / "study/runs" / run["run"] / "metrics.json").read_text())["test"]
        for key in ("oa", "miou", "macro_f1"):
            assert cell[key] == run[key] == pytest.approx(scores[key], abs=1e-6)
        assert cell["boundary_miou"] == pytest.approx(scores["boundary"]["miou"], abs=1e-6)
        assert cell["interior_oa"] == pytest.approx(scores["interior"]["oa"], abs=1e-6)
        assert cell["parcel_accuracy"] == pytest.approx(scores["parcels"]["accuracy"])
        assert cell["seconds"] > 0
        assert cell["peak_memory"] > 1e7


def test_a_finished_study_is_reported_without_training(again, study):
    ended = again()
    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert "budget total: all runs have the same number of epochs" in ended.out
    assert "differences to the baseline (none)" in ended.out
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["pixelwise", "cscl", "1/1", "1", "+", "1", "8"] in [line[:7] for line in lines]
    rows = list(csv.DictReader((study.folder / "study/results.csv").open()))
    assert [float(row["oa"]) for row in rows] == pytest.approx([cell["oa"] for cell in study.json["cells"]], abs=1e-5)
    assert "2 of 2 runs are finished" in (study.folder / "study/study.html").read_text()


def test_another_split_of_the_same_runs(again, study):
    messages = again("--split", "val", "--json").json
    scores = json.loads((study.folder / "study/runs" / NAMES[0] / "metrics.json").read_text())
    assert messages["cells"][0]["oa"] == pytest.approx(scores["val"]["oa"], abs=1e-6)
    assert messages["split"] == "val"


def test_the_study_that_is_kept_gives_the_same(again):
    asked = again("--json").json
    assert again("study/study.yaml", "--json").json == asked


def test_runs_of_another_recipe_are_refused(again):
    messages = again("--set", "batch_size=8").error
    assert "the settings of the study differ from those of existing runs" in messages
    assert "batch_size 4 -> 8" in messages


def test_a_dry_run_lists_and_writes_nothing(again, study, command, tmp_path):
    listed = again("--seeds", 2, "--dry-run", "--json")
    assert [(row["run"], row["state"]) for row in listed.json] == [
        (NAMES[0], "finished"), (NAMES[1], "finished"),
        ("pixelwise-none-seed1", "new"), ("pixelwise-cscl-seed1", "new"),
    ]  # fmt: skip
    assert "2 of 4 runs would be trained" in listed.err
    ended = command("compare", *STUDY, "--dry-run", folder=tmp_path)
    assert ended.code == 0
    assert ended.out.split("\n")[1].split() == [NAMES[0], "new", f"study/runs/{NAMES[0]}"]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_finds_what_every_run_would_refuse(command, tmp_path):
    ended = command("compare", *STUDY, "--set", "dataset.flaw=no labels", "--dry-run", folder=tmp_path)
    assert ended.code == 1
    assert ended.out.split("\n")[1].split()[:2] == [NAMES[0], "new"]
    assert "error: 2 of 2 configurations cannot be trained" in ended.err
    assert f"\n{NAMES[1]}: " in ended.err
    assert "no labels" in ended.err
    assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_cannot_be_trained_stops_at_the_first_run(command, tmp_path):
    ended = command("compare", *STUDY, "--set", "dataset.flaw=no labels", "--seeds", "3", folder=tmp_path)
    assert ended.code == 1
    assert "all configurations are refused before training; 5 runs are not started" in ended.err
    assert ended.err.count(": training\n") == 1
    assert "error: 6 of 6 runs failed" in ended.err
    assert [path.name for path in (tmp_path / "study/failed").iterdir()] == [f"{NAMES[0]}.txt"]


def test_shards_share_the_runs_out(again):
    parts = [again("--seeds", 3, "--dry-run", "--json", "--shard", f"{index}/4").json for index in (1, 2, 3, 4)]
    assert [len(part) for part in parts] == [2, 2, 1, 1]
    assert len({row["run"] for part in parts for row in part}) == 6


@pytest.mark.parametrize(
    ("text", "args", "messages"),
    [
        ("backbone: [pixelwise]", (), "study.yaml: unknown key 'backbone'; did you mean 'backbones'?"),
        ("seeds: 2", (), "the grid is empty: no backbones; give at least one value for each"),
        ("backbones: [pixelwise", (), "study.yaml: invalid YAML"),
        ("- pixelwise", (), "study.yaml: has a list; it must be a mapping"),
        ("backbones: [pixelwize]", (), "unknown backbone 'pixelwize'; did you mean 'pixelwise'?"),
        ("{backbones: [pixelwise], pretrain: [csl]}", (), "unknown objective 'csl'; did you mean 'cscl'?"),
        ("{backbones: [pixelwise], dataset: plotz}", (), "unknown dataset 'plotz'; did you mean 'plots'?"),
        ("backbones: [pixelwise]", ("--seeds", "0"), "the grid is empty: no seeds"),
        ("backbones: [pixelwise]", ("--seeds", "a,b"), "--seeds is 'a,b'; it must be integers"),
        (
            "backbones: [pixelwise]",
            ("--label-fractions", "x"),
            "--label-fractions 'x'; expected comma-separated numbers",
        ),
        ("backbones: [pixelwise]", ("--shard", "3/2"), "--shard is '3/2'; it must be INDEX/COUNT"),
        ("backbones: [pixelwise]", ("--folds", "1,2"), "dataset 'synthetic' has no option fold"),
        ("backbones: [pixelwise]", ("--set", "seed=3"), "seed is an axis of the study; set seeds"),
        ("backbones: [pixelwise]", ("--config", "none.yaml"), "none.yaml: cannot be read"),
    ],
)
def test_what_is_wrong_is_reported_before_anything_is_written(command, tmp_path, text, args, messages):
    (tmp_path / "study.yaml").write_text(text)
    assert messages in command("compare", "study.yaml", *args, "--out", "new", folder=tmp_path).error
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_the_users_own_study_file_is_not_replaced(command, tmp_path):
    (tmp_path / "study.yaml").write_text("backbones: [pixelwise]  # mine\n")
    messages = command("compare", "study.yaml", "--out", ".", folder=tmp_path).error
    assert messages == "folder '.' is not empty and not a study; choose another --out"
    assert (tmp_path / "study.yaml").read_text().endswith("# mine\n")


def test_flags_go_over_the_file(command, tmp_path):
    (tmp_path / "s.yaml").write_text("{backbones: [pixelwise], pretrain: [none, cscl], seeds: 5, pretrain_epochs: 2}")
    flags = ("--pretrain", "cscl", "--seeds", "7,9", "--label-fractions", "0.5,1", "--dry-run", "--json")
    found = command("compare", "s.yaml", *flags, folder=tmp_path).json
    assert [row["run"] for row in found] == [
        f"pixelwise-cscl{labels}-seed{seed}" for seed in (7, 9) for labels in ("-labels0.5", "")
    ]
