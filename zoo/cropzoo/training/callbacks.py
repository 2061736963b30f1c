"""Callbacks at the end of an epoch: metrics, best weights, and the state to resume from."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, Checkpoint, EMAWeightAveraging

from cropzoo.errors import CropzooError
from cropzoo.io import Log, atomic_write, write_text
from cropzoo.models.base import Objective
from cropzoo.models.checkpoint import read_state, save_tensors
from cropzoo.training.module import StageModule


class EpochLog(Callback):
    """Appends a line per epoch to metrics.jsonl, shows it, and passes it to the loggers, in the first process.

    Args:
        path: path of metrics.jsonl.
        log: takes the line for the user.
    """

    def __init__(self, path: Path, log: Log) -> None:
        self.path, self._report = path, log
        self._start = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line."""
        assert isinstance(pl_module, StageModule)
        if not trainer.is_global_zero:
            return
        stage = pl_module.stage
        metrics = {name: _finite(float(value)) for name, value in sorted(trainer.callback_metrics.items())}
        group = trainer.optimizers[0].param_groups[0]
        line = {
            "stage": stage.objective,
            "epoch": trainer.current_epoch,
            **metrics,
            "steps": int(trainer.num_training_batches),
            "lr": stage.lr
            * group["lr"]
            / group["initial_lr"],  # the rate of the stage, without the factor of the group
            "seconds": round(time.perf_counter() - self._start, 2),
        }
        kept = keep_lines(self.path, stage.objective, trainer.current_epoch)
        write_text(self.path, kept + json.dumps(line) + "\n")
        for logger in trainer.loggers:
            logger.log_metrics({key: line[key] for key in ("epoch", "lr", "seconds")}, step=trainer.global_step)
            logger.save()
        shown = [f"{name.replace('_', ' ')} {line[name]:.4g}" for name in _SHOWN if line.get(name) is not None]
        self._report(
            f"{stage.objective} {trainer.current_epoch + 1}/{stage.epochs}  {'  '.join(shown)}  {line['seconds']:.1f} s"
        )


_SHOWN = ("train_loss", "val_loss", "val_oa", "val_miou")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def keep_lines(path: Path, objective: str, epoch: int) -> str:
    """Lines of metrics.jsonl before an epoch, which a killed run may have written already."""
    if not path.is_file():
        return ""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["stage"] == objective and entry["epoch"] >= epoch:
            break
        kept.append(line)
    return "".join(f"{line}\n" for line in kept)


class AveragedWeights(EMAWeightAveraging):
    """Exponential moving average of weights and buffers, which takes the place of the weights in validation.

    Args:
        decay: share of the average that each step keeps.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)

    @property
    def objective(self) -> Objective:
        """The objective with the averaged weights."""
        assert self._average_model is not None
        module = self._average_model.module
        assert isinstance(module, StageModule)
        return module.objective


class BestWeights(Checkpoint):
    """Keeps the weights of the best epoch in a .safetensors file.

    Args:
        path: path of the file; `restore` reads it again.
        average: moving average of the weights, which is saved instead of the weights if there is one.
    """

    def __init__(self, path: Path, average: AveragedWeights | None = None) -> None:
        self.path, self.average = path, average
        self.best: float | None = None
        self.epoch = -1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the weights if the score is the best so far."""
        assert isinstance(pl_module, StageModule)
        name, mode = pl_module.monitor
        score = float(trainer.callback_metrics[name])
        if not math.isfinite(score):
            raise CropzooError(
                f"training {pl_module.stage.objective!r}; after epoch {trainer.current_epoch + 1} {name} is {score}; "
                "check the series of the validation split, or lower lr"
            )
        sign = 1.0 if mode == "max" else -1.0
        if self.best is not None and not sign * score > sign * self.best:
            return
        self.best, self.epoch = score, trainer.current_epoch
        if trainer.is_global_zero:
            objective = pl_module.objective if self.average is None else self.average.objective
            save_tensors(self.path, objective.state_dict())

    def restore(self, module: StageModule) -> None:
        """Load the best weights into the objective."""
        module.objective.load_state_dict(read_state(self.path))

    def state_dict(self) -> dict[str, Any]:
        """State for last.ckpt."""
        return {"best": self.best, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of last.ckpt."""
        self.best, self.epoch = state_dict["best"], state_dict["epoch"]


class LastState(Checkpoint):
    """Writes last.ckpt atomically after every epoch: Lightning's own callback may leave a truncated file when killed.

    Args:
        path: path of last.ckpt.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save all state that resuming needs; all processes take part, the first one writes."""
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.path)
            return
        with atomic_write(self.path) as scratch:
            trainer.save_checkpoint(scratch)
