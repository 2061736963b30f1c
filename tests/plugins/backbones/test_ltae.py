"""L-TAE on individual pixels: no spatial context, padding and options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cropzoo import UsageError, create_model
from cropzoo_plugins.backbones.ltae import LTAE

SMALL: dict[str, Any] = {"width": 16, "heads": 4, "model_dim": 32, "key_dim": 3}


def build(**options: Any) -> LTAE:
    torch.manual_seed(1)
    return LTAE(**{"in_channels": 3, "classes": 4, **SMALL, **options}).eval()


def inputs(batch: int = 2, length: int = 5, height: int = 4, width: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    dates = torch.randint(0, 430, (batch, length)).sort(dim=1).values
    return torch.randn(batch, length, 3, height, width), dates, torch.ones(batch, length, dtype=torch.bool)


def test_neighbors_have_no_influence() -> None:
    backbone, (series, dates, valid) = build(), inputs()
    before = backbone(series, dates, valid)
    series[0, :, :, 1, 2] += 1
    changed = (backbone(series, dates, valid) != before).any(1)
    assert changed.nonzero().tolist() == [[0, 1, 2]]


def test_pixels_that_change_places_take_their_features_along() -> None:
    backbone, (series, dates, valid) = build(), inputs()
    torch.testing.assert_close(backbone(series.flip(3, 4), dates, valid), backbone(series, dates, valid).flip(2, 3))


def test_what_stands_at_invalid_dates_changes_nothing() -> None:
    backbone, (series, dates, valid) = build(), inputs()
    valid[0, 2] = valid[1, 3:] = False
    before = backbone(series, dates, valid)
    series[0, 2], series[1, 3:], dates[~valid] = torch.nan, torch.inf, 10**6
    assert torch.equal(backbone(series, dates, valid), before)


def test_a_padded_date_is_as_good_as_absent_wherever_it_stands() -> None:
    backbone, (series, dates, valid) = build(), inputs()
    valid[0, 2] = valid[1, 3:] = False
    features = backbone(series, dates, valid)
    for i in range(2):
        short = backbone(series[i : i + 1, valid[i]], dates[i : i + 1, valid[i]], valid[i : i + 1, valid[i]])
        torch.testing.assert_close(features[i : i + 1], short, atol=1e-5, rtol=0)


def test_in_training_padding_has_no_part_in_the_statistics_of_the_bands() -> None:
    series, dates, valid = inputs()
    valid[1, 3:] = False
    padded, short = build().train(), build().train()
    padded(series, dates, valid)
    series[1, 3:] = 100
    short(series, dates, valid)
    assert padded.embed_norm.running_mean is not None
    assert torch.equal(padded.embed_norm.running_mean, short.embed_norm.running_mean)
    assert padded.embed_norm.running_mean.any()


def test_the_order_of_dates_matters_through_their_days_alone() -> None:
    backbone, (series, dates, valid) = build(), inputs()
    features = backbone(series, dates, valid)
    torch.testing.assert_close(backbone(series.flip(1), dates.flip(1), valid), features, atol=1e-5, rtol=0)
    assert (backbone(series.flip(1), dates, valid) - features).abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 7, 3, 5), (3, 2, 1, 9)])
def test_any_length_and_any_image(shape: tuple[int, int, int, int]) -> None:
    features = build()(*inputs(*shape))
    assert features.shape == (shape[0], 16, *shape[2:])
    assert features.isfinite().all()


def test_every_parameter_gets_a_gradient_in_training() -> None:
    model = create_model("ltae", in_channels=3, classes=4, **SMALL).train()
    series, dates, valid = inputs()
    valid[1, 3:] = False
    (model(series, dates, valid) * torch.randn(2, 4, 4, 6)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_in_bfloat16_autocast_it_is_near() -> None:
    backbone, batch = build(), inputs()
    expected = backbone(*batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = backbone(*batch)
    torch.testing.assert_close(features.float(), expected, atol=0.2, rtol=0.1)


def test_the_paper_s_size_is_light() -> None:
    model = create_model("ltae", in_channels=10, classes=20)
    assert model.backbone.out_channels == 128
    assert sum(p.numel() for p in model.parameters()) == 112_564


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 18}, "width=18 for 'ltae'.*multiple of 4"),
        ({"heads": 0}, "heads=0 for 'ltae'"),
        ({"model_dim": 30}, "model_dim=30"),
        ({"key_dim": "4"}, "key_dim='4'"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"attention_dropout": -1}, "attention_dropout=-1"),
        ({"in_channels": 0}, "in_channels=0"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**options)
