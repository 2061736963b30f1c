"""What is kept at the end of an epoch."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cropzoo import CropzooError
from cropzoo.models.checkpoint import read_state
from cropzoo.training.callbacks import BestWeights, EpochLog, keep_lines
from cropzoo.training.module import StageModule


class Module(StageModule):
    """A stage with nothing but what the callbacks look at."""

    def __init__(self, mode: str) -> None:
        nn.Module.__init__(self)
        self.__dict__["_monitor"] = ("val_score", mode)
        self.objective = nn.Linear(1, 1)
        self.stage = SimpleNamespace(objective="made-up", epochs=9, lr=0.4)

    @property
    def monitor(self) -> tuple[str, str]:
        return self.__dict__["_monitor"]


def trainer(epoch: int, score: float) -> SimpleNamespace:
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.5, "initial_lr": 2.0}])
    metrics = {"val_score": torch.tensor(score), "train_loss": torch.tensor(2.0)}
    facts = {"current_epoch": epoch, "num_training_batches": 7, "is_global_zero": True, "loggers": []}
    return SimpleNamespace(callback_metrics=metrics, optimizers=[optimizer], **facts)


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 0)])
def test_best_epoch_is_kept(tmp_path: Path, mode: str, best: int) -> None:
    callback, module = BestWeights(tmp_path / "best.safetensors"), Module(mode)
    for epoch, score in enumerate((0.1, 0.1, 0.7, 0.3)):
        nn.init.constant_(module.objective.weight, epoch)
        callback.on_train_epoch_end(trainer(epoch, score), module)
        callback_again = BestWeights(tmp_path / "best.safetensors")  # as a resumed run does
        callback_again.load_state_dict(callback.state_dict())
        callback = callback_again
    assert read_state(tmp_path / "best.safetensors")["weight"].item() == best
    callback.restore(module)
    assert module.objective.weight.item() == best
    assert callback.state_dict()["epoch"] == best


def test_score_that_is_no_number_stops_the_stage(tmp_path: Path) -> None:
    with pytest.raises(CropzooError, match="after epoch 4 val_score is nan"):
        BestWeights(tmp_path / "best.safetensors").on_train_epoch_end(trainer(3, float("nan")), Module("max"))


def test_line_of_an_epoch_replaces_the_one_that_a_killed_run_left(tmp_path: Path) -> None:
    path, messages = tmp_path / "metrics.jsonl", []
    older = [{"stage": "cscl", "epoch": 5}, {"stage": "made-up", "epoch": 0}, {"stage": "made-up", "epoch": 1}]
    path.write_text("".join(json.dumps(line) + "\n" for line in older))
    log = EpochLog(path, messages.append)
    log.on_train_epoch_start(trainer(1, 0.5), Module("max"))
    log.on_train_epoch_end(trainer(1, 0.5), Module("max"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[:2] == older[:2]
    assert len(lines) == 3
    assert lines[2]["val_score"] == 0.5
    assert messages[0].startswith("made-up 2/9  train loss 2  ")


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    other = trainer(1, 0.5)
    other.is_global_zero = False
    EpochLog(tmp_path / "metrics.jsonl", print).on_train_epoch_end(other, Module("max"))
    assert not (tmp_path / "metrics.jsonl").exists()
    assert keep_lines(tmp_path / "metrics.jsonl", "made-up", 1) == ""
