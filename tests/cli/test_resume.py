"""A run that was killed ends as one that was not: the same weights bit by bit, the same lines of metrics."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

PLOTS = Path(__file__).with_name("plots.py")
SMALL = ("--backbone", "pixelwise", "--dataset", "plots", "--set", "image_size=12", "-b", "4", "--device", "cpu")
STAGES = ("--pretrain", "cscl", "--epochs", "3", "--pretrain-epochs", "3")
STEPS = 4
"""In an epoch."""


def lines(folder: Path) -> list[dict]:
    """metrics.jsonl without what a clock says."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line.pop("seconds") >= 0 for line in found)
    return found


def assert_same(folder: Path, whole: Path) -> None:
    assert (folder / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert lines(folder) == lines(whole)
    assert json.loads((folder / "metrics.json").read_text()) == json.loads((whole / "metrics.json").read_text())
    assert (folder / "report.html").is_file()
    assert not [path for path in folder.rglob(".*") if path.is_file()]


@pytest.mark.parametrize(
    ("step", "epochs"),
    [(1, 0), (STEPS + 2, 1), (3 * STEPS + 1, 3), (4 * STEPS + 2, 4)],
    ids=["first epoch", "first stage", "between stages", "second stage"],
)
def test_killed_run_ends_as_if_it_had_not_been(command, run_folder, tmp_path, step, epochs):
    killed = command("train", *SMALL, *STAGES, "--name", "k", folder=tmp_path, env={"PLOTS_END_AT": str(step)})
    folder = tmp_path / "runs" / "k"
    assert killed.code == -9
    assert (len(lines(folder)) if epochs else (folder / "metrics.jsonl").exists()) == epochs
    assert not (folder / "model.safetensors").exists()

    resumed = command("train", "--resume", "--out", "runs/k", "--device", "cpu", folder=tmp_path)
    assert resumed.code == 0, resumed.err
    assert_same(folder, run_folder)


def test_killed_twice_and_with_other_workers(command, run_folder, tmp_path):
    for step, more in ((STEPS + 2, ()), (STEPS + 3, ("--resume", "-j", "2"))):
        ended = command(
            "train", *SMALL, *STAGES, "--name", "k", *more, folder=tmp_path, env={"PLOTS_END_AT": str(step)}
        )
        assert ended.code == -9, ended.err
    ended = command("train", *SMALL, *STAGES, "--name", "k", "--resume", "-j", "2", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert_same(tmp_path / "runs" / "k", run_folder)


def test_a_killed_run_with_averaged_weights_ends_as_one_that_was_not(command, tmp_path):
    settings = (*SMALL, "--epochs", "3", "--set", "weight_average=0.8", "--set", "crops_per_tile=2")
    whole = command("train", *settings, "--name", "whole", folder=tmp_path)
    assert whole.code == 0, whole.err
    assert "3 epochs of 8 steps" in whole.err
    killed = command("train", *settings, "--name", "k", folder=tmp_path, env={"PLOTS_END_AT": "11"})
    assert killed.code == -9
    resumed = command("train", "--resume", "--out", "runs/k", "--device", "cpu", folder=tmp_path)
    assert resumed.code == 0, resumed.err
    assert_same(tmp_path / "runs/k", tmp_path / "runs/whole")


@pytest.mark.parametrize("lost", [("metrics.json", "report.html"), ("report.html",), ("model.safetensors",)])
def test_killed_after_training_scores_and_reports_once_more(command, run_folder, tmp_path, lost):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in run_folder.rglob("*"):
        target = folder / path.relative_to(run_folder)
        target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
    for name in lost:
        (folder / name).unlink()
    ended = command("train", "--resume", "--out", folder, "--device", "cpu", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "cscl 1/3" not in ended.err
    assert_same(folder, run_folder)


def test_stage_that_stopped_early_is_not_taken_up_again(command, tmp_path):
    patient = ("--set", "patience=1", "--set", "cscl.lr=1e-9", "--pretrain-epochs", "9", "--epochs", "2")
    whole = command("train", *SMALL, "--pretrain", "cscl", *patient, "--name", "whole", folder=tmp_path)
    assert whole.code == 0, whole.err
    stage = [line for line in lines(tmp_path / "runs/whole") if line["stage"] == "cscl"]
    assert len(stage) < 9
    step = STEPS * len(stage) + 1
    killed = command(
        "train", *SMALL, "--pretrain", "cscl", *patient, "--name", "k", folder=tmp_path, env={"PLOTS_END_AT": str(step)}
    )
    assert killed.code == -9
    assert command("train", "--resume", "--name", "k", "--out", "x", folder=tmp_path).code == 2
    ended = command("train", "--resume", "--out", "runs/k", "--device", "cpu", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert_same(tmp_path / "runs/k", tmp_path / "runs/whole")


def test_other_settings_are_listed_one_by_one(command, run_folder):
    asked = ("--epochs", "5", "--set", "backbone.width=9", "--pretrain", "none")
    error = command("train", *asked, "--resume", "--out", run_folder, folder=run_folder).error
    assert "backbone.width 8 -> 9" in error
    assert "backbone.dropout" not in error
    assert "segmentation.epochs 3 -> 5" in error
    assert "stages ['cscl', 'segmentation'] -> ['segmentation']" in error
    assert "batch_size" not in error


def test_finished_run_prints_its_scores_again(command, finished, run_folder):
    again = command("train", "--resume", "--out", run_folder, folder=run_folder)
    assert "is already finished" in again.err
    assert again.out.splitlines()[:12] == finished.out.splitlines()[:12]


def test_nothing_to_resume(command, tmp_path):
    assert "has no run to resume" in command("train", *SMALL, "--resume", folder=tmp_path).error


def test_damaged_state_is_reported(command, tmp_path):
    ended = command("train", *SMALL, *STAGES, "--out", "k", folder=tmp_path, env={"PLOTS_END_AT": "6"})
    assert ended.code == -9
    last = tmp_path / "k" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    error = command("train", "--resume", "--out", "k", folder=tmp_path).error
    assert "cannot resume from 'k/checkpoints/last.ckpt'" in error
    assert "--overwrite" in error


@pytest.mark.parametrize(
    ("signal", "code", "words"),
    [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "ended by SIGTERM"), ("SIGHUP", 129, "ended by SIGHUP")],
)
def test_signal_ends_a_run_that_can_be_resumed(command, run_folder, tmp_path, signal, code, words):
    env = {"PLOTS_END_AT": str(STEPS + 2), "PLOTS_SIGNAL": signal}
    ended = command("train", *SMALL, *STAGES, "--out", "my run", folder=tmp_path, env=env)
    assert ended.code == code
    assert ended.out == ""
    again = shlex.join(["cropzoo", "-p", str(PLOTS), "train", "--resume", "--out", "my run"])
    assert ended.err.splitlines()[-1] == f"{words}; resume with: {again}"
    assert "Traceback" not in ended.err
    assert command("train", "--resume", "--out", "my run", folder=tmp_path).code == 0
    assert_same(tmp_path / "my run", run_folder)


@pytest.mark.parametrize("workers", [0, 2])
def test_signal_to_two_processes_ends_a_run_that_can_be_resumed(command, tmp_path, workers):
    whole = command("train", *SMALL, *STAGES, "--out", "whole", folder=tmp_path, processes=2)
    assert whole.codes == [0, 0], whole.err
    env = {"PLOTS_END_AT": str(STEPS + 2), "PLOTS_SIGNAL": "SIGTERM"}
    words = ("train", *SMALL, *STAGES, "--out", "run", "-j", workers)
    ended = command(*words, folder=tmp_path, processes=2, env=env)
    assert ended.codes == [143, 143], ended.err
    assert ended.err.count(f"ended by SIGTERM; resume with: cropzoo -p {PLOTS} train --resume --out run") == 1
    assert "Traceback" not in ended.err
    assert command("train", "--resume", "--out", "run", "--device", "cpu", folder=tmp_path, processes=2).code == 0
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_signal_before_a_run_has_started(command, tmp_path):
    env = {"PLOTS_END_READING": "0", "PLOTS_SIGNAL": "SIGTERM"}
    ended = command("train", *SMALL, "--out", "run", folder=tmp_path, env=env)
    assert ended.code == 143
    assert ended.err.splitlines()[-1] == "ended by SIGTERM; run the same command again"
    assert not (tmp_path / "run").exists()
