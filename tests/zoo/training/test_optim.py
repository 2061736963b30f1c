"""Which parameters are trained, and how fast."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cropzoo import Batch, Losses, Objective, UsageError
from cropzoo.config.recipe import Recipe
from cropzoo.data.normalize import Normalizer
from cropzoo.testing.objectives import MeanOverTime
from cropzoo.training.module import StageModule
from cropzoo.training.optim import check_scales, parameter_groups


class Headed(Objective):
    """A backbone and a head with a norm."""

    def __init__(self, head: nn.Module | None = None) -> None:
        super().__init__(MeanOverTime())
        self.backbone.layers.append(nn.BatchNorm2d(6))  # type: ignore[union-attr,operator]
        self.head = nn.Conv2d(6, 2, 1) if head is None else head

    def forward(self, batch: Batch) -> Losses:
        raise AssertionError("never called here")


def module(objective: Objective, number: int = 1, **values: Any) -> StageModule:
    base = {"backbone": "tsvit", "dataset": "synthetic", "pretrain": "cscl", **values}
    recipe = Recipe.from_mapping(base, "a file")
    normalizer = Normalizer("a", "a", 1.0, (0.0,), (1.0,))
    return StageModule(objective, normalizer, recipe, number, ("a", "b"))


def rates(objective: Objective, scales: dict[str, float]) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    groups = parameter_groups(objective, 0.1, 0.01, scales)
    return {names[id(p)]: (round(g["lr"], 9), g["weight_decay"]) for g in groups for p in g["params"]}


def test_the_longest_name_that_fits_gives_the_factor() -> None:
    found = rates(Headed(), {"backbone": 0.1, "backbone.layers.0": 2.0})
    assert found["head.weight"] == (0.1, 0.01)
    assert found["head.bias"] == (0.1, 0.0)
    assert found["backbone.layers.2.weight"] == (0.01, 0.01)
    assert found["backbone.layers.0.weight"] == (0.2, 0.01)
    assert len(found) == len(list(Headed().parameters()))


@pytest.mark.parametrize(
    ("scales", "freeze", "message"),
    [
        ({"spine": 0.1}, False, "the stage trains no module 'spine'; its modules are backbone"),
        ({"backbone": 0.0}, False, "use --freeze"),
        ({"backbone": 0.1}, True, "the stage trains no module 'backbone'; its modules are head"),
    ],
)
def test_factors_that_change_nothing_are_refused(scales: dict[str, float], freeze: bool, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_scales(Headed(), scales, freeze)


def test_a_frozen_backbone_gets_no_gradient_and_keeps_its_norms() -> None:
    objective = Headed()
    frozen = module(objective, freeze=True)
    assert set(rates(objective, {})) == {"head.weight", "head.bias"}
    for mode in (True, False, True):
        frozen.train(mode)
        assert not objective.backbone.layers[-1].training  # type: ignore[index,union-attr]
        assert objective.head is not None
        assert objective.head.training is mode
    norm = objective.backbone.layers[-1]  # type: ignore[index]
    before = norm.running_mean.clone()  # type: ignore[union-attr,operator]
    series = torch.randn(2, 3, 3, 4, 4)
    objective.backbone(series, torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(norm.running_mean, before)  # type: ignore[union-attr,arg-type]


def test_stages_before_the_last_are_trained_whole() -> None:
    objective = Headed()
    first = module(objective, number=0, freeze=True, lr_scale={"backbone": 0.5})
    assert first.scales == {}
    assert len(rates(objective, {})) == len(list(objective.parameters()))


def test_freezing_what_has_no_head_leaves_nothing() -> None:
    with pytest.raises(UsageError, match="nothing would be trained"):
        module(Headed(nn.Identity()), freeze=True)
