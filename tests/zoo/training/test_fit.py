"""The end of a run: its baseline, and what the checkpoint says of the training data."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from cropzoo.config.catalog import load_catalog
from cropzoo.config.recipe import Recipe
from cropzoo.config.run_dir import RunFolder
from cropzoo.data.datamodule import open_training_data
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.checkpoint import read_metadata, read_state
from cropzoo.plugins.registry import load_zoo
from cropzoo.runtime import Runtime
from cropzoo.training import fit as training
from cropzoo.training import loggers as training_loggers
from cropzoo.training.setup import Resources

PLOTS = Path(__file__).parents[2] / "cli" / "plots.py"
TINY = {"backbone": "pixelwise", "dataset": "plots", "image_size": 12, "batch_size": 4, "epochs": 1}


def train(folder: Path, loggers: tuple[str, ...] = (), **settings: Any) -> dict[str, Any]:
    zoo = load_zoo(modules=(str(PLOTS),))
    resources = Resources(zoo, load_catalog(zoo), Runtime("cpu"), lambda line: None, loggers=loggers)
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


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("steps", "epochs", "last"), [(3, 1, 3), (4, 1, 4), (5, 2, 4)])
def test_a_budget_in_steps(tmp_path: Path, steps: int, epochs: int, last: int) -> None:
    """An epoch of this dataset has four steps."""
    train(tmp_path / "run", steps=steps, epochs=9, warmup_epochs=0, baseline="none")
    lines = lines_of(tmp_path / "run")
    assert [line["epoch"] for line in lines] == list(range(epochs))
    assert lines[-1]["steps"] == last
    assert lines[-1]["lr"] < 1e-4  # the schedule ends with the budget
    stored = read_metadata(tmp_path / "run/model.safetensors").recipe["stages"][0]
    assert (stored["steps"], stored["epochs"]) == (steps, 9)


def test_a_short_training_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.WARNING, "cropzoo"):
        train(tmp_path / "short", epochs=2, baseline="none")
        assert "stage segmentation has 8 steps, and networks usually need 200 or more" in caplog.text
        caplog.clear()
        monkeypatch.setattr("cropzoo.training.stages._FEW_STEPS", 12)
        train(tmp_path / "long", epochs=3, val_fraction=0.1, baseline="none")
    assert "steps" not in caplog.text


def test_a_share_of_the_validation_tiles_is_scored_after_an_epoch(tmp_path: Path) -> None:
    zoo = load_zoo(modules=(str(PLOTS),))
    data = open_training_data(zoo, Recipe.from_mapping({**TINY, "val_fraction": 0.5, "seed": 3}, "test"))
    every = data.tiles(data.split("val"))
    share = every.draw(0.5, 3)
    assert len(share) == round(len(every) / 2) > 1
    assert share.places == [place for place in every.places if place in share.places] != every.places
    assert len(every.draw(0.01, 3)) == 1
    assert every.draw(0.5, 4).places != share.places
    batches = list(data.val_dataloader())
    assert sum(len(batch.series) for batch in batches) == len(share)
    scores = train(tmp_path / "run", val_fraction=0.5, baseline="none")
    assert scores["pixels"] == sum(data.counts["test"])


def test_the_average_of_the_weights_is_validated_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The average of four steps, computed from the weights after each of them."""
    kept: list[dict[str, torch.Tensor]] = []
    step = torch.optim.AdamW.step

    def record(optimizer: Any, *arguments: Any, **keywords: Any) -> Any:
        result = step(optimizer, *arguments, **keywords)
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        kept.append({str(tuple(each.shape)): each.detach().clone() for each in parameters})
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    train(tmp_path / "run", weight_average=0.7, baseline="none")
    state = read_state(tmp_path / "run/model.safetensors")
    assert len(kept) == 4
    name = "backbone.net.0.weight"
    shape = str(tuple(state[name].shape))
    average = kept[0][shape]
    for weights in kept[1:]:
        average = 0.7 * average + 0.3 * weights[shape]
    assert torch.allclose(state[name], average, atol=1e-6)
    assert not torch.allclose(state[name], kept[-1][shape], atol=1e-5)


def test_weights_bring_the_options_of_their_network(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(tmp_path / "first", backbone={"name": "pixelwise", "width": 7, "dropout": 0.25}, baseline="none")
    with caplog.at_level(logging.WARNING, "cropzoo"):
        train(tmp_path / "second", weights=str(tmp_path / "first"), baseline="none")
    options = {"width": 7, "dropout": 0.25, "patch_size": 3}
    assert read_metadata(tmp_path / "second/model.safetensors").backbone.options == options
    assert RunFolder(tmp_path / "second").stored_recipe()["backbone"] == {"name": "pixelwise", **options}
    assert "were trained with" not in caplog.text


def test_options_other_than_those_of_the_weights_are_kept_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path / "first", backbone={"name": "pixelwise", "width": 7, "dropout": 0.25}, baseline="none")
    changed = {"name": "pixelwise", "dropout": 0.5}
    with caplog.at_level(logging.WARNING, "cropzoo"):
        train(tmp_path / "second", weights=str(tmp_path / "first"), backbone=changed, baseline="none")
    kept = {"width": 7, "dropout": 0.5, "patch_size": 3}
    assert read_metadata(tmp_path / "second/model.safetensors").backbone.options == kept
    [line] = [line for line in caplog.messages if "were trained with" in line]
    assert (
        f"weights {tmp_path / 'first'} were trained with dropout=0.25, here 0.5; parameters of another shape are not"
        in line
    )
    assert "(--set backbone.dropout=...)" in line


def test_a_logger_without_its_package_is_reported_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_loggers, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="the package wandb is not installed"):
        train(tmp_path / "run", loggers=("csv", "wandb"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("freeze", [False, True])
def test_a_backbone_with_parts_that_are_not_trained_is_not_called_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, freeze: bool
) -> None:
    create = training.initialize_backbone

    def freeze_a_part(*arguments: Any) -> Any:
        backbone = create(*arguments)
        next(backbone.parameters()).requires_grad_(False)
        return backbone

    monkeypatch.setattr(training, "initialize_backbone", freeze_a_part)
    zoo, lines = load_zoo(modules=(str(PLOTS),)), []
    resources = Resources(zoo, load_catalog(zoo), Runtime("cpu"), lines.append)
    recipe = Recipe.from_mapping({**TINY, "freeze": freeze, "baseline": "none"}, "test")
    training.fit(recipe, RunFolder(tmp_path / "run"), resources)
    [line] = [line for line in lines if "parameters are trained" in line]
    assert ("the backbone is frozen" in line) is freeze
