"""`cropzoo import-weights`: published files become checkpoints, and code in them stays unrun."""

from __future__ import annotations

import json
import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cropzoo import load_model

PARITY = Path(__file__).parents[1] / "data" / "parity"
SIZES = ("bands=4", "classes=5", "image_size=12")
OPTIONS = ("patch_size=2", "dim=32", "temporal_depth=2", "spatial_depth=2", "heads=2", "head_dim=16")
ALL = tuple(word for size in (*SIZES, *(f"backbone.{o}" for o in OPTIONS)) for word in ("--set", size))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds a file as the published code saves it."""
    folder = tmp_path_factory.mktemp("published")
    spec = spec_from_file_location("fill", PARITY / "fill.py")
    fill = module_from_spec(spec)
    spec.loader.exec_module(fill)
    state = fill.filled_state(json.loads((PARITY / "tsvit.json").read_text())["parameters"])
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, folder / "tsvit.pth")
    return folder


@pytest.fixture(scope="module")
def convert(command, folder):
    """`convert(out, *args)` imports the published file."""
    return lambda out, *args: command("import-weights", "tsvit", "tsvit.pth", "--out", out, *args, folder=folder)


@pytest.fixture(scope="module")
def converted(convert, folder):
    """The checkpoint."""
    ended = convert("tsvit.safetensors", *ALL)
    assert ended.code == 0, ended.err
    assert ended.out == "checkpoint  tsvit.safetensors  5 classes, 4 bands\n"
    assert "no band statistics" in ended.err
    return folder / "tsvit.safetensors"


def test_checkpoint_gives_the_published_logits(converted):
    case = load_file(PARITY / "tsvit.safetensors")
    logits = load_model(converted)(case["image"], case["doy_index"])
    torch.testing.assert_close(logits, case["logits"], atol=1e-5, rtol=0)


def test_checkpoint_starts_a_training_but_is_not_scored(command, converted, folder):
    assert "--statistics-of" in command("evaluate", converted, "--dataset", "plots", folder=folder).error
    words = ("--backbone", "tsvit", "--dataset", "plots", "--weights", converted, "--epochs", "1", "--device", "cpu")
    options = [word for option in (*OPTIONS, "output_order=published") for word in ("--set", f"backbone.{option}")]
    assert "--adapt-bands" in command("train", *words, *options, folder=folder).error
    ended = command("train", *words, *options, "--adapt-bands", folder=folder)
    assert ended.code == 0, ended.err
    assert "new: embed_patches.weight: (32, 16) in the weights, (32, 12) here" in ended.err


def test_missing_sizes_are_named_with_the_way_to_give_them(convert):
    error = convert("x.safetensors", "--set", "classes=5").error
    assert "bands, image_size" in error
    assert "--set bands=NUMBER --set image_size=NUMBER" in error
    assert "--like" in error


def test_another_network_lists_ten_differences_and_their_number(convert, folder):
    error = convert("x.safetensors", *ALL, "--set", "backbone.dim=16").error
    assert "57 differences" in error
    assert error.count(" in the network") == 10
    assert "and 47 more; check the backbone, its options" in error
    assert not (folder / "x.safetensors").exists()


def test_code_in_a_file_is_refused_and_not_run(command, folder):
    class Bad:
        def __reduce__(self):
            return os.system, (f"touch {folder / 'ran'}",)

    torch.save({"weights": Bad()}, folder / "bad.pth")
    error = command("import-weights", "tsvit", "bad.pth", "--out", "x.safetensors", *ALL, folder=folder).error
    assert "no code was executed" in error
    assert "weights_only" not in error  # torch advises to switch the check off
    assert not (folder / "ran").exists()


def test_what_is_no_torch_file(command, folder):
    (folder / "text.pth").write_text("hello")
    error = command("import-weights", "tsvit", "text.pth", "--out", "x.safetensors", *ALL, folder=folder).error
    assert "'text.pth' cannot be read" in error


def test_wrong_names(command, convert, converted, folder):
    assert "--overwrite" in convert("tsvit.safetensors", *ALL).error
    assert ".safetensors" in convert("x.pth", *ALL).error
    assert "did you mean 'tsvit.pastis'" in convert("x.safetensors", "--like", "tsvit.pasti").error
    words = ("tsvit.pth", "--out", "x.safetensors")
    assert (
        "has no conversion for published weights" in command("import-weights", "pixelwise", *words, folder=folder).error
    )
    assert "did you mean 'tsvit'" in command("import-weights", "tsvitt", *words, folder=folder).error
