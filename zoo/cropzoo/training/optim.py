"""Parameter groups of a stage: learning rates by module, weight decay, and frozen backbones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from cropzoo.config.recipe import Recipe
from cropzoo.errors import UsageError
from cropzoo.models.base import Objective


def parameter_groups(objective: Objective, lr: float, weight_decay: float, scales: Mapping[str, float]) -> list[Any]:
    """Make the parameter groups of an optimizer, with weight decay on matrices only.

    Args:
        objective: the objective; its parameters that require a gradient are trained.
        lr: learning rate of the stage.
        weight_decay: weight decay of matrices.
        scales: factors of the learning rate by the name of a module, such as "backbone" or "backbone.over_time"; the
            longest name that matches applies.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((_scale(name, scales), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": lr * scale, "weight_decay": weight_decay if matrix else 0.0}
        for (scale, matrix), parameters in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]


def check_scales(objective: Objective, scales: Mapping[str, float], freeze: bool) -> None:
    """Check the factors of the learning rate.

    Args:
        objective: objective of the last stage.
        scales: factors by the name of a module.
        freeze: whether the backbone is frozen.

    Raises:
        UsageError: a name without trained parameters, or a factor that is not above 0.
    """
    frozen = {id(parameter) for parameter in objective.backbone.parameters()} if freeze else set()
    names = [name for name, parameter in objective.named_parameters() if id(parameter) not in frozen]
    for module, factor in scales.items():
        if factor <= 0:
            raise UsageError(
                f"lr_scale.{module} is {factor!r}; it must be above 0; use --freeze to freeze the backbone"
            )
        if not any(_is_within(name, module) for name in names):
            known = dict.fromkeys(".".join(name.split(".")[:depth]) for depth in (1, 2) for name in names)
            raise UsageError(
                f"lr_scale.{module}; the stage trains no module {module!r}; its modules are {', '.join(known)}"
            )


def check_frozen(objective: Objective, recipe: Recipe) -> None:
    """Check that a stage with a frozen backbone has parameters to train.

    Raises:
        UsageError: it has none.
    """
    backbone = {id(parameter) for parameter in objective.backbone.parameters()}
    if all(id(parameter) in backbone for parameter in objective.parameters()):
        raise UsageError(
            f"--freeze for {recipe.stages[-1].objective!r} with {recipe.backbone.name!r}; its head has no parameters, "
            "so nothing would be trained; leave --freeze out, or add parameters to the head (tsvit: "
            "backbone.evidence_width=4)"
        )


def count_parameters(objective: Objective) -> tuple[int, int]:
    """Numbers of trained parameters and of all parameters."""
    sizes = [(p.numel(), p.requires_grad) for p in objective.parameters()]
    return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)


def _scale(name: str, scales: Mapping[str, float]) -> float:
    longest_first = sorted(scales, key=len, reverse=True)
    return next((scales[module] for module in longest_first if _is_within(name, module)), 1.0)


def _is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")
