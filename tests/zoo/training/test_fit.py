"""The end of a run: its baseline, and what the checkpoint says of the training data."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from cropzoo.config.catalog import load_catalog
from cropzoo.config.recipe import Recipe
from cropzoo.config.run_dir import RunFolder
from cropzoo.errors import CropzooError
from cropzoo.models.checkpoint import read_metadata
from cropzoo.plugins.registry import load_zoo
from cropzoo.runtime import Runtime
from cropzoo.training import fit as training
from cropzoo.training.setup import Resources

PLOTS = Path(__file__).parents[2] / "cli" / "plots.py"
TINY = {"backbone": "pixelwise", "dataset": "plots", "image_size": 12, "batch_size": 4, "epochs": 1}


def train(folder: Path, **settings: Any) -> dict[str, Any]:
    zoo = load_zoo(modules=(str(PLOTS),))
    resources = Resources(zoo, load_catalog(zoo), Runtime("cpu"), lambda line: None)
    return training.fit(Recipe.from_mapping({**TINY, **settings}, "test"), RunFolder(folder), resources)


def test_a_baseline_that_fails_does_not_end_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise CropzooError("sample 'x' contains NaN")

    monkeypatch.setattr(training, "score_baseline", fail)
    with caplog.at_level(logging.WARNING, "cropzoo"):
        scores = train(tmp_path / "run")
    assert scores["oa"] > 0
    assert "the scores have no baseline: sample 'x' contains NaN" in caplog.messages
    assert json.loads((tmp_path / "run/metrics.json").read_text())["test"] == scores
    assert "baseline" not in read_metadata(tmp_path / "run/model.safetensors").scores


def test_data_that_are_no_reflectance_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check = training.check_scale
    monkeypatch.setattr(training, "check_scale", lambda bands, mean, scale: check(bands, (2e-5,) * len(bands), scale))
    with caplog.at_level(logging.WARNING, "cropzoo"):
        train(tmp_path / "run", baseline="none")
    assert any("set dataset.scale=1 (in `prepare`: --scale 1)" in line for line in caplog.messages)
