"""The stages of a recipe: one Lightning run each, which starts from the backbone of the stage before."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from cropzoo.config.run_dir import RunFolder
from cropzoo.data.datamodule import DataModule
from cropzoo.errors import CropzooError, UsageError
from cropzoo.io import read_json
from cropzoo.models.base import Backbone, Objective
from cropzoo.models.fitted import FittedObjective
from cropzoo.models.objectives import build_objective
from cropzoo.parallel import get_world_size
from cropzoo.runtime import interruptible, make_trainer
from cropzoo.training.auxiliary import JointObjective, SharedFeatures
from cropzoo.training.callbacks import AveragedWeights, BestWeights, EpochLog, LastState
from cropzoo.training.fitted import fit_stage
from cropzoo.training.loggers import RunLoggers
from cropzoo.training.module import StageModule, derive_seed
from cropzoo.training.optim import check_frozen, check_scales, count_parameters
from cropzoo.training.setup import Resources

_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class StageRunner:
    """Trains the stages of a recipe.

    Args:
        data: data module, with the recipe.
        backbone: the network that all stages train, in place.
        folder: run folder, with the state to resume from if there is one.
        resources: plugins, device and log.
    """

    data: DataModule
    backbone: Backbone
    folder: RunFolder
    resources: Resources

    def check(self) -> None:
        """Build the objective of every stage once, so that an error in the last stage is reported before training.

        Raises:
            UsageError: an objective does not accept its options, or the last stage has rates for unknown modules,
                nothing to train next to a frozen backbone, or labels but no head.
        """
        recipe, stages = self.data.recipe, self.data.recipe.stages
        last = [self._build_objective(number) for number in range(len(stages))][-1]
        if isinstance(last, FittedObjective):
            return
        check_scales(last, recipe.lr_scale, recipe.freeze)
        if recipe.freeze:
            check_frozen(last, recipe)
        if last.head is None and self.resources.zoo.objectives[stages[-1].objective].spec.needs_labels:
            raise UsageError(
                f"the last stage, {stages[-1].objective!r}, trains no head, so nothing can be scored; "
                "pre-train with it (--pretrain), and finish with an objective that has a head, such as segmentation"
            )

    def check_processes(self, resume: bool) -> None:
        """Check that the processes of this run share a batch equally, and that a resumed run has as many as before.

        Another number would change the order of the patches, the random numbers and the number of steps.

        Args:
            resume: whether the run is resumed.

        Raises:
            UsageError: the batch size is not a multiple of the number of processes, or the run had another number.
        """
        processes, batch = get_world_size(), self.data.recipe.batch_size
        if batch % processes:
            raise UsageError(
                f"training with batch_size={batch} in {processes} processes; batch_size counts the crops of all "
                f"processes together, and they need equal shares; use --batch-size {-(-batch // processes) * processes}"
            )
        state = _read_last_state(self.folder) if resume else None
        before = processes if state is None else state["cropzoo"].get("processes") or _recorded_processes(self.folder)
        if before != processes:
            raise UsageError(
                f"--resume {str(self.folder.path)!r} in {_count_processes(processes)}; the run was trained in "
                f"{_count_processes(before)}, and another number changes its result; start as many as before, or a new "
                "run with --name"
            )

    def train(self, loggers: RunLoggers) -> Objective:
        """Train every stage that is not finished yet.

        Args:
            loggers: loggers of the run, which are opened for each stage.

        Returns:
            The last stage's objective with the weights of its best epoch.
        """
        recipe, log = self.data.recipe, self.resources.log
        state = _read_last_state(self.folder)
        reached = -1 if state is None else int(state["cropzoo"]["stage"])
        objective: Objective | None = None
        for number, stage in enumerate(recipe.stages):
            if number < reached:
                continue
            torch.manual_seed(derive_seed(recipe.seed, "objective", number))
            objective = self._build_objective(number)
            if isinstance(objective, FittedObjective):
                log(f"stage {number + 1} of {len(recipe.stages)}: {stage.objective}, fitted to frozen features")
                fit_stage(objective, self.data, number, self.resources, self.folder.epochs)
                continue
            module = StageModule(objective, self.data.normalizer, recipe, number, self.data.class_names)
            self.data.stage = number
            steps = len(self.data.train_dataloader())
            module.stage = stage.fit_epochs(steps)
            average = AveragedWeights(recipe.weight_average) if recipe.weight_average else None
            best = BestWeights(self.folder.best(number), average)
            log(_describe(module, steps))
            if (total := module.stage.count_steps(steps)) < _FEW_STEPS:
                _log.warning(
                    "stage %s has %d steps, and networks usually need %d or more; set --steps, or more epochs",
                    stage.objective,
                    total,
                    _FEW_STEPS,
                )
            resuming = state is not None and number == reached
            if not (resuming and state is not None and _is_finished(state, module.stage.epochs)):
                self._fit(module, best, loggers, steps, resuming)
            best.restore(module)
        assert objective is not None
        return objective

    def _fit(self, module: StageModule, best: BestWeights, loggers: RunLoggers, steps: int, resuming: bool) -> None:
        """Train a stage whose epochs have `steps` steps, from last.ckpt if it is resumed."""
        recipe, folder = self.data.recipe, self.folder
        callbacks: list[Callback] = [EpochLog(folder.epochs, self.resources.log), best]
        if best.average is not None:
            callbacks.append(best.average)
        if recipe.patience:
            name, mode = module.monitor
            callbacks.append(EarlyStopping(name, mode=mode, patience=recipe.patience))
        callbacks.append(LastState(folder.last))  # last, so that it includes the state of the others
        trainer = make_trainer(
            self.resources.runtime,
            callbacks,
            loggers=loggers.open(module.number),
            max_epochs=module.stage.epochs,
            limit_train_batches=module.stage.count_steps(steps) // module.stage.epochs,
            precision=recipe.precision,
            gradient_clip_val=recipe.gradient_clip_norm or None,
            default_root_dir=folder.path,
        )
        resume_from = folder.last if resuming else None
        with interruptible():
            trainer.fit(module, datamodule=self.data, ckpt_path=resume_from, weights_only=True)

    def _build_objective(self, number: int) -> Objective:
        """Build the objective of a stage with its auxiliary objectives, and set their class counts."""
        stage = self.data.recipe.stages[number]
        zoo, classes = self.resources.zoo, len(self.data.classes)
        objective = build_objective(zoo, stage.objective, self.backbone, classes, stage.options)
        if stage.auxiliary:
            shared = SharedFeatures(self.backbone)
            others = {
                each.objective: (build_objective(zoo, each.objective, shared, classes, each.options), each.weight)
                for each in stage.auxiliary
            }
            objective = JointObjective(objective, others, shared)
        objective.set_class_counts(torch.tensor(self.data.counts["train"], dtype=torch.int64))
        return objective


_FEW_STEPS = 200
"""Steps below which a training is usually too short."""


def _describe(module: StageModule, steps: int) -> str:
    """One line about a stage: its objectives, epochs and their steps, what it starts from, and what it trains."""
    stage, stages = module.stage, module.recipe.stages
    line = f"stage {module.number + 1} of {len(stages)}: {stage.objective}"
    for auxiliary in stage.auxiliary:
        line += f" + {auxiliary.weight:g} {auxiliary.objective}"
    length = stage.count_steps(steps) // stage.epochs
    line += f", {stage.epochs} epoch{'s' if stage.epochs > 1 else ''} of {length} step{'s' if length > 1 else ''}"
    if module.number:
        line += f"; starts from the backbone of {stages[module.number - 1].objective}"
    trained, total = count_parameters(module.objective)
    if trained == total:
        return line
    line += f"; {trained:,} of {total:,} parameters are trained"
    return f"{line}, the backbone is frozen" if module.frozen else line


def _read_last_state(folder: RunFolder) -> dict[str, Any] | None:
    """Read last.ckpt; None if no epoch has finished yet."""
    if not folder.last.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(folder.last, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that is not its own
        raise CropzooError(f"cannot resume from {str(folder.last)!r}; {error}; restart with --overwrite") from error
    return state


def _recorded_processes(folder: RunFolder) -> int:
    """Number of processes in environment.json, for a state that was written by version 0.1."""
    return int(read_json(folder.environment).get("processes", 1)) if folder.environment.is_file() else 1


def _count_processes(number: int) -> str:
    return f"{number} process{'es' if number > 1 else ''}"


def _is_finished(state: dict[str, Any], epochs: int) -> bool:
    """Whether the stage of a state was stopped early, or has trained all its epochs."""
    return bool(state["cropzoo"]["stopped"]) or int(state["epoch"]) + 1 >= epochs
