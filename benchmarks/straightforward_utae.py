"""Straightforward U-TAE that encodes all dates and computes keys and values, the reference for speed and results.

It uses the parameters of cropzoo's model, so that both compute the same function in evaluation mode.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def straightforward_logits(model: nn.Module, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
    """Logits (B, K, H, W) of a `Model` of `UTAE` and its published head.

    Padded dates are encoded and then set to zero. Attention is computed with keys and values of full width. For each
    scale, its weights are resized, expanded to the channels, multiplied with the maps and summed.

    Args:
        model: Model with the parameters.
        series: Series, (B, T, C, H, W).
        dates: Dates, (B, T), int64.
        valid: Mask of valid dates, (B, T), bool.
    """
    backbone, (batch, length) = model.backbone, dates.shape
    present = valid[:, :, None, None, None]
    images = torch.where(present, series, 0).flatten(0, 1)
    maps = [_block(_block(images, backbone.stem[0], backbone.stem[1]), backbone.stem[3], backbone.stem[4])]
    for down in backbone.down:
        halved = _block(_block(maps[-1], *down.down[:2]), *down.conv1[:2])
        maps.append(halved + _block(halved, *down.conv2[:2]))
    series_of_maps = [each.unflatten(0, (batch, length)) * present for each in maps]

    features, weights = _attend(backbone.over_time, series_of_maps.pop(), dates, valid)
    for up in backbone.up:
        skip = _summed(weights, series_of_maps.pop())
        joined = torch.cat([_block(features, *up.up[:2]), _block(skip, *up.skip[:2])], dim=1)
        features = _block(joined, *up.conv1[:2])
        features = features + _block(features, *up.conv2[:2])
    return _block(_block(features, *model.head[0:2]), *model.head[3:5])


def _block(images: Tensor, convolution: nn.Module, norm: nn.Module) -> Tensor:
    return F.relu(norm(convolution(images)))


def _attend(attention: nn.Module, maps: Tensor, dates: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Output maps (B, D, h, w) and attention weights (heads, B, T, h, w)."""
    batch, length, channels, height, width = maps.shape
    heads = attention.heads
    tokens = maps.permute(0, 3, 4, 1, 2).reshape(batch * height * width, length, channels)
    present = valid[:, None, None].expand(-1, height, width, -1).reshape(-1, length)
    values = attention.value(_normed(tokens, present, attention.in_norm))
    part = values.shape[-1] // heads
    steps = torch.arange(part)
    angles = dates[:, :, None].float() / attention.period ** (2 * (steps // 2) / part)
    codes = torch.where(steps % 2 == 0, angles.sin(), angles.cos()).repeat(1, 1, heads)
    values = values + codes.repeat_interleave(height * width, dim=0)

    keys = attention.key(values).unflatten(-1, (heads, -1))
    scores = torch.einsum("hk,pthk->hpt", attention.query, keys) / math.sqrt(keys.shape[-1])
    weights = scores.masked_fill(~present, float("-inf")).softmax(dim=-1)
    read = torch.einsum("hpt,pthm->phm", weights, values.unflatten(-1, (heads, part))).flatten(1)
    mixed = F.relu(attention.mix_norm(attention.mix(read)))
    mixed = attention.out_norm(mixed).reshape(batch, height, width, -1).permute(0, 3, 1, 2)
    return mixed, weights.reshape(heads, batch, height, width, length).permute(0, 1, 4, 2, 3)


def _normed(tokens: Tensor, present: Tensor, norm: nn.Module) -> Tensor:
    """Group norm of (P, T, E) over the channels of a group and the valid dates, (P, T)."""
    groups = tokens.unflatten(-1, (norm.num_groups, -1))
    counted = present[:, :, None, None].expand_as(groups)
    values = counted.sum((1, 3), keepdim=True)
    mean = (groups * counted).sum((1, 3), keepdim=True) / values
    variance = ((groups - mean).square() * counted).sum((1, 3), keepdim=True) / values
    normed = ((groups - mean) / (variance + norm.eps).sqrt()).flatten(2)
    return normed * norm.weight + norm.bias


def _summed(weights: Tensor, maps: Tensor) -> Tensor:
    """Sum maps (B, T, C, H, W) over the dates with the weights of the head of each group of channels, (B, C, H, W)."""
    heads, batch, length, height, width = weights.shape
    flat = weights.reshape(heads * batch, length, height, width)
    resized = F.interpolate(flat, size=maps.shape[-2:], mode="bilinear", align_corners=False)
    resized = resized.reshape(heads, batch, length, *maps.shape[-2:])
    groups = torch.stack(maps.chunk(heads, dim=2))
    return torch.cat(list((resized[:, :, :, None] * groups).sum(dim=2)), dim=1)
