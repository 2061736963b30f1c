"""Lightweight temporal attention: equality with an implementation that computes keys and values."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cropzoo import UsageError
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.aggregation import aggregate
from cropzoo_plugins.layers.ltae import TemporalAttention
from cropzoo_plugins.layers.padding import Frames


def build(**options: Any) -> TemporalAttention:
    torch.manual_seed(1)
    layer = TemporalAttention(8, 12, **{"heads": 4, "model_dim": 24, "key_dim": 3, **options}).eval()
    for name, parameter in layer.named_parameters():
        if name not in ("query", "key.weight"):
            torch.nn.init.normal_(parameter)
    return layer


def inputs(batch: int = 2, length: int = 5, padded: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    valid = torch.ones(batch, length, dtype=torch.bool)
    if padded:
        valid[0, 1] = valid[1, 3:] = False
    dates = torch.randint(0, 430, (batch, length)).sort(dim=1).values
    return torch.randn(batch, length, 8, 2, 3), dates, valid


def plain(
    layer: TemporalAttention, features: Tensor, dates: Tensor, given: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Reference implementation without padding: maps (B, out, h, w) and weights (B, T, heads, h, w) or `given`."""
    batch, length, channels, height, width = features.shape
    pixels = features.permute(0, 3, 4, 2, 1).reshape(-1, channels, length)
    tokens = layer.in_norm(pixels).transpose(1, 2)
    part = layer.value.out_features // layer.heads
    angles = [dates / 1000 ** (2 * (j // 2) / part) for j in range(part)]
    codes = [angle.cos() if j % 2 else angle.sin() for j, angle in enumerate(angles)]
    code = torch.stack(codes, dim=2).repeat(1, 1, layer.heads)
    values = layer.value(tokens) + code.repeat_interleave(height * width, 0)
    keys = layer.key(values).reshape(-1, length, layer.heads, layer.query.shape[1])
    weights = ((keys * layer.query).sum(-1) / math.sqrt(layer.query.shape[1])).softmax(dim=1)
    if given is not None:
        weights = given.permute(0, 3, 4, 1, 2).reshape(-1, length, layer.heads)
    read = (weights[..., None] * values.reshape(-1, length, layer.heads, part)).sum(1).flatten(1)
    maps = layer.out_norm(F.relu(layer.mix_norm(layer.mix(read))))
    return (
        maps.reshape(batch, height, width, -1).permute(0, 3, 1, 2),
        weights.reshape(batch, height, width, length, -1).permute(0, 3, 4, 1, 2),
    )


def gradients(layer: TemporalAttention, features: Tensor, outputs: tuple[Tensor, Tensor]) -> list[Tensor]:
    maps, weights = outputs
    total = maps.square().sum() + weights.square().sum()
    return list(torch.autograd.grad(total, [features, *layer.parameters()]))


def test_equals_the_plain_form_with_its_gradients() -> None:
    layer, (features, dates, valid) = build(), inputs()
    features.requires_grad_()
    ours, expected = layer(features, dates, valid), plain(layer, features, dates)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    for a, b in zip(gradients(layer, features, ours), gradients(layer, features, expected), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_dropped_weights_are_those_that_are_returned() -> None:
    layer, (features, dates, valid) = build(attention_dropout=0.5, dropout=0.0).train(), inputs()
    maps, weights = layer(features, dates, valid)
    assert (weights == 0).any()
    assert (weights.sum(1) - 1).abs().max() > 0.1
    torch.testing.assert_close(maps, plain(layer, features, dates, weights)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("published", [False, True])
def test_what_stands_at_invalid_dates_changes_nothing(published: bool) -> None:
    layer, (features, dates, valid) = build(), inputs(padded=True)
    maps, weights = layer(features, dates, valid, published)
    features[~valid], dates[~valid] = torch.nan, 10**6
    again, other = layer(features, dates, valid, published)
    assert torch.equal(maps, again)
    assert torch.equal(weights, other)
    assert not weights[~valid].any()
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 4, 2, 3))


def test_masked_a_padded_date_is_as_good_as_absent() -> None:
    layer, (features, dates, valid) = build(), inputs(padded=True)
    maps, weights = layer(features, dates, valid)
    for i in range(2):
        short = features[i : i + 1, valid[i]], dates[i : i + 1, valid[i]]
        expected, weight = plain(layer, *short)
        torch.testing.assert_close(maps[i : i + 1], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(weights[i : i + 1, valid[i]], weight, atol=1e-5, rtol=0)


def test_published_the_norm_counts_zeros_at_padded_dates() -> None:
    layer, (features, dates, valid) = build(), inputs(padded=True)
    zeroed = features.masked_fill(~valid[:, :, None, None, None], 0)
    scores = plain(layer, zeroed, dates)[1].log().masked_fill(~valid[:, :, None, None, None], -torch.inf)
    expected, _ = plain(layer, zeroed, dates, scores.softmax(dim=1))
    published, _ = layer(features, dates, valid, published=True)
    torch.testing.assert_close(published, expected, atol=1e-5, rtol=0)
    assert (published - layer(features, dates, valid)[0]).abs().max() > 1e-3


def test_without_padding_masked_and_published_are_the_same() -> None:
    layer, batch = build(), inputs()
    assert torch.equal(layer(*batch)[0], layer(*batch, published=True)[0])


def test_a_single_date_gets_all_weight() -> None:
    maps, weights = build()(*inputs(length=1))
    assert maps.isfinite().all()
    assert torch.equal(weights, torch.ones_like(weights))


def test_every_parameter_gets_a_gradient_in_training() -> None:
    layer, (features, dates, valid) = build().train(), inputs(padded=True)
    maps, weights = layer(features, dates, valid)
    (maps.square().sum() + weights.square().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_in_bfloat16_autocast_it_is_near() -> None:
    layer, batch = build(), inputs(padded=True)
    expected = layer(*batch)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps, weights = layer(*batch)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(maps.float(), expected, atol=0.1, rtol=0.1)


def test_it_runs_where_there_are_shapes_alone() -> None:
    maps, weights = build().to("meta")(*(each.to("meta") for each in inputs()))
    assert (maps.shape, weights.shape) == ((2, 12, 2, 3), (2, 5, 4, 2, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "in_channels=8.*multiple of 3"),
        ({"heads": 0}, "heads=0"),
        ({"model_dim": 26}, "model_dim=26.*multiple of 4"),
        ({"key_dim": 1.5}, "key_dim=1.5"),
        ({"dropout": 1}, "dropout=1"),
        ({"attention_dropout": -0.1}, "attention_dropout=-0.1"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**options)


def summed(weights: Tensor, maps: Tensor, valid: Tensor) -> Tensor:
    """Reference implementation of `aggregate` for maps (B, T, C, H, W)."""
    heads = weights.shape[2]
    resized = F.interpolate(weights.flatten(0, 1), size=maps.shape[-2:], mode="bilinear", align_corners=False)
    resized = resized.unflatten(0, valid.shape).repeat_interleave(maps.shape[2] // heads, dim=2)
    return (resized * maps * valid[:, :, None, None, None]).sum(1)


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(2, 3), (8, 6), (5, 9), (1, 1)])
@pytest.mark.parametrize("padded", [False, True])
def test_aggregate_equals_the_sum_written_out(
    monkeypatch: pytest.MonkeyPatch, in_turn: bool, layout: torch.memory_format, size: tuple[int, int], padded: bool
) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: in_turn)
    _, _, valid = inputs(padded=padded)
    frames = Frames.of(valid)
    weights = torch.rand(2, 5, 4, 2, 3, requires_grad=True)
    maps = torch.randn(2, 5, 8, *size, requires_grad=True)
    ours = aggregate(weights, frames.gather(maps).contiguous(memory_format=layout), frames)
    expected = summed(weights, maps, valid)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)
    towards = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(ours, (weights, maps), towards),
        torch.autograd.grad(expected, (weights, maps), towards),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("in_turn", [False, True])
def test_aggregate_takes_maps_of_half_precision(monkeypatch: pytest.MonkeyPatch, in_turn: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: in_turn)
    _, _, valid = inputs()
    weights, maps = torch.rand(2, 5, 4, 2, 3), torch.randn(10, 8, 4, 6).bfloat16().requires_grad_()
    ours = aggregate(weights, maps, Frames.of(valid))
    torch.testing.assert_close(ours, summed(weights, maps.float().unflatten(0, (2, 5)), valid), atol=1e-5, rtol=1e-5)
    ours.sum().backward()
    assert maps.grad is not None
    assert maps.grad.dtype == torch.bfloat16


def test_aggregate_names_a_width_that_the_heads_do_not_divide() -> None:
    valid = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(UsageError, match=r"maps of 6 channels.*4 heads"):
        aggregate(torch.rand(1, 2, 4, 2, 2), torch.randn(2, 6, 4, 4), Frames.of(valid))
