"""Rates, clipping and seeds of a stage, in the numbers that an optimizer sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cropzoo import Backbone, Batch, CropzooError, Losses, Objective, Sample
from cropzoo.config.recipe import Recipe
from cropzoo.data.loader import Collate, make_loader
from cropzoo.data.normalize import Normalizer
from cropzoo.data.patches import Crops, PatchOptions
from cropzoo.runtime import Runtime, make_trainer
from cropzoo.training.module import StageModule, derive_seed, learning_rate_factor

STEPS = 5
"""In an epoch: ten crops in batches of two."""


class Plain(Backbone):
    """One convolution over the mean of a series."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = 2
        self.net = nn.Conv2d(1, 2, 1)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        features: Tensor = self.net(series.mean(dim=1))
        return features


class Steep(Objective):
    """A loss whose gradient is large."""

    def forward(self, batch: Batch) -> Losses:
        return Losses(1e3 * self.backbone(batch.series, batch.dates, batch.valid).square().mean())


class Watch(pl.Callback):
    """Notes what the optimizer is about to use."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.norms: list[float] = []
        self.draws: list[float] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.draws.append(torch.rand(()).item())
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if gradients:
            self.norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))


def samples() -> Sequence[Sample]:
    series = np.random.default_rng(0).normal(1, 1, (10, 2, 1, 4, 4)).astype(np.float32)
    dates = np.array([17000, 17010], np.int32)
    return [Sample(each, dates, np.zeros((4, 4), np.uint8)) for each in series]


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., tuple[Watch, Objective]]:
    """`train(seed, clip, **stage)`: four epochs of five steps."""
    return partial(run, tmp_path)


def run(folder: Path, seed: int = 0, clip: float = 1.0, **stage: float) -> tuple[Watch, Objective]:
    torch.manual_seed(derive_seed(seed, "backbone"))
    settings = {"epochs": 4, "lr": 0.1, "lr_min": 0.01, "warmup_epochs": 1.5, **stage}
    recipe = Recipe.from_mapping(
        {"backbone": {"name": "plain"}, "dataset": {"name": "none"}, "stages": [{"objective": "steep", **settings}],
         "image_size": 4, "batch_size": 2, "seed": seed},
        "a test",
    )  # fmt: skip
    objective = Steep(Plain())
    module = StageModule(objective, Normalizer(["a"], ["a"], 1.0, [0.0], [1.0]), recipe, 0, ("x", "y"))
    loader = make_loader(Crops(samples(), PatchOptions(4), (seed, 0)), Collate("doy"), batch_size=2, stream=(seed, 0))
    watch = Watch()
    trainer = make_trainer(
        Runtime("cpu"), [watch], max_epochs=4, gradient_clip_val=clip or None, default_root_dir=folder
    )
    trainer.fit(module, loader)
    return watch, objective


def test_rate_rises_and_falls_by_step(train):
    """1.5 of 4 epochs are 8 of 20 steps; then half a cosine over the 12 that are left."""
    watch, _ = train()
    rise = [0.1 * (step + 1) / 8 for step in range(8)]
    fall = [0.01 + 0.09 * 0.5 * (1 + math.cos(math.pi * step / 12)) for step in range(12)]
    assert watch.rates == pytest.approx(rise + fall)


def test_rate_without_warm_up_starts_full(train):
    watch, _ = train(warmup_epochs=0)
    assert watch.rates[0] == pytest.approx(0.1)
    assert watch.rates[-1] > 0.01


@pytest.mark.parametrize(("step", "factor"), [(0, 0.25), (3, 1.0), (4, 1.0), (12, 0.55), (20, 0.1), (99, 0.1)])
def test_learning_rate_factor(step, factor):
    assert learning_rate_factor(step, warmup=4, steps=20, lowest=0.1) == pytest.approx(factor)


def test_warm_up_as_long_as_the_stage_never_falls():
    assert [learning_rate_factor(step, 4, 4, 0.1) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_gradients_are_clipped_to_the_norm(train):
    clipped, _ = train(clip=0.5)
    free, _ = train(clip=0)
    assert max(clipped.norms) <= 0.5 + 1e-4
    assert max(free.norms) > 10


def test_seed_repeats_exactly_and_another_differs(train):
    (one, first), (again, second), (other, third) = train(), train(), train(seed=1)
    assert torch.equal(first.backbone.net.weight, second.backbone.net.weight)
    assert not torch.equal(first.backbone.net.weight, third.backbone.net.weight)
    assert one.draws == again.draws
    assert len(set(one.draws)) == 4 * STEPS  # dropout never sees the same numbers twice
    assert not set(one.draws) & set(other.draws)


def test_derive_seed_is_stable_and_fits_torch():
    assert derive_seed(3, "backbone") == derive_seed(3, "backbone") != derive_seed("3/backbone", 0)
    assert all(0 <= derive_seed(n) < 2**63 for n in range(100))


class Normed(Objective):
    """A norm over a batch of one value."""

    def forward(self, batch: Batch) -> Losses:
        features = self.backbone(batch.series, batch.dates, batch.valid)
        return Losses(nn.functional.batch_norm(features[:1, :, :1, :1], None, None, training=True).sum())


def test_a_batch_that_leaves_a_norm_one_value_is_an_error() -> None:
    recipe = Recipe.from_mapping({"backbone": "plain", "dataset": "any"}, "a test")
    normalizer = Normalizer(("a",), ("a",), 1.0, (0.0,), (1.0,))
    module = StageModule(Normed(Plain()), normalizer, recipe, 0, ())
    batch = Batch(torch.randn(1, 2, 1, 8, 8), torch.ones(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(CropzooError, match=r"batch of 1 crop of \(8, 8\) pixels; .* use a larger image_size, or"):
        module._losses(batch)
