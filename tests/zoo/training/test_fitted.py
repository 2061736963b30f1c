"""Runs whose last stage is fitted: checkpoints, scores, pixels, and what is refused."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from cropzoo.config.catalog import load_catalog
from cropzoo.config.merge import read_recipe
from cropzoo.config.run_dir import RunFolder
from cropzoo.data.datamodule import DataModule
from cropzoo.data.sample import Sample
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.evaluate import evaluate, open_evaluation
from cropzoo.models.checkpoint import KEY, HeadData, read_metadata, read_state
from cropzoo.models.factory import load_model
from cropzoo.plugins.registry import Zoo, load_zoo
from cropzoo.runtime import Runtime
from cropzoo.training import fit as training
from cropzoo.training.fitted import check_weights
from cropzoo.training.setup import Resources

PLOTS = Path(__file__).parents[2] / "cli" / "plots.py"
TINY = {
    "backbone": {"name": "composite", "percentiles": [50]},
    "dataset": "plots",
    "image_size": 12,
    "batch_size": 4,
    "baseline": "none",
}


@pytest.fixture(scope="module")
def zoo() -> Zoo:
    return load_zoo(modules=(str(PLOTS),))


def train(zoo: Zoo, folder: Path, start: training.Start = "new", **settings: Any) -> tuple[dict[str, Any], list[str]]:
    """Scores of the test split and the lines of progress of a run."""
    lines: list[str] = []
    small = {"objectives": {"forest": {"options": {"trees": 10}}}} if settings["objective"] == "forest" else {}
    recipe = read_recipe(zoo, {**TINY, **small, **settings}, "test")
    resources = Resources(zoo, load_catalog(zoo), Runtime("cpu"), lines.append)
    return training.fit(recipe, RunFolder(folder), resources, start), lines


@pytest.mark.parametrize("objective", ["forest", "knn", "logistic"])
def test_a_checkpoint_has_the_head_and_scores_as_the_run_did(zoo: Zoo, tmp_path: Path, objective: str) -> None:
    scores, lines = train(zoo, tmp_path, objective=objective)
    assert scores["oa"] > 0.9
    assert any(line.startswith(f"{objective}: fitted to ") and "MB" in line for line in lines)
    metadata = read_metadata(tmp_path / "model.safetensors")
    assert isinstance(metadata.head, HeadData)
    assert metadata.head.name == objective
    assert metadata.head.options["class_weight"] == ("none" if objective == "knn" else "balanced")
    assert metadata.format == 2
    model, data = open_evaluation(tmp_path / "model.safetensors", zoo, "test", {}, Runtime("cpu"))
    again = evaluate(model, data, "test", Runtime("cpu"))
    assert (again["oa"], again["miou"]) == (scores["oa"], scores["miou"])
    assert "epochs" not in (tmp_path / "recipe.yaml").read_text()
    (line,) = [json.loads(each) for each in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert (line["stage"], line["steps"]) == (objective, 0)
    assert (tmp_path / "report.html").is_file()
    assert not list(tmp_path.glob("**/*.ckpt"))


def test_a_model_of_a_fitted_head_predicts_stored_values_of_another_year(zoo: Zoo, tmp_path: Path) -> None:
    _, _ = train(zoo, tmp_path, objective="forest")
    model = load_model(tmp_path, zoo=zoo)
    (sample,) = (zoo.datasets["plots"].build().split("test")[number] for number in (0,))
    assert sample.labels is not None
    found = []
    for shift in (0, 366):
        probabilities = model.predict(sample.series, sample.dates + shift, sample.clear)
        assert torch.allclose(probabilities.sum(dim=1), torch.ones(()), atol=1e-5)
        found.append(probabilities[0].argmax(dim=0).numpy())
    known = sample.labels != 255
    assert (found[0] == sample.labels)[known].mean() > 0.9
    assert (found[0] == found[1]).mean() > 0.9


def test_a_stage_before_it_trains_the_backbone_and_a_resumed_run_fits_again(
    zoo: Zoo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"backbone": "pixelwise", "pretrain": ["cscl"], "pretrain_epochs": 1, "objective": "knn"}
    scores, _ = train(zoo, tmp_path, **settings)
    assert "random weights" not in caplog.text
    before = read_state(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    again, lines = train(zoo, tmp_path, "resume", **settings)
    after = read_state(tmp_path / "model.safetensors")
    assert again["confusion"] == scores["confusion"]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert any(line.startswith("knn: fitted to") for line in lines)
    stages = [json.loads(line)["stage"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert stages == ["cscl", "knn"]


def test_features_of_random_weights_are_a_warning(zoo: Zoo, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def warned(name: str, backbone: Any, **settings: Any) -> str:
        caplog.clear()
        train(zoo, tmp_path / name, objective="knn", backbone=backbone, **settings)
        lines = [each.getMessage() for each in caplog.records if "random weights" in each.getMessage()]
        return "".join(lines)

    line = warned("random", "pixelwise")
    assert line.startswith("knn is fitted to features of pixelwise with random weights")
    assert "pretrained weights (--weights), or pre-train the backbone (--pretrain)" in line
    assert warned("weights", "pixelwise", weights=str(tmp_path / "random")) == ""
    assert warned("none", "composite") == ""


@pytest.mark.parametrize(("initial", "expected"), [("none", True), (None, True), ("a1_in1k", False)])
def test_options_that_select_pretrained_weights_count(
    zoo: Zoo, caplog: pytest.LogCaptureFixture, initial: str | None, expected: bool
) -> None:
    spec = replace(zoo.backbones["timm"].spec, pretrained="default")
    choice = {"name": "timm", "encoder_weights": initial}
    recipe = read_recipe(zoo, {**TINY, "backbone": choice, "objective": "knn"}, "test")
    objective = SimpleNamespace(backbone=torch.nn.Linear(1, 1))
    check_weights(objective, recipe, spec)  # type: ignore[arg-type]
    assert ("pretrained weights (--backbone timm.default)" in caplog.text) is expected


def test_few_pixels_are_drawn_evenly(zoo: Zoo, tmp_path: Path) -> None:
    _, lines = train(zoo, tmp_path, objective="knn", objectives={"knn": {"options": {"max_pixels": 30}}})
    assert any(line.startswith("knn: fitted to 30 pixels of 3 classes") for line in lines)
    labels = read_state(tmp_path / "model.safetensors")["head.labels"]
    assert labels.bincount().tolist() == [10, 10, 10]
    assert '"pixels": 30' in (tmp_path / "metrics.jsonl").read_text()


def relabel(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Replace the training labels by those that a function makes of a sample and its number."""
    original = DataModule.split

    def split(self: DataModule, name: str) -> Any:
        samples = original(self, name)
        return [change(name, number, samples[number]) for number in range(len(samples))]

    monkeypatch.setattr(DataModule, "split", split)


def test_a_class_with_a_single_pixel_is_reported(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def change(name: str, number: int, sample: Sample) -> Sample:
        labels = np.array(sample.labels)
        if name == "train":
            places = np.flatnonzero(labels == 1)
            labels.ravel()[places[1:] if number == 0 else places] = 255
        return replace(sample, labels=labels)

    relabel(monkeypatch, change)
    for objective in ("forest", "knn", "logistic"):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "cropzoo"):
            scores, _ = train(zoo, tmp_path / objective, objective=objective)
        assert "class with a single training pixel: maize" in caplog.text
        assert scores["oa"] > 0.3


def test_finer_labels_are_learned_by_majority(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = train(zoo, tmp_path / "plain", objective="forest")

    def change(name: str, number: int, sample: Sample) -> Sample:
        fine = np.kron(np.asarray(sample.labels), np.ones((2, 2), np.uint8))
        if name == "train":
            fine[::2, ::2] = (fine[::2, ::2] + 1) % 3
        return replace(sample, labels=fine, parcels=None)

    relabel(monkeypatch, change)
    scores, _ = train(zoo, tmp_path / "fine", objective="forest")
    assert scores["pixels"] == 4 * plain["pixels"]
    assert scores["oa"] == pytest.approx(plain["oa"], abs=0.02)
    with pytest.raises(UsageError, match=r"set head\.upsample=2"):
        train(zoo, tmp_path / "trained", objective="segmentation", backbone="pixelwise", epochs=1)


def test_features_that_are_not_finite_are_an_error(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cropzoo_plugins.backbones.composite import Composite

    monkeypatch.setattr(Composite, "_with_indices", lambda self, values: values / 0)
    with pytest.raises(CropzooError, match="fitting 'knn'; the backbone returns features that are NaN or infinite"):
        train(zoo, tmp_path, objective="knn", backbone={"name": "composite", "indices": "none"})


def test_a_damaged_head_in_a_checkpoint_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    train(zoo, tmp_path, objective="forest")
    path = tmp_path / "model.safetensors"
    state, text = read_state(path), read_metadata(path).model_dump(mode="json")

    def write(state: dict[str, torch.Tensor], head: dict[str, Any]) -> None:
        safetensors.torch.save_file(state, path, {KEY: json.dumps(text | {"head": head})})

    write({**state, "head.right": torch.zeros_like(state["head.right"])}, text["head"])
    with pytest.raises(
        CropzooError, match=r"model\.safetensors.*a head of trees: a path does not end; download or copy"
    ):
        load_model(path, zoo=zoo)
    write(state, text["head"] | {"shapes": text["head"]["shapes"] | {"left": [10**9]}})
    with pytest.raises(CropzooError, match="left has shape"):
        load_model(path, zoo=zoo)
    write(state, text["head"] | {"shapes": {}})
    with pytest.raises(CropzooError, match="a head of tensors"):
        load_model(path, zoo=zoo)
    write(state, text["head"] | {"name": "segmentation", "options": {}})
    with pytest.raises(CropzooError, match="the installed objective of that name is trained"):
        load_model(path, zoo=zoo)
