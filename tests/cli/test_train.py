"""`cropzoo train`: what it prints and writes, that it repeats, and that it leaves alone what is not its own."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
import yaml

from cropzoo.models.checkpoint import read_metadata

SMALL = ("--backbone", "pixelwise", "--dataset", "plots", "--set", "image_size=12", "-b", "4", "--device", "cpu")
QUICK = (*SMALL, "--epochs", "1")
FILES = {
    "recipe.yaml", "model.safetensors", "metrics.jsonl", "metrics.json", "report.html", "split.json",
    "environment.json", "figures", "checkpoints",
}  # fmt: skip


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_run_folder_holds_what_a_run_writes(run_folder):
    assert {path.name for path in run_folder.iterdir()} == FILES


def test_results_go_to_stdout_and_lines_of_progress_to_stderr(finished):
    assert finished.out.startswith("test ")
    assert finished.out.endswith("report      runs/full/report.html\n")
    progress = [line for line in finished.err.splitlines() if not line.startswith("warning: stage ")]
    assert progress[:2] == ["run runs/full: importing torch", "stage 1 of 2: cscl, 3 epochs of 4 steps"]
    assert progress[2].startswith("cscl 1/3  train loss ")
    assert [line.split("  ")[0] for line in progress[5:]] == [
        "stage 2 of 2: segmentation, 3 epochs of 4 steps; starts from the backbone of cscl",
        "segmentation 1/3",
        "segmentation 2/3",
        "segmentation 3/3",
        "scoring the knn baseline on test",
    ]


def test_what_training_took_stands_beside_what_it_ran_on(run_folder):
    training = json.loads((run_folder / "environment.json").read_text())["training"]
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    assert training["steps"] == 2 * 3 * 4
    assert training["seconds"] == pytest.approx(sum(line["seconds"] for line in lines))
    assert 10**8 < training["peak_memory"] < 10**10


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("--freeze",), "segmentation, 1 epoch of 4 steps; 27 of"),
        (("--set", "segmentation.auxiliary=cscl:0.5"), "stage 1 of 1: segmentation + 0.5 cscl, 1 epoch"),
        (("--lr-scale", "backbone=0.1", "--label-fraction", "0.5"), "stage 1 of 1: segmentation, 1 epoch"),
    ],
)
def test_ways_of_training_are_reported(command, tmp_path, args, line):
    ended = command("train", *SMALL, "--epochs", "1", "--name", "way", *args, folder=tmp_path)
    assert ended.code == 0, ended.err
    assert line in ended.err
    again = ("train", "--resume", "--name", "way", *SMALL, "--epochs", "1")
    assert command(*again, *args, folder=tmp_path).code == 0
    other = command(*again, *args, "--label-fraction", "0.3", folder=tmp_path)
    assert "these settings differ from those of the run: label_fraction" in other.error


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--lr-scale", "backbone"), "--lr-scale 'backbone'; expected MODULE=FACTOR"),
        (("--lr-scale", "spine=0.1"), "the stage trains no module 'spine'"),
        (("--backbone", "tsvit", "--set", "backbone.patch_size=2", "--freeze"), "so nothing would be trained"),
        (("--set", "segmentation.auxiliary=csc:0.1"), "unknown objective 'csc'; did you mean"),
        (("--label-fraction", "2"), "label_fraction"),
        (("--test-years", "1999"), "split 'test' of years 1999; it has no such sample"),
    ],
)
def test_wrong_ways_are_reported_before_a_run_begins(command, tmp_path, args, message):
    assert message in command("train", *SMALL, "--name", "wrong", *args, folder=tmp_path).error
    assert not (tmp_path / "runs").exists()


def test_json_is_all_that_stdout_gets(command, run_folder):
    printed = command("train", "--resume", "--out", run_folder, "--json", folder=run_folder).json
    assert printed["run"] == str(run_folder)
    stored = json.loads((run_folder / "metrics.json").read_text())
    assert printed["test"] == stored["test"]
    assert printed["val"] == stored["val"]


def test_val_picks_the_weights(run_folder):
    scores = json.loads((run_folder / "metrics.json").read_text())
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    best = max(line["val_miou"] for line in lines if line["stage"] == "segmentation")
    assert scores["val"]["miou"] == pytest.approx(best, abs=1e-6)


def test_a_worse_last_epoch_is_not_kept(command, tmp_path):
    rates = ("--epochs", "6", "--lr", "1", "--set", "warmup_epochs=0", "--set", "segmentation.lr_min=1")
    assert command("train", *SMALL, *rates, "--out", "run", folder=tmp_path).code == 0
    course = [json.loads(line)["val_miou"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert max(course) > course[-1]  # else this shows nothing
    kept = json.loads((tmp_path / "run/metrics.json").read_text())["val"]["miou"]
    assert kept == pytest.approx(max(course), abs=1e-6)


def test_recipe_of_a_run_repeats_it_and_another_seed_does_not(command, run_folder, tmp_path):
    for name, more in (("same", ()), ("workers", ("-j", "2")), ("other", ("--seed", "1"))):
        config = ("-c", run_folder / "recipe.yaml", "--device", "cpu", "--out", name)
        assert command("train", *config, *more, folder=tmp_path).code == 0
    assert weights(tmp_path / "same") == weights(run_folder)
    assert weights(tmp_path / "workers") == weights(run_folder)
    assert weights(tmp_path / "other") != weights(run_folder)


def test_printed_config_is_a_config(command, tmp_path):
    printed = command("train", *QUICK, "--print-config", folder=tmp_path).out
    (tmp_path / "config.yaml").write_text(printed)
    assert command("train", "-c", "config.yaml", "--print-config", folder=tmp_path).out == printed
    assert yaml.safe_load(printed)["stages"][-1]["epochs"] == 1
    assert not (tmp_path / "runs").exists()


def test_the_objective_of_the_last_stage(command, tmp_path):
    words = ("train", *QUICK, "--pretrain", "cscl", "--objective", "boundary", "--print-config")
    printed = yaml.safe_load(command(*words, folder=tmp_path).out)
    assert [stage["objective"] for stage in printed["stages"]] == ["cscl", "boundary"]


def test_bf16_trains(command, tmp_path):
    assert command("train", *QUICK, "--precision", "bf16", "--out", "run", folder=tmp_path).code == 0
    assert yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())["precision"] == "bf16-mixed"


def test_weights_start_the_backbone(command, run_folder, tmp_path):
    ended = command("train", *QUICK, "--weights", run_folder, "--out", "run", folder=tmp_path)
    assert "2 parameters loaded, 0 newly initialized" in ended.err
    ended = command(
        "train", *QUICK, "--weights", run_folder, "--set", "dataset.bands=[B08, B04]", "--adapt-bands", "--out", "two",
        folder=tmp_path,
    )  # fmt: skip
    assert "1 parameters loaded, 1 newly initialized" in ended.err
    assert "new: net.0.weight: (8, 3, 3, 3) in the weights, (8, 2, 3, 3) here" in ended.err
    ended = command(
        "train", *QUICK, "--weights", run_folder, "--set", "dataset.bands=[B08, B04]", "--out", "three", folder=tmp_path
    )
    assert "--adapt-bands" in ended.error


def test_overwrite_removes_the_runs_own_files_alone(command, tmp_path):
    assert command("train", *QUICK, "--out", "run", folder=tmp_path).code == 0
    (tmp_path / "run/notes.txt").write_text("mine")
    (tmp_path / "run/checkpoints/best-7.safetensors").write_text("old")
    assert "--overwrite" in command("train", *QUICK, "--out", "run", folder=tmp_path).error
    assert command("train", *QUICK, "--out", "run", "--overwrite", folder=tmp_path).code == 0
    assert (tmp_path / "run/notes.txt").read_text() == "mine"
    assert not (tmp_path / "run/checkpoints/best-7.safetensors").exists()


def test_bar_is_drawn_in_a_terminal_and_stays_out_of_stdout(command, tmp_path):
    master, slave = os.openpty()
    seen: list[bytes] = []

    def read() -> None:
        while True:
            try:
                seen.append(os.read(master, 65536))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=read)
    reader.start()
    ended = command("train", *QUICK, "--epochs", "2", "--out", "run", folder=tmp_path, terminal=os.ttyname(slave))
    os.close(slave)
    reader.join(timeout=30)
    os.close(master)
    drawn = b"".join(seen).decode()
    assert ended.code == 0, drawn
    assert ended.out.startswith("test ")
    assert "\x1b[" in drawn
    assert "Epoch" in drawn
    assert "segmentation 2/2  train loss" in drawn


def test_the_baseline_travels_with_the_model(command, run_folder, finished):
    test = json.loads((run_folder / "metrics.json").read_text())["test"]
    baseline = test["baseline"]
    assert baseline["name"] == "knn"
    assert baseline["pixels"] == test["pixels"]
    assert set(baseline["per_class"]) == set(test["per_class"])
    assert read_metadata(run_folder / "model.safetensors").scores == test
    (line,) = (each for each in finished.out.splitlines() if each.startswith("knn, all pixels"))
    assert f"{100 * baseline['miou']:.1f}" in line
    below = "the model scores below its knn baseline in mIoU"
    assert (below in finished.out) == (test["miou"] < baseline["miou"])
    report = (run_folder / "report.html").read_text()
    assert "All pixels of the knn baseline" in report
    shown = command("show", run_folder, folder=run_folder).out
    assert "knn, all pixels" in shown


def test_a_run_without_a_baseline_says_so(command, tmp_path):
    ended = command("train", *QUICK, "--baseline", "none", "--out", "run", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "baseline" not in ended.err
    assert "baseline" not in json.loads((tmp_path / "run/metrics.json").read_text())["test"]
    assert yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())["baseline"] == "none"
    assert "(no baseline)" in command("evaluate", "run", "--device", "cpu", folder=tmp_path).err
    assert "'forests' is not one of" in command("train", *QUICK, "--baseline", "forests", folder=tmp_path).error
