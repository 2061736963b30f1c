"""Pixel transformer: no spatial context, order of dates, padding, options and chunks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cropzoo import UsageError, create_model
from cropzoo.config.catalog import Size
from cropzoo.models.flops import count_costs
from cropzoo_plugins.backbones import pixel_transformer
from cropzoo_plugins.backbones.pixel_transformer import PixelTransformer
from cropzoo_plugins.layers import chunks

SMALL: dict[str, Any] = {"in_channels": 3, "classes": 4, "dim": 16, "depth": 2, "heads": 2}


def build(**options: Any) -> PixelTransformer:
    torch.manual_seed(1)
    return PixelTransformer(**{**SMALL, **options})


def inputs(batch: int = 2, length: int = 7, height: int = 5, width: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    dates = torch.randint(1, 367, (batch, length)).sort(dim=1).values
    return torch.randn(batch, length, 3, height, width), dates, torch.ones(batch, length, dtype=torch.bool)


def plain_pixel(model: PixelTransformer, bands: Tensor, days: Tensor) -> Tensor:
    """Features (D,) of one pixel, (T, C), from its valid days, (T,), computed one head and one date at a time."""
    dim, half = model.out_channels, (model.out_channels + 1) // 2
    rates = torch.tensor([10000 ** (-i / half) for i in range(half)])
    codes = torch.stack([torch.cat([(day * rates).sin(), (day * rates).cos()])[:dim] for day in days.tolist()])
    tokens = F.linear(bands, model.embed.weight, model.embed.bias) + codes
    for layer in model.over_time.layers:
        query, key, value = layer.attention.qkv(layer.attention_norm(tokens)).chunk(3, dim=1)
        width, mixed = dim // layer.attention.heads, []
        for q, k, v in zip(query.split(width, 1), key.split(width, 1), value.split(width, 1), strict=True):
            mixed.append((q @ k.t() / width**0.5).softmax(1) @ v)
        tokens = tokens + layer.attention.out(torch.cat(mixed, dim=1))
        tokens = tokens + layer.mlp_out(F.gelu(layer.mlp_in(layer.mlp_norm(tokens))))
    return model.over_time.norm(tokens).max(dim=0).values


@pytest.mark.parametrize("cached", [True, False])
def test_equals_a_plain_transformer_of_every_pixel_s_valid_dates(monkeypatch: pytest.MonkeyPatch, cached: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: cached)
    model, (series, dates, valid) = build(), inputs()
    valid[0, 2] = valid[1, 5:] = False
    features = model(series, dates, valid)
    for sample, row, column in ((0, 0, 0), (0, 4, 3), (1, 2, 1)):
        there = valid[sample]
        expected = plain_pixel(model, series[sample, there, :, row, column], dates[sample, there])
        torch.testing.assert_close(features[sample, :, row, column], expected, atol=1e-5, rtol=0)


def test_no_pixel_has_a_part_in_another_s_features() -> None:
    model, (series, dates, valid) = build(), inputs()
    series.requires_grad_()
    features = model(series, dates, valid)
    features[0, :, 2, 3].sum().backward()
    assert series.grad is not None
    felt = series.grad.abs().sum((1, 2)) > 0
    assert felt.nonzero().tolist() == [[0, 2, 3]]
    changed = series.detach().clone()
    changed[1, :, :, 1, 1] += 1
    moved = (model(changed, dates, valid) - features).abs().amax(1) > 1e-6
    assert moved.nonzero().tolist() == [[1, 1, 1]]


def test_the_order_of_dates_is_nothing_and_their_days_are_all() -> None:
    model, (series, dates, valid) = build(), inputs()
    features, order = model(series, dates, valid), torch.randperm(7)
    torch.testing.assert_close(model(series[:, order], dates[:, order], valid), features, atol=1e-6, rtol=0)
    assert (model(series, dates.flip(1), valid) - features).abs().max() > 1e-2


def test_days_have_their_own_codes() -> None:
    for dim in (1, 7, 16):
        codes = pixel_transformer._encode_days(torch.arange(1, 367)[None], dim)
        assert codes.shape == (1, 366, dim)
        assert len(torch.unique(codes[0], dim=0)) == 366


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("size", [1, 40, 10**6])
def test_chunks_of_any_size_equal_the_whole(
    monkeypatch: pytest.MonkeyPatch, padded: bool, cached: bool, size: int
) -> None:
    model, (series, dates, valid) = build(), inputs()
    valid[0, 3] = valid[1, 5:] = not padded
    whole = model(series, dates, valid)
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: cached)
    monkeypatch.setattr(chunks, "TOKENS", size)
    monkeypatch.setattr(pixel_transformer, "PIXELS", size)
    torch.testing.assert_close(model(series, dates, valid), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("cached", [True, False])
def test_what_stands_at_invalid_dates_changes_nothing(monkeypatch: pytest.MonkeyPatch, cached: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: cached)
    model, (series, dates, valid) = build(), inputs()
    valid[0, 2] = valid[1, 5:] = False
    before = model(series, dates, valid)
    series[0, 2], series[1, 5:] = torch.nan, torch.inf
    dates[~valid] = 10**6
    assert torch.equal(model(series, dates, valid), before)
    short = model(series[1:, :5], dates[1:, :5], valid[1:, :5])
    torch.testing.assert_close(short, before[1:], atol=1e-6, rtol=0)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("cached", [True, False])
def test_every_parameter_trains(monkeypatch: pytest.MonkeyPatch, dropout: float, cached: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: cached)
    model, (series, dates, valid) = build(dropout=dropout).train(), inputs()
    valid[1, 3:] = False
    series[1, 3:] = torch.nan
    model(series, dates, valid).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("length", [1, 2, 13])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 8)])
def test_any_length_and_any_size(length: int, height: int, width: int) -> None:
    features = build().eval()(*inputs(1, length, height, width))
    assert features.shape == (1, 16, height, width)
    assert features.isfinite().all()


def test_costs_at_the_default_sizes() -> None:
    size = Size(bands=10, classes=19, dates=60, pixels=24)
    costs = count_costs(create_model("pixel-transformer", in_channels=10, classes=19), size)
    layer = 3 * 64 * 64 + (64 * 64 + 64) + (64 * 128 + 128) + (128 * 64 + 64) + 4 * 64
    assert costs.parameters == (10 * 64 + 64) + 5 * layer + 2 * 64 + (64 * 19 + 19)
    tokens = 24 * 24 * 60
    layers = 5 * (8 * 64 * 64 + 2 * 60 * 64)
    assert costs.gflops == pytest.approx(2e-9 * (tokens * (layers + 10 * 64) + 24 * 24 * 64 * 19), rel=1e-3)


def test_autocast_and_repeats() -> None:
    model, batch = build(), inputs()
    exact = model(*batch)
    assert torch.equal(model(*batch), exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(*batch)
    rounded.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "depth=0"),
        ({"heads": 3}, "dim=16.*multiple of 3"),
        ({"mlp_ratio": 0.5}, "mlp_ratio=0.5"),
        ({"dim": True}, "dim=True"),
        ({"dropout": 1}, "dropout=1 for 'pixel-transformer'"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**options)


def test_it_runs_in_half_the_precision() -> None:
    backbone = PixelTransformer(in_channels=3, classes=4, dim=16, depth=1, heads=2).eval()
    series, dates = torch.randn(1, 4, 3, 4, 4), torch.tensor([[10, 100, 200, 300]])
    valid = torch.ones(1, 4, dtype=torch.bool)
    exact = backbone(series, dates, valid)
    rounded = backbone.bfloat16()(series.bfloat16(), dates, valid)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.1)
