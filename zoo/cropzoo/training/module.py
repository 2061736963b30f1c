"""One stage as Lightning sees it: an objective, its optimizer, its validation score."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from cropzoo.config.recipe import Recipe
from cropzoo.data.batch import Batch
from cropzoo.data.normalize import Normalizer
from cropzoo.errors import CropzooError
from cropzoo.evaluation.metrics import Scorer
from cropzoo.models.base import Losses, Objective
from cropzoo.training.optim import check_frozen, check_scales, parameter_groups


def seed_from(*parts: object) -> int:
    """A number in [0, 2**63) that stands for these values, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def rate_factor(step: int, warmup: int, steps: int, floor: float) -> float:
    """Share of the full rate at a step: a linear rise over `warmup` steps, then a cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


class StageModule(pl.LightningModule):
    """Trains `objective` by one stage of a recipe.

    Args:
        objective: what is minimized; holds the backbone.
        normalizer: from stored numbers to the network's.
        recipe: all settings.
        number: which of the recipe's stages; the last one follows the recipe's `freeze` and `lr_scale`.
        classes: names, for the validation scores of an objective with a head.

    Raises:
        UsageError: where nothing is left to train, or `lr_scale` names a part that is not there.
    """

    def __init__(
        self, objective: Objective, normalizer: Normalizer, recipe: Recipe, number: int, classes: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.objective, self.normalizer = objective, normalizer
        self.recipe, self.number, self.stage = recipe, number, recipe.stages[number]
        self.scorer = Scorer(classes, detail=False) if objective.head is not None else None
        self._finite = torch.ones((), dtype=torch.bool)
        self.last = number == len(recipe.stages) - 1
        self.scales = recipe.lr_scale if self.last else {}
        self.frozen = recipe.freeze and self.last
        if self.frozen:
            check_frozen(objective, recipe)
            objective.backbone.requires_grad_(False)
        check_scales(objective, self.scales, self.frozen)
        self.train()

    def train(self, mode: bool = True) -> StageModule:
        """Set the mode of everything but a frozen backbone, whose norms and dropout stay as in evaluation."""
        super().train(mode)
        if self.frozen:
            self.objective.backbone.eval()
        return self

    @property
    def monitor(self) -> tuple[str, str]:
        """What picks the weights, and whether "max" or "min" of it is best."""
        return ("val_miou", "max") if self.scorer is not None else ("val_loss", "min")

    def on_train_epoch_start(self) -> None:
        """No step of this epoch has failed yet."""
        self._finite = torch.ones((), dtype=torch.bool, device=self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout and the like start each step from its own seed, so that a resumed run goes on as it would have."""
        torch.manual_seed(seed_from(self.recipe.seed, self.number, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The total loss of a batch."""
        batch = self.normalizer(batch)
        losses = self._losses(batch)
        self._finite &= losses.total.detach().isfinite()  # read once an epoch: a GPU would wait at every step
        self.log_dict(
            {"train_loss": losses.total.detach(), **{f"train_{k}": v.detach() for k, v in losses.parts.items()}},
            on_step=False,
            on_epoch=True,
            batch_size=len(batch.series),
            sync_dist=True,
        )
        return losses.total

    def _losses(self, batch: Batch) -> Losses:
        try:
            losses: Losses = self.objective(batch)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            crops, size = len(batch.series), tuple(batch.series.shape[-2:])
            raise CropzooError(
                f"training {self.stage.objective!r} on a batch of {crops} crop{'s' if crops > 1 else ''} of {size} "
                "pixels; a norm of this network is left with one value a channel; use a larger image_size, or a "
                "batch_size that leaves no such batch at the end of an epoch"
            ) from error
        return losses

    def on_validation_epoch_start(self) -> None:
        """Stop a training that has left the numbers: no later epoch can bring it back.

        Raises:
            CropzooError: when a loss of this epoch was NaN or infinite.
        """
        if not bool(self._finite):
            raise CropzooError(
                f"training {self.stage.objective!r} in epoch {self.current_epoch + 1}; the loss is NaN or infinite; "
                f"lower the rate (lr is {self.stage.lr:g}) or warm up longer (warmup_epochs), and check the series"
            )

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss and, with a head, scores of a batch."""
        batch = self.normalizer(batch)
        losses = self.objective(batch)
        self.log("val_loss", losses.total, batch_size=len(batch.series), sync_dist=True)
        if self.scorer is not None:
            logits = losses.logits
            if logits is None:
                head = self.objective.head
                assert isinstance(head, nn.Module)
                logits = head(self.objective.backbone(batch.series, batch.dates, batch.valid))
            self.scorer.update(logits, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole split."""
        if self.scorer is None:
            return
        scores = self.scorer.compute()
        self.scorer.reset()
        self.log_dict({"val_oa": scores["oa"], "val_miou": scores["miou"], "val_macro_f1": scores["macro_f1"]})

    def configure_optimizers(self) -> Any:
        """AdamW, weight decay on matrices alone, with the stage's schedule by step."""
        stage = self.stage
        groups = parameter_groups(self.objective, stage.lr, stage.weight_decay, self.scales)
        optimizer = torch.optim.AdamW(groups, lr=stage.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = min(round(stage.warmup_epochs * steps / stage.epochs), steps)
        floor = min(stage.lr_min / stage.lr, 1.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, warmup, steps, floor))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Beside Lightning's own state: which stage this is and whether it was stopped early."""
        checkpoint["cropzoo"] = {"stage": self.number, "stopped": bool(self.trainer.should_stop)}
