"""The Lightning module of a training stage: objective, optimizer, learning-rate schedule and validation scores."""

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
from cropzoo.errors import CropzooError, warn_once
from cropzoo.evaluation.metrics import Scorer
from cropzoo.models.base import Losses, Objective
from cropzoo.training.auxiliary import JointObjective
from cropzoo.training.optim import check_frozen, check_scales, parameter_groups


def derive_seed(*parts: object) -> int:
    """Derive a seed in [0, 2**63) from some values; it is the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def learning_rate_factor(step: int, warmup: int, steps: int, lowest: float) -> float:
    """Learning rate of a step as a fraction of the full rate.

    Args:
        step: the step, from 0.
        warmup: number of steps of the linear warm-up.
        steps: number of all steps; after the warm-up the rate follows half a cosine.
        lowest: factor of the last step.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * progress))


class StageModule(pl.LightningModule):
    """Trains the objective of one stage of a recipe.

    Args:
        objective: the objective, which has the backbone.
        normalizer: module that normalizes a batch.
        recipe: the recipe.
        number: index of the stage; the recipe's `freeze` and `lr_scale` apply to the last one.
        classes: names of the classes, for the validation scores of an objective with a head.

    Raises:
        UsageError: nothing is left to train, or `lr_scale` names an unknown module.
    """

    def __init__(
        self, objective: Objective, normalizer: Normalizer, recipe: Recipe, number: int, classes: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.objective, self.normalizer = objective, normalizer
        self.recipe, self.number, self.stage = recipe, number, recipe.stages[number]
        self.scorer = Scorer(classes, detail=False) if objective.head is not None else None
        self._finite = torch.ones((), dtype=torch.bool)
        self._learns = False
        names = objective.weights if isinstance(objective, JointObjective) else ()
        self._idle = {name: torch.ones((), dtype=torch.bool) for name in names}
        self.last = number == len(recipe.stages) - 1
        self.scales = recipe.lr_scale if self.last else {}
        self.frozen = recipe.freeze and self.last
        if self.frozen:
            check_frozen(objective, recipe)
            objective.backbone.requires_grad_(False)
        check_scales(objective, self.scales, self.frozen)
        if objective.backbone.inputs:
            objective.backbone.register_forward_pre_hook(self._check_inputs, with_kwargs=True)
        self.train()

    def _check_inputs(self, backbone: nn.Module, arguments: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        """Refuse an objective that calls the backbone without inputs that evaluation passes."""
        missing = [name for name in self.objective.backbone.inputs if name not in inputs]
        if missing:
            raise CropzooError(
                f"training {self.stage.objective!r}; it calls the backbone {self.recipe.backbone.name!r} without its "
                f"inputs {', '.join(missing)}; the objective must call self.features(batch) instead of self.backbone"
            )

    def train(self, mode: bool = True) -> StageModule:
        """Set the mode of all modules except a frozen backbone, which stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.objective.backbone.eval()
        return self

    @property
    def monitor(self) -> tuple[str, str]:
        """Name of the metric that selects the best weights, and whether "max" or "min" is best."""
        return ("val_miou", "max") if self.scorer is not None else ("val_loss", "min")

    def on_train_epoch_start(self) -> None:
        """Reset the check for losses that are not finite."""
        self._finite = torch.ones((), dtype=torch.bool, device=self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout and the like for each step, so that a resumed run repeats an uninterrupted one."""
        torch.manual_seed(derive_seed(self.recipe.seed, self.number, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The total loss of a batch."""
        batch = self.normalizer(batch)
        losses = self._losses(batch)
        self._finite &= losses.total.detach().isfinite()  # read once per epoch: a GPU would wait at every step
        if self.current_epoch == 0:
            self._idle = {name: idle.to(self.device) & (losses.parts[name] == 0) for name, idle in self._idle.items()}
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
                "pixels; a normalization layer gets one value per channel; use a larger image_size, or a batch_size "
                "that leaves no such batch at the end of an epoch"
            ) from error
        return losses

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Note whether any step has a gradient; after the first one that has, nothing is computed."""
        if not self._learns:
            gradients = (parameter.grad for group in optimizer.param_groups for parameter in group["params"])
            self._learns = any(gradient is not None and bool(gradient.any()) for gradient in gradients)

    def on_validation_epoch_start(self) -> None:
        """Stop a training whose loss is not finite, which no later epoch can recover, or that learns nothing.

        An auxiliary objective without a loss in the first epoch is warned about.

        Raises:
            CropzooError: a loss of this epoch was NaN or infinite, or all gradients of the first epoch were zero.
        """
        if not bool(self._finite):
            raise CropzooError(
                f"training {self.stage.objective!r} in epoch {self.current_epoch + 1}; the loss is NaN or infinite; "
                f"lower the rate (lr is {self.stage.lr:g}) or warm up longer (warmup_epochs), and check the series"
            )
        if self.current_epoch == 0 and not self._learns:
            raise CropzooError(
                f"training {self.stage.objective!r}; the gradient is zero in all steps of the first epoch, so that "
                "nothing is learned: no crop has what the objective compares, such as labeled pixels, or labeled "
                "pixels next to each other; check the labels and the size of the samples"
            )
        for name in [name for name, idle in self._idle.items() if self.current_epoch == 0 and bool(idle)]:
            warn_once(
                f"the auxiliary objective {name!r} has a loss of 0 in all steps of the first epoch and trains nothing; "
                "check the labels, the size of the samples, and the options of the objective"
            )

    def validation_step(self, batch: Batch, index: int) -> None:
        """Log the loss of a batch and, with a head, add it to the scores."""
        batch = self.normalizer(batch)
        losses = self.objective(batch)
        self.log("val_loss", losses.total, batch_size=len(batch.series), sync_dist=True)
        if self.scorer is not None:
            logits = losses.logits
            if logits is None:
                head = self.objective.head
                assert isinstance(head, nn.Module)
                logits = head(self.objective.features(batch))
            self.scorer.update(logits, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the split."""
        if self.scorer is None:
            return
        scores = self.scorer.compute()
        self.scorer.reset()
        self.log_dict({"val_oa": scores["oa"], "val_miou": scores["miou"], "val_macro_f1": scores["macro_f1"]})

    def configure_optimizers(self) -> Any:
        """AdamW with weight decay on matrices only, and the stage's schedule by step."""
        stage = self.stage
        groups = parameter_groups(self.objective, stage.lr, stage.weight_decay, self.scales)
        optimizer = torch.optim.AdamW(groups, lr=stage.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = min(round(stage.warmup_epochs * steps / stage.epochs), steps)
        lowest = min(stage.lr_min / stage.lr, 1.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, warmup, steps, lowest)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the number of the stage, of processes, and whether it was stopped early to Lightning's state."""
        stopped = bool(self.trainer.should_stop)
        checkpoint["cropzoo"] = {"stage": self.number, "stopped": stopped, "processes": self.trainer.world_size}
