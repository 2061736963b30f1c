"""Which parameters a stage trains, and at what share of its rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from cropzoo.config.recipe import Recipe
from cropzoo.errors import UsageError
from cropzoo.models.base import Objective


def parameter_groups(objective: Objective, lr: float, weight_decay: float, scales: Mapping[str, float]) -> list[Any]:
    """Groups for an optimizer: weight decay on matrices alone, the rate scaled by part.

    Args:
        objective: its parameters that need a gradient are taken.
        lr: the stage's rate.
        weight_decay: of matrices.
        scales: factors of the rate by the name of a part, such as "backbone" or "backbone.over_time"; the longest
            name that fits counts.
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
    """Refuse factors that change nothing.

    Args:
        objective: of the last stage.
        scales: by the name of a part.
        freeze: the backbone stays as it is.

    Raises:
        UsageError: for a name without parameters that are trained, or a factor that is not above 0.
    """
    still = {id(parameter) for parameter in objective.backbone.parameters()} if freeze else set()
    names = [name for name, parameter in objective.named_parameters() if id(parameter) not in still]
    for part, factor in scales.items():
        if factor <= 0:
            raise UsageError(f"lr_scale.{part} is {factor!r}; it must be above 0; --freeze keeps a backbone as it is")
        if not any(_is_part(name, part) for name in names):
            known = dict.fromkeys(".".join(name.split(".")[:depth]) for depth in (1, 2) for name in names)
            raise UsageError(f"lr_scale.{part}; the stage trains no {part!r}; its parts are {', '.join(known)}")


def check_frozen(objective: Objective, recipe: Recipe) -> None:
    """Refuse to freeze a backbone beside which there is nothing to train.

    Raises:
        UsageError: naming objective and backbone.
    """
    backbone = {id(parameter) for parameter in objective.backbone.parameters()}
    if all(id(parameter) in backbone for parameter in objective.parameters()):
        raise UsageError(
            f"--freeze for {recipe.stages[-1].objective!r} with {recipe.backbone.name!r}; its head has no parameters, "
            "so nothing would be trained; leave --freeze out, or give the head something (tsvit: "
            "backbone.evidence_width=4)"
        )


def trained(objective: Objective) -> tuple[int, int]:
    """Numbers of parameters that are trained, and in all."""
    sizes = [(p.numel(), p.requires_grad) for p in objective.parameters()]
    return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)


def _scale(name: str, scales: Mapping[str, float]) -> float:
    return next((scales[part] for part in _longest_first(scales) if _is_part(name, part)), 1.0)


def _longest_first(scales: Mapping[str, float]) -> Iterator[str]:
    yield from sorted(scales, key=len, reverse=True)


def _is_part(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
