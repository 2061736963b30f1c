"""`cropzoo export`: a self-contained file with its model card."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import cropzoo
from cropzoo.io import sha256_of

HERE = Path(__file__).parent
RELOAD = """
import sys
from safetensors.torch import load_file, save_file
import cropzoo
zoo = cropzoo.load_zoo(modules=(sys.argv[1],))
batch = load_file(sys.argv[2])
for source, target in zip(sys.argv[3::2], sys.argv[4::2]):
    model = cropzoo.load_model(source, zoo=zoo)
    save_file({"logits": model(batch["series"], batch["dates"]).detach()}, target)
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
    pairs = (exported, tmp_path / "there", run_folder / "model.safetensors", tmp_path / "here")
    words = [sys.executable, "-c", RELOAD, HERE / "plots.py", tmp_path / "batch.safetensors", *pairs]
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
    assert note["backbone"] == {"name": "pixelwise", "options": {"width": 8, "dropout": 0.2, "patch_size": 3}}
    assert note["scores"]["confusion"]
    assert note["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert (note["format"], note["dates"], note["seed"], note["license"]) == (1, "doy", 0, "MIT")


def test_card_stands_beside_it(exported):
    card = exported.with_suffix(".md").read_text()
    for part in (
        "# pixelwise trained on plots",
        "| wheat | 10 |",
        "Class boundary",
        "nobody",
        "License: MIT",
        "objective: cscl",
    ):
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


@pytest.fixture(scope="module")
def graphs(command, run_folder, tmp_path_factory):
    """What `export` printed, by format, and the folder of the files."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("graphs")
    messages = {}
    for form in ("onnx", "pt2"):
        ended = command("export", run_folder, "--format", form, "--out", f"model.{form}", folder=folder)
        assert ended.code == 0, ended.err
        messages[form] = ended
    return messages, folder


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_a_graph_stands_with_its_check_card_and_item(graphs, run_folder, form):
    messages, folder = graphs
    check = json.loads((folder / f"model.{form}.check.json").read_text())
    assert check["largest"] <= check["tolerance"] == 1e-4
    assert check["real"]["series"] == 4
    assert check["dynamic"] == ["batch", "dates", "size"]
    assert check["sha256"] == sha256_of(folder / f"model.{form}")
    assert check["checkpoint_sha256"] == sha256_of(run_folder / "model.safetensors")
    assert f"{check['random']['relative']:.1e}"[-3:] in messages[form].out
    card = (folder / f"model.{form}.md").read_text()
    assert "Input `dates`" in card
    used = {"onnx": "`cropzoo predict model.onnx`", "pt2": '`torch.export.load("model.pt2").module()`'}
    assert used[form] in card
    item = json.loads((folder / f"model.{form}.stac.json").read_text())
    assert item["assets"]["model"]["href"] == f"./model.{form}"
    assert "Warning" not in messages[form].err


def test_an_onnx_file_alone_knows_bands_and_classes(graphs):
    import onnxruntime

    session = onnxruntime.InferenceSession(graphs[1] / "model.onnx")
    about = json.loads(session.get_modelmeta().custom_metadata_map["cropzoo"])
    assert about["metadata"]["bands"] == ["B02", "B04", "B08"]
    assert [label["name"] for label in about["metadata"]["classes"]] == ["wheat", "maize", "grass"]
    assert set(about["inputs"]) == {"series", "dates", "valid"}


def test_the_example_of_the_page_on_maps_runs(graphs, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "map.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "onnxruntime" in block)
    assert {line.split()[1] for line in code.splitlines() if "import" in line} == {
        *("datetime", "json", "numpy", "onnxruntime")
    }
    (tmp_path / "mine.onnx").write_bytes((graphs[1] / "model.onnx").read_bytes())
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() in ("wheat", "maize", "grass")


def test_an_onnx_file_is_shown_and_scored_by_its_checkpoint(graphs, run_folder, command):
    ended = command("show", graphs[1] / "model.onnx", folder=graphs[1])
    assert ended.code == 0, ended.err
    shown = dict(line.split(maxsplit=1) for line in ended.out.splitlines() if line[:1].strip())
    assert shown["kind"] == "exported graph"
    assert shown["checkpoint"] == sha256_of(run_folder / "model.safetensors")
    assert shown["bands"] == "B02, B04, B08"
    assert "probabilities: " in ended.out
    (graphs[1] / "text.onnx").write_text("no graph")
    assert "is not a valid ONNX file" in command("show", "text.onnx", folder=graphs[1]).error
    for name in ("evaluate", "calibrate"):
        assert "is an exported graph, not a checkpoint" in command(name, "model.onnx", folder=graphs[1]).error


def test_format_and_suffix_must_fit(command, run_folder, tmp_path):
    error = command("export", run_folder, "--format", "onnx", "--out", "model.pt2", folder=tmp_path).error
    assert "must have a name that ends in .onnx" in error
    (tmp_path / "folder.onnx").mkdir()
    assert "is a folder" in command("export", run_folder, "--out", "folder.onnx", folder=tmp_path).error
    (tmp_path / "folder.onnx").rmdir()
    (tmp_path / "model.onnx.check.json").write_text("mine")
    error = command("export", run_folder, "--out", "model.onnx", folder=tmp_path).error
    assert "model.onnx.check.json exists already" in error
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx.check.json"]


ASKING = """
from torch import nn
from cropzoo import Backbone, BackboneSpec, hookimpl

class Asking(Backbone):
    def __init__(self, in_channels, classes, image_size, length):
        super().__init__()
        self.out_channels = classes
        self.net = nn.Conv2d(in_channels, classes, 1)

    def forward(self, series, dates, valid):
        return self.net(series[:, 0] if bool(valid.all()) else series.mean(1))

@hookimpl
def cropzoo_backbones():
    about = {"summary": "s", "source": "made up", "license": "MIT"}
    return [BackboneSpec(name="asking", build="asking:Asking", dates="doy", **about)]
"""


def test_a_network_that_cannot_be_exported_says_why_and_leaves_nothing(command, tmp_path):
    (tmp_path / "asking.py").write_text(ASKING)
    words = ("-p", tmp_path / "asking.py")
    small = ("--dataset", "plots", "--set", "image_size=12", "--epochs", "1", "--device", "cpu", "--out", "run")
    ended = command(*words, "train", "--backbone", "asking", *small, folder=tmp_path)
    assert ended.code == 0, ended.err
    ended = command(*words, "export", "run", "--out", "model.pt2", folder=tmp_path)
    assert "backbone 'asking' as a graph; it cannot be traced" in ended.error
    assert len(ended.error.splitlines()) == 1
    assert not list(tmp_path.glob("*model.pt2*"))
    assert command(*words, "export", "run", "--out", "model.safetensors", folder=tmp_path).code == 0


ALONE = """
import json, sys
import numpy as np
import onnxruntime

assert "torch" not in sys.modules
session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["cropzoo"])["metadata"]
given = dict(np.load(sys.argv[2]))
wanted = given.pop("wanted")
(probabilities,) = session.run(["probabilities"], given)
print(about["classes"][0]["name"], float(np.abs(probabilities - wanted).max()))
"""


@pytest.mark.slow
@pytest.mark.network
def test_onnx_runs_without_torch_in_a_fresh_environment(graphs, run_folder, tmp_path):
    """With onnxruntime and what it brings, as on another machine."""
    import numpy as np

    from cropzoo.inference.export.verify import random_input, reference_output
    from cropzoo.models.checkpoint import read_metadata

    zoo = cropzoo.load_zoo(modules=(str(HERE / "plots.py"),))
    model = cropzoo.load_model(run_folder, zoo=zoo)
    metadata = read_metadata(run_folder / "model.safetensors")
    given = random_input(metadata, 3, 17, 12, 15)
    np.savez(tmp_path / "given.npz", wanted=reference_output(model, metadata, given)[1], **given.as_dict())
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "fresh"], check=True)
    python = tmp_path / "fresh" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "onnxruntime"], check=True, timeout=600)
    words = [python, "-c", ALONE, graphs[1] / "model.onnx", tmp_path / "given.npz"]
    name, largest = subprocess.run(words, check=True, capture_output=True, text=True, timeout=120).stdout.split()
    assert name == "wheat"
    assert float(largest) <= 1e-4
    assert subprocess.run([python, "-c", "import torch"], capture_output=True).returncode != 0
