"""`cropzoo export`: a file that stands for itself, with its model card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
RELOAD = """
import sys
from safetensors.torch import load_file, save_file
import cropzoo
zoo = cropzoo.load_zoo(modules=(sys.argv[1],))
model = cropzoo.load_model(sys.argv[2], zoo=zoo)
batch = load_file(sys.argv[3])
save_file({"logits": model(batch["series"], batch["dates"]).detach()}, sys.argv[4])
"""


@pytest.fixture(scope="module")
def exported(command, run_folder, tmp_path_factory):
    """A checkpoint in a folder that was not there before."""
    folder = tmp_path_factory.mktemp("export")
    ended = command("export", run_folder, "--out", "new/folder/model.safetensors", folder=folder)
    assert ended.code == 0, ended.err
    return folder / "new" / "folder" / "model.safetensors"


def note_of(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["cropzoo"])


def test_a_new_process_computes_the_same_logits(exported, run_folder, tmp_path, monkeypatch):
    """Bit by bit, from the file alone."""
    batch = {"series": torch.randn(2, 5, 3, 12, 12), "dates": torch.tensor([[3, 40, 90, 200, 360]] * 2)}
    save_file(batch, tmp_path / "batch.safetensors")
    for source, target in ((exported, "there"), (run_folder / "model.safetensors", "here")):
        words = [
            sys.executable,
            "-c",
            RELOAD,
            HERE / "plots.py",
            source,
            tmp_path / "batch.safetensors",
            tmp_path / target,
        ]
        subprocess.run(words, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120)
    there, here = (load_file(tmp_path / name)["logits"] for name in ("there", "here"))
    assert there.shape == (2, 3, 12, 12)
    assert torch.equal(there, here)
    assert there.std() > 0


def test_metadata_say_all_that_is_needed(exported):
    note = note_of(exported)
    assert note["bands"] == ["B02", "B04", "B08"]
    assert (note["scale"], note["mean"], note["std"]) == (1e-4, [0.2] * 3, [0.1] * 3)
    assert [label["name"] for label in note["classes"]] == ["wheat", "maize", "grass"]
    assert note["backbone"] == {"name": "pixelwise", "options": {}}
    assert note["scores"]["confusion"]
    assert note["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert (note["format"], note["dates"], note["seed"], note["licence"]) == (1, "doy", 0, "MIT")


def test_card_stands_beside_it(exported):
    card = exported.with_suffix(".md").read_text()
    for part in ("# pixelwise trained on plots", "| wheat | 10 |", "Class boundary", "nobody", "Licence: MIT", "cscl:"):
        assert part in card


def test_nothing_is_replaced_unasked(command, exported, run_folder):
    before = exported.read_bytes()
    assert "--overwrite" in command("export", run_folder, "--out", exported, folder=run_folder).error
    exported.with_suffix(".md").write_text("mine")
    error = command("export", run_folder, "--out", exported, folder=run_folder).error
    assert str(exported.with_suffix(".md")) in error
    assert exported.with_suffix(".md").read_text() == "mine"
    assert command("export", run_folder, "--out", exported, "--overwrite", folder=run_folder).code == 0
    assert exported.read_bytes() == before
    assert exported.with_suffix(".md").read_text() != "mine"


def test_wrong_suffix_and_unfinished_run(command, run_folder, tmp_path):
    assert ".safetensors" in command("export", run_folder, "--out", "model.pt", folder=tmp_path).error
    (tmp_path / "begun").mkdir()
    assert "--resume" in command("export", "begun", "--out", "model.safetensors", folder=tmp_path).error
    assert list(tmp_path.iterdir()) == [tmp_path / "begun"]


def test_places_on_this_machine_stay_here(command, tmp_path):
    """The run itself keeps them: evaluating it needs them."""
    fields = tmp_path / "secret" / "fields"
    fields.mkdir(parents=True)
    words = ("--backbone", "pixelwise", "--dataset", "plots", "--epochs", "1", "--set", f"dataset.root={fields}")
    ended = command("train", *words, "--device", "cpu", "--out", "run", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert note_of(tmp_path / "run/model.safetensors")["dataset"]["options"]["root"] == str(fields)
    ended = command("export", "run", "--out", "model.safetensors", folder=tmp_path)
    assert str(fields) in ended.err
    note = note_of(tmp_path / "model.safetensors")
    assert note["dataset"]["options"]["root"] == note["recipe"]["dataset"]["root"] == "fields"
    assert b"secret" not in (tmp_path / "model.safetensors").read_bytes()
    assert "secret" not in (tmp_path / "model.md").read_text()
