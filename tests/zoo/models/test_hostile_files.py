"""Checkpoints that claim other networks than they hold are refused before memory is taken."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cropzoo import CropzooError
from cropzoo.models.checkpoint import Metadata, read_metadata, save_checkpoint, save_tensors
from cropzoo.models.factory import create_model, load_model
from cropzoo.plugins.registry import load_zoo

OPTIONS = {"tsvit": {"dim": 16, "temporal_depth": 1, "spatial_depth": 1}, "utae": {}, "ltae": {}}
CLASSES = [{"name": name, "code": code, "color": "#0a0b0c"} for code, name in enumerate(("rye", "oat"))]


def metadata_of(name: str, **changes: Any) -> dict[str, Any]:
    common: dict[str, Any] = {
        "backbone": {"name": name, "options": OPTIONS[name]},
        "in_channels": 2,
        "image_size": 8,
        "classes": CLASSES,
        "dates": load_zoo().backbones[name].spec.dates,
    }
    return {**common, **changes}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """`written(name, **changes)`: a checkpoint of a small network whose metadata have `changes`."""

    def write(name: str, text: str = "", **changes: Any) -> Path:
        options = {"in_channels": 2, "classes": 2, "image_size": 8}
        state = create_model(name, **options, **OPTIONS[name]).state_dict()
        path = tmp_path / "model.safetensors"
        save_checkpoint(path, state, Metadata.parse(metadata_of(name), "a test"))
        stored = text or json.dumps({"format": 1, **metadata_of(name, **changes)})
        save_tensors(path, state, {"cropzoo": stored})
        return path

    return write


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("tsvit", {"image_size": 4000}, "weights of another network"),
        ("tsvit", {"image_size": 10_000}, "image_size.*less than or equal to 4096"),
        ("utae", {"image_size": 10**9}, "image_size.*less than or equal to 4096"),
        ("tsvit", {"length": 10**9}, "length.*less than or equal to 4096"),
        ("ltae", {"in_channels": 10**12}, "in_channels.*less than or equal to 4096"),
        ("tsvit", {"backbone": {"name": "tsvit", "options": {"dim": 2**17}}}, "weights of another network"),
        ("tsvit", {"backbone": {"name": "tsvit", "options": {"temporal_depth": 500_000}}}, "many more layers"),
        (
            "tsvit",
            {"backbone": {"name": "tsvit", "options": {"dim": 10**30}}},
            "option dim is 10+.*; an integer must be at most",
        ),
        ("tsvit", {"backbone": {"name": "tsvit", "options": {"dim": -16}}}, "."),
        ("tsvit", {"backbone": {"name": "tsvit", "options": {"patch": 0}}}, "."),
    ],
)
def test_networks_that_the_file_does_not_hold(
    written: Callable[..., Path], name: str, changes: dict[str, Any], message: str
) -> None:
    path = written(name, **changes)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(CropzooError, match=message):
        load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 4000, "-" + "9" * 400, "1e999", "NaN"])
@pytest.mark.parametrize("key", ["seed", "scale", "scores", "format", "image_size"])
def test_numbers_of_thousands_of_digits(written: Callable[..., Path], key: str, number: str) -> None:
    values = json.dumps({"format": 1, **metadata_of("ltae"), "scale": 1.0, key: "@"})
    path = written("ltae", values.replace('"@"', f'{{"oa": {number}}}' if key == "scores" else number))
    is_readable = key == "seed" and number[1:].isdigit() and len(number) < 4300
    if is_readable:
        assert str(read_metadata(path).seed) == number
        return
    with pytest.raises(CropzooError) as caught:
        read_metadata(path)
    assert len(str(caught.value)) < 1000


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    model = create_model("ltae", in_channels=2, classes=2, image_size=8)
    state = model.state_dict()
    name = next(key for key, value in state.items() if value.is_floating_point() and value.numel() > 1)
    state[name].view(-1)[0] = torch.nan
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, state, Metadata.parse(metadata_of("ltae"), "a test"))
    with pytest.raises(CropzooError, match=r"not numbers of the network \(of another type, NaN or infinite\)"):
        load_model(path)


@pytest.mark.parametrize(
    "scores",
    [
        {"oa": 1.5},
        {"oa": "high"},
        {"miou": -0.1},
        {"per_class": ["rye"]},
        {"per_class": {"rye": 0.5}},
        {"per_class": {"rye": {"f1": "a"}}},
        {"boundary": {"miou": 0.2}},
        {"boundary": 3},
        {"pixels": 10**30},
        {"pixels": "many"},
        {"confusion": [[1, -1]]},
        {"confusion": [["a"]]},
        {"without_support": [3]},
        {"baseline": {"name": "knn", "oa": 7, "miou": 0.1}},
        {"of_later_versions": 10**400},
    ],
)
def test_scores_that_are_none(written: Callable[..., Path], scores: dict[str, Any]) -> None:
    with pytest.raises(CropzooError, match="key 'scores"):
        read_metadata(written("ltae", scores=scores))


def test_scores_of_later_versions_are_kept(written: Callable[..., Path]) -> None:
    scores = {"oa": 0.5, "ece": None, "new": [1.5, {"a": "b"}], "per_class": {"rye": {"f1": None, "support": 0}}}
    assert read_metadata(written("ltae", scores=scores)).scores == scores


@pytest.mark.parametrize("name", ["9" * 5000, "a\0b", "9" * 5000 + ".safetensors"])
def test_names_that_are_no_paths(name: str) -> None:
    with pytest.raises(CropzooError):
        load_model(name)
