"""Every backbone can be trained by mtm: what is hidden from it stays hidden, and it learns from the loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cropzoo import load_zoo
from cropzoo.config.catalog import load_catalog
from cropzoo.models.factory import Shape, create_backbone
from cropzoo.testing.backbones import BANDS
from cropzoo.testing.subjects import random_batch, random_series
from cropzoo_plugins.layers.bands import SENTINEL2
from cropzoo_plugins.objectives.mtm import MaskedTime, hide_dates, hide_patches

ZOO = load_zoo()
CATALOG = load_catalog(ZOO)
PUBLISHED = ("biconvgru", "fpn-convlstm", "unet2d-clstm", "unet3d", "unet3df", "utae")
CASES = [(name, {}) for name in ZOO.backbones if name != "composite"]  # which has no parameters
CASES += [(name, {"padding": "published"}) for name in PUBLISHED]
LENGTH = 8


@pytest.mark.parametrize(("name", "options"), CASES)
def test_hidden_values_stay_hidden_and_every_parameter_learns(name, options):
    torch.manual_seed(0)
    recipe = CATALOG[f"{name}.synthetic"].recipe
    options = {**{key: value for key, value in recipe["backbone"].items() if key != "name"}, **options}
    spec = ZOO.backbones[name].spec
    length = LENGTH if spec.fixed_length or "length" in recipe else None
    bands = SENTINEL2 if name == "tessera" else BANDS  # which works with all of its bands only
    shape = Shape(len(bands), 4, 24, length)
    backbone = create_backbone(name, shape, zoo=ZOO, options=options, bands=bands)
    objective = MaskedTime(backbone, 4)
    batch = random_batch(4, size=24, channels=len(bands), length=LENGTH)
    batch = replace(batch, dates=random_series((2, LENGTH, 1, 1, 1), spec.dates)[1])
    batch = replace(batch, dates=batch.dates * batch.valid * (spec.dates != "none"))
    losses = objective(batch)
    losses.total.backward()
    learnt = {key: value.grad for key, value in objective.named_parameters() if value.requires_grad}
    assert [key for key, grad in learnt.items() if grad is None] == []
    moved = [bool(grad.any()) for key, grad in learnt.items() if key.startswith("backbone.")]
    assert sum(moved) > len(moved) / 2  # of so few pixels some units of a ReLU see nothing
    assert all(bool(grad.isfinite().all()) for grad in learnt.values())

    objective.eval()
    dates = hide_dates(batch.valid, 0.4, None)
    patches = hide_patches(batch.series, 0.3, 6, None) & (batch.valid & ~dates)[:, :, None, None]
    hidden = (patches | dates[:, :, None, None])[:, :, None]
    other = torch.where(hidden, torch.randn(batch.series.shape) * 9, batch.series)
    with torch.no_grad():
        features = objective.visible_features(batch, dates, patches)
        blind = objective.visible_features(
            replace(batch, series=other, dates=torch.where(dates, 200, batch.dates)), dates, patches
        )
        seen = objective.visible_features(replace(batch, series=other), dates, torch.zeros_like(patches))
    assert features.shape == (2, backbone.out_channels, 24, 24)
    assert torch.equal(blind, features)
    assert not torch.allclose(seen, features)
