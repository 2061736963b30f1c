"""A run folder as training leaves it, with scores that a scorer computed, and patches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cropzoo import Batch, LabelClass
from cropzoo.data.boundary import boundary_bits
from cropzoo.evaluation.metrics import Scorer
from cropzoo.reports import ReportPatch

CLASSES = (
    LabelClass("meadow", 3, "#44aa55"),
    LabelClass("<b>maize</b> & | co", 26, "#eecc22"),
    LabelClass("hop", 8, "#aa3366"),
)
RECIPE = """\
backbone: {name: tsvit, dim: 32}
dataset: {name: fields, note: <script>alert(1)</script>}
stages: [{objective: cscl}, {objective: segmentation}]
seed: 4
"""


@pytest.fixture
def classes() -> tuple[LabelClass, ...]:
    return CLASSES


def a_map(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and a prediction of meadow and maize, (12, 16), with ignored pixels; there is no hop in the labels."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((12, 16), np.uint8)
    labels[:, 9:] = 1
    labels[0] = 255
    prediction = np.where(generator.random(labels.shape) < 0.2, 2, labels % 255).astype(np.uint8)
    return labels, prediction


@pytest.fixture
def patches() -> list[ReportPatch]:
    found = []
    for seed in range(2):
        labels, prediction = a_map(seed)
        image = np.random.default_rng(seed).random((12, 16, 3))
        confidence = None if seed else np.full(labels.shape, 0.7)
        found.append(
            ReportPatch(f"place <{seed}>", image, labels, prediction, boundary_bits(labels, labels * 2), confidence)
        )
    return found


@pytest.fixture
def scores() -> dict[str, Any]:
    scorer = Scorer([item.name for item in CLASSES])
    labels, prediction = (torch.from_numpy(array).long()[None] for array in a_map(0))
    logits = torch.nn.functional.one_hot(prediction, 3).movedim(-1, 1).float()
    bits = torch.from_numpy(boundary_bits(labels[0].numpy(), labels[0].numpy()))[None]
    parcels = torch.where(labels == 255, 0, labels + 1)
    series, dates = torch.zeros(1, 1, 1, 12, 16), torch.zeros(1, 1, dtype=torch.int64)
    sample = torch.zeros(1, dtype=torch.int64)
    scorer.update(logits, Batch(series, dates, dates == 0, labels, parcels, None, bits, sample))
    return scorer.compute()


@pytest.fixture
def make_run(tmp_path: Path, scores: dict[str, Any]) -> Callable[..., Path]:
    """`make_run(stages={"cscl": 3, ...}, metrics={...}, recipe="...")` writes a folder of a run."""

    def make(stages: dict[str, int] | None = None, metrics: dict[str, Any] | None = None, recipe: str = RECIPE) -> Path:
        folder = tmp_path / "run-1"
        folder.mkdir()
        (folder / "recipe.yaml").write_text(recipe)
        records = []
        for stage, epochs in ({"cscl": 3, "segmentation": 4} if stages is None else stages).items():
            for epoch in range(epochs):
                record = {"stage": stage, "epoch": epoch, "train_loss": 1 / (epoch + 1), "val_loss": 2.0, "lr": 1e-3}
                more = {"val_oa": 0.5, "val_miou": 0.125 * epoch} if stage == "segmentation" else {}
                records.append(json.dumps(record | more))
        (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in records))
        (folder / "metrics.json").write_text(json.dumps({"test": scores} if metrics is None else metrics))
        (folder / "environment.json").write_text(json.dumps({"device": "cpu", "versions": {"torch": "2.14"}}))
        (folder / "split.json").write_text(json.dumps({"train": list(range(50)), "test": ["x"]}))
        return folder

    return make
