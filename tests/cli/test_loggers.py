"""`cropzoo train --logger`: the metrics of a run in other programs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

SMALL = ("--backbone", "pixelwise", "--dataset", "plots", "--set", "image_size=12", "-b", "4", "--device", "cpu")
STAGES = ("--pretrain", "cscl", "--epochs", "3", "--pretrain-epochs", "3")
STEPS = 4
"""In an epoch."""


def rows(folder: Path, stage: str, metric: str) -> list[tuple[int, float]]:
    """Epochs and values of a metric in the table of the logger csv."""
    with (folder / "logs" / "csv" / stage / "metrics.csv").open(newline="") as file:
        return [(int(row["epoch"]), float(row[metric])) for row in csv.DictReader(file) if row[metric]]


def recorded(folder: Path, stage: str, metric: str) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["epoch"], pytest.approx(line[metric])) for line in lines if line["stage"] == stage]


def test_csv_has_the_metrics_of_each_stage_and_changes_no_result(command, run_folder, tmp_path):
    done = command("train", *SMALL, *STAGES, "--name", "k", "--logger", "csv", folder=tmp_path)
    assert done.code == 0, done.err
    folder = tmp_path / "runs" / "k"
    assert (folder / "model.safetensors").read_bytes() == (run_folder / "model.safetensors").read_bytes()
    assert (folder / "recipe.yaml").read_text() == (run_folder / "recipe.yaml").read_text()
    for stage, metrics in (("cscl", ["train_loss"]), ("segmentation", ["train_loss", "val_loss", "val_miou", "lr"])):
        for metric in metrics:
            assert rows(folder, stage, metric) == recorded(folder, stage, metric), metric
    with (folder / "logs/csv/segmentation/metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    scores = json.loads((folder / "metrics.json").read_text())["test"]
    assert (float(last["test_miou"]), float(last["test_oa"])) == pytest.approx((scores["miou"], scores["oa"]))
    assert int(last["step"]) == 3 * STEPS
    assert "cscl.window" in (folder / "logs/csv/cscl/hparams.yaml").read_text()


@pytest.mark.parametrize("step", [STEPS + 2, 4 * STEPS + 2], ids=["first stage", "second stage"])
def test_a_resumed_run_continues_its_log_without_being_told(command, tmp_path, step):
    killed = command(
        "train", *SMALL, *STAGES, "--name", "k", "--logger", "csv", folder=tmp_path, env={"PLOTS_END_AT": str(step)}
    )
    assert killed.code == -9
    resumed = command("train", "--resume", "--out", "runs/k", "--device", "cpu", folder=tmp_path)
    assert resumed.code == 0, resumed.err
    folder = tmp_path / "runs" / "k"
    for stage in ("cscl", "segmentation"):
        assert rows(folder, stage, "train_loss") == recorded(folder, stage, "train_loss")


def test_two_processes_log_once(command, tmp_path):
    words = ("train", *SMALL, "--epochs", "2", "--name", "k", "--logger", "csv")
    done = command(*words, folder=tmp_path, processes=2)
    assert done.codes == [0, 0], done.err
    assert "incomplete" not in done.err
    folder = tmp_path / "runs" / "k"
    for metric in ("train_loss", "val_miou", "lr"):
        assert rows(folder, "segmentation", metric) == recorded(folder, "segmentation", metric), metric


def test_a_finished_training_whose_scoring_was_killed_gets_its_test_scores(command, tmp_path):
    words = ("train", *SMALL, "--epochs", "1", "--name", "k", "--logger", "csv")
    assert command(*words, folder=tmp_path).code == 0
    folder = tmp_path / "runs" / "k"
    table = folder / "logs/csv/segmentation/metrics.csv"
    whole = table.read_text()
    table.write_text("".join(whole.splitlines(keepends=True)[:-1]))  # without the scores
    (folder / "report.html").unlink()
    resumed = command("train", "--resume", "--out", "runs/k", "--device", "cpu", folder=tmp_path)
    assert resumed.code == 0, resumed.err
    assert list(csv.DictReader(table.read_text().splitlines())) == list(csv.DictReader(whole.splitlines()))


def test_overwriting_a_run_removes_its_logs(command, tmp_path):
    for more in (("--logger", "csv"), ("--overwrite",)):
        done = command("train", *SMALL, "--epochs", "1", "--name", "k", *more, folder=tmp_path)
        assert done.code == 0, done.err
    assert not (tmp_path / "runs/k/logs").exists()


def test_an_unknown_logger_is_wrong_use(command, tmp_path):
    done = command("train", *SMALL, "--logger", "tensorbord", folder=tmp_path)
    assert done.code == 2
    assert "'csv', 'mlflow', 'tensorboard', 'wandb'" in done.err


def test_tensorboard_has_a_folder_for_each_stage_that_a_resumed_run_continues(command, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    killed = command(
        *("train", *SMALL, *STAGES, "--name", "k", "--logger", "tensorboard", "--logger", "csv"),
        folder=tmp_path,
        env={"PLOTS_END_AT": str(4 * STEPS + 2)},
    )
    assert killed.code == -9, killed.err
    resumed = command("train", "--resume", "--out", "runs/k", "--device", "cpu", folder=tmp_path)
    assert resumed.code == 0, resumed.err
    folder = tmp_path / "runs" / "k"
    for stage in ("cscl", "segmentation"):
        events = accumulator.EventAccumulator(str(folder / "logs" / "tensorboard" / stage)).Reload()
        values = [event.value for event in events.Scalars("train_loss")]
        assert values == [value for _, value in recorded(folder, stage, "train_loss")]
        assert len(rows(folder, stage, "train_loss")) == 3
    assert events.Scalars("test_miou")[0].step == 3 * STEPS
