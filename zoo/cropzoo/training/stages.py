"""The stages of a recipe, one after another, each on from where it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from cropzoo.config.run_dir import RunFolder
from cropzoo.data.datamodule import Materials
from cropzoo.data.loader import make_loader
from cropzoo.data.patches import Crops, Tiles
from cropzoo.errors import CropzooError, UsageError
from cropzoo.io import Log
from cropzoo.models.base import Backbone, Objective
from cropzoo.parallel import get_rank, get_world_size
from cropzoo.runtime import Runtime, interruptible, make_trainer
from cropzoo.training.auxiliary import Joint, SharedFeatures
from cropzoo.training.callbacks import BestWeights, EpochLog, LastState
from cropzoo.training.module import StageModule, seed_from
from cropzoo.training.optim import check_frozen, check_scales, trained


def check_stages(materials: Materials, backbone: Backbone) -> None:
    """Build the objective of every stage once: what is wrong with the last one is told before the first one trains.

    Raises:
        UsageError: for options that an objective does not take; for a last stage that has rates for parts that are not
            there, nothing to train beside a frozen backbone, or labels but no head.
    """
    recipe, stages = materials.recipe, materials.recipe.stages
    last = [_objective(materials, backbone, number) for number in range(len(stages))][-1]
    check_scales(last, recipe.lr_scale, recipe.freeze)
    if recipe.freeze:
        check_frozen(last, recipe)
    if last.head is None and materials.zoo.objectives[stages[-1].objective].spec.needs_labels:
        raise UsageError(
            f"the last stage, {stages[-1].objective!r}, trains no head, so nothing can be scored; "
            "pre-train with it (--pretrain) and end on an objective with a head, such as segmentation"
        )


def train_stages(
    materials: Materials, backbone: Backbone, folder: RunFolder, runtime: Runtime, tell: Log | None
) -> Objective:
    """Run every stage that has not ended yet.

    Args:
        materials: data and recipe.
        backbone: the one network that all stages train, in place.
        folder: holds the state to resume from, if there is one.
        runtime: device and workers.
        tell: takes lines of progress; None in a process that is not the first.

    Returns:
        The last stage's objective with the weights of its best epoch.
    """
    state = _last_state(folder)
    reached = -1 if state is None else int(state["cropzoo"]["stage"])
    objective: Objective | None = None
    for number, stage in enumerate(materials.recipe.stages):
        if number < reached:
            continue
        torch.manual_seed(seed_from(materials.recipe.seed, "objective", number))
        objective = _objective(materials, backbone, number)
        module = StageModule(objective, materials.normalizer, materials.recipe, number, materials.classes)
        best = BestWeights(folder.best(number))
        resumed = state is not None and number == reached
        if tell is not None:
            tell(_describe(module))
        if not (resumed and state is not None and _ended(state, stage.epochs)):
            _train(materials, module, best, folder, runtime, tell, resumed)
        best.restore(module)
    assert objective is not None
    return objective


def _objective(materials: Materials, backbone: Backbone, number: int) -> Objective:
    """The objective of a stage, with those that join it, told the classes' pixels."""
    stage = materials.recipe.stages[number]
    objective = _build(materials, backbone, stage.objective, stage.options)
    if stage.auxiliary:
        shared = SharedFeatures(backbone)
        others = {
            each.objective: (_build(materials, shared, each.objective, each.options), each.weight)
            for each in stage.auxiliary
        }
        objective = Joint(objective, others, shared)
    objective.set_class_counts(materials.counts)
    return objective


def _build(materials: Materials, backbone: Backbone, name: str, options: Mapping[str, Any]) -> Objective:
    entry = materials.zoo.objectives[name]
    objective = entry.build(backbone, len(materials.classes), **options)
    if not isinstance(objective, Objective):
        raise CropzooError(
            f"objective {name!r} of plugin {entry.owner.name!r}: its factory returned "
            f"{type(objective).__name__}; it must return a cropzoo.Objective"
        )
    return objective


def _describe(module: StageModule) -> str:
    """What a stage does, in a line: its epochs, what goes on from the stage before, what is trained."""
    stage, stages = module.stage, module.recipe.stages
    line = f"stage {module.number + 1} of {len(stages)}: {stage.objective}"
    for joined in stage.auxiliary:
        line += f" + {joined.weight:g} {joined.objective}"
    line += f", {stage.epochs} epoch{'s' if stage.epochs > 1 else ''}"
    if module.number:
        line += f"; the backbone goes on from {stages[module.number - 1].objective}, the rest is new"
    some, of = trained(module.objective)
    return line if some == of else f"{line}; {some:,} of {of:,} parameters are trained, the backbone stays as it is"


def _train(
    materials: Materials,
    module: StageModule,
    best: BestWeights,
    folder: RunFolder,
    runtime: Runtime,
    tell: Log | None,
    resumed: bool,
) -> None:
    recipe, stage = materials.recipe, module.stage
    rank, processes = get_rank(), get_world_size()
    shared: dict[str, Any] = {
        "batch_size": recipe.batch_size,
        "workers": runtime.workers,
        "rank": rank,
        "world": processes,
    }
    stream = (recipe.seed, module.number)
    crops = Crops(materials.splits["train"], recipe, stream)
    train = make_loader(crops, materials.collate, stream=stream, **shared)
    val = make_loader(Tiles(materials.splits["val"], recipe), materials.collate, **shared)
    callbacks: list[Callback] = [EpochLog(folder.epochs, tell), best]
    if recipe.patience:
        name, mode = module.monitor
        callbacks.append(EarlyStopping(name, mode=mode, patience=recipe.patience))
    callbacks.append(LastState(folder.last))  # last, so that it holds what the others have seen
    trainer = make_trainer(
        runtime,
        callbacks,
        max_epochs=stage.epochs,
        precision=recipe.precision,
        gradient_clip_val=recipe.gradient_clip_norm or None,
        default_root_dir=folder.path,
    )
    with interruptible():
        trainer.fit(module, train, val, ckpt_path=folder.last if resumed else None, weights_only=True)


def _last_state(folder: RunFolder) -> dict[str, Any] | None:
    """What last.ckpt says, or None where no epoch has ended yet."""
    if not folder.last.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(folder.last, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that is not its own
        raise CropzooError(f"cannot resume from {str(folder.last)!r}; {error}; start anew with --overwrite") from error
    return state


def _ended(state: dict[str, Any], epochs: int) -> bool:
    return bool(state["cropzoo"]["stopped"]) or int(state["epoch"]) + 1 >= epochs
