"""Objectives that are trained together share one pass through the backbone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cropzoo import Backbone, Batch, Losses, Objective
from cropzoo.testing.subjects import random_batch
from cropzoo.training.auxiliary import JointObjective, SharedFeatures


class Counting(Backbone):
    """One convolution over the mean of a series; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels, self.calls = 2, 0
        self.net = nn.Conv2d(3, 2, 1)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        self.calls += 1
        features: Tensor = self.net(series.mean(dim=1))
        return features


class Square(Objective):
    """The mean square of features, which it may see of a changed series."""

    def __init__(self, backbone: Backbone, changed: bool = False) -> None:
        super().__init__(backbone)
        self.changed, self.counts = changed, torch.zeros(0)
        self.factor = nn.Parameter(torch.ones(()))

    def set_class_counts(self, counts: Tensor) -> None:
        self.counts = counts

    def forward(self, batch: Batch) -> Losses:
        if self.changed:
            batch = replace(batch, series=batch.series * 2)
        square = self.factor * self.backbone(batch.series, batch.dates, batch.valid).square().mean()
        return Losses(square, {"square": square.detach()})


def joined(changed: bool) -> tuple[JointObjective, Counting]:
    torch.manual_seed(0)
    backbone = Counting()
    shared = SharedFeatures(backbone)
    return JointObjective(Square(backbone), {"other": (Square(shared, changed), 0.5)}, shared), backbone


@pytest.mark.parametrize(("changed", "calls"), [(False, 1), (True, 2)])
def test_features_are_computed_once_for_one_series(changed: bool, calls: int) -> None:
    joint, backbone = joined(changed)
    losses = joint(random_batch(4, channels=3))
    assert backbone.calls == calls
    parts = {name: value.item() for name, value in losses.parts.items()}
    assert set(parts) == {"main", "square", "other", "other_square"}
    assert losses.total.item() == pytest.approx(parts["main"] + 0.5 * parts["other"])
    assert (parts["other"] == pytest.approx(parts["main"])) is not changed


def test_another_series_between_does_not_make_it_forget() -> None:
    backbone = Counting()
    shared = SharedFeatures(backbone)
    others = {"changed": (Square(shared, True), 1.0), "same": (Square(shared), 1.0)}
    losses = JointObjective(Square(backbone), others, shared)(random_batch(4, channels=3))
    assert backbone.calls == 2
    assert losses.parts["same"].item() == losses.parts["main"].item()


def test_a_head_is_called_as_it_is_without_others() -> None:
    backbone = Counting()
    main = Square(backbone)
    main.head = nn.Conv2d(2, 2, 1)
    shared = SharedFeatures(backbone)
    names = [name for name, _ in JointObjective(main, {"other": (Square(shared), 0.5)}, shared).named_parameters()]
    assert names[2:4] == ["head.weight", "head.bias"]


def test_nothing_is_remembered_after_the_step() -> None:
    joint, backbone = joined(False)
    batch = random_batch(4, channels=3)
    first = joint(batch).total
    with torch.no_grad():
        backbone.net.weight.mul_(2)
        backbone.net.bias.mul_(2)  # type: ignore[union-attr]
    assert joint(batch).total.item() == pytest.approx(4 * first.item())
    assert joint.shared._computed == []
    assert not backbone._forward_hooks


def test_gradients_are_the_sum() -> None:
    joint, backbone = joined(False)
    batch = random_batch(4, channels=3)
    joint(batch).total.backward()
    grad = backbone.net.weight.grad
    alone = Counting()
    alone.load_state_dict(backbone.state_dict())
    (1.5 * Square(alone)(batch).total).backward()
    torch.testing.assert_close(grad, alone.net.weight.grad)


def test_every_parameter_is_listed_once_and_under_the_backbone() -> None:
    joint, backbone = joined(False)
    names = [name for name, _ in joint.named_parameters()]
    assert names == ["backbone.net.weight", "backbone.net.bias", "main.factor", "others.other.factor"]
    kept: Any = {key: value.clone() for key, value in joint.state_dict().items()}
    joint.load_state_dict(kept)
    assert joint.backbone is backbone


def test_all_are_reported_the_counts() -> None:
    joint, _ = joined(False)
    joint.set_class_counts(torch.tensor([1, 2]))
    assert [list(each.counts) for each in (joint.main, joint.others["other"])] == [[1, 2], [1, 2]]
