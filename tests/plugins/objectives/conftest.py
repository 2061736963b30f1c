"""Backbone with given features, and common checks of objectives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cropzoo import Backbone, Batch, Losses, Objective


class Features(Backbone):
    """Backbone that returns its input times a trainable factor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        return series[:, 0] * self.scale


def make_batch(features: Tensor, labels: Tensor | None, parcels: Tensor | None = None) -> Batch:
    dates = torch.zeros(len(features), 1, dtype=torch.int64)
    return Batch(features[:, None], dates, dates == 0, labels, parcels)


def _learns_nothing(objective: Objective, losses: Losses) -> None:
    losses.total.backward()
    assert losses.total.item() == 0
    assert all(part.item() == 0 for part in losses.parts.values())
    for name, value in objective.named_parameters():
        assert value.grad is not None, name
        assert not value.grad.any(), name


def _agrees_in_bfloat16(objective: Objective, **tolerance: float) -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(2, 16, 6, 6), torch.randint(0, 3, (2, 6, 6))
    wanted = objective(make_batch(features, labels)).total
    leaf = features.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = objective(make_batch(leaf, labels)).total
    total.backward()
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(wanted.item(), **tolerance)
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


@pytest.fixture
def features_of() -> type[Backbone]:
    """`features_of(channels)` is a backbone that returns the features of `batch_of(features, ...)`."""
    return Features


@pytest.fixture
def batch_of() -> Callable[..., Batch]:
    """`batch_of(features, labels, parcels=None)` is a batch of features (B, D, H, W) and maps (B, H, W)."""
    return make_batch


@pytest.fixture
def check_nothing_learnt() -> Callable[..., Any]:
    """`check_nothing_learnt(objective, losses)` checks that the loss and all gradients are zero."""
    return _learns_nothing


@pytest.fixture
def check_float32() -> Callable[..., Any]:
    """`check_float32(objective, **tolerance)` checks that bfloat16 features give the same loss as float32 features."""
    return _agrees_in_bfloat16
