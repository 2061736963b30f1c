"""Weighted sums of feature maps over dates, with temporal attention computed at a coarser scale."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from cropzoo import UsageError
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.padding import Frames


def aggregate(weights: Tensor, maps: Tensor, frames: Frames) -> Tensor:
    """Sum feature maps over dates, each group of channels with the weights of one attention head.

    The weights are resized bilinearly to the maps and not normalized again.

    Args:
        weights: Attention weights of `TemporalAttention`, (B, T, heads, h, w).
        maps: Feature maps of the valid dates, (N, C, H, W); C is a multiple of heads, and the first C / heads channels
            belong to the first head.
        frames: Valid dates of the batch.

    Returns:
        Weighted sums, (B, C, H, W).

    Raises:
        UsageError: If C is not a multiple of heads.

    Source: "att_group" of Garnot and Landrieu 2021, arXiv:2107.07933.
    """
    heads, channels = weights.shape[2], maps.shape[1]
    if channels % heads:
        raise UsageError(
            f"maps of {channels} channels for a temporal attention of {heads} heads; each head weighs one group of "
            f"channels; choose a width that is a multiple of {heads}, or another number of heads"
        )
    weights = frames.gather(weights)
    if chunks.is_faster(maps):
        samples = _list_samples(frames)
        summed: Tensor = _WeightedSum.apply(weights, maps, samples, len(frames.valid))
        return summed
    resized = _resize(weights, maps.shape[-2:])
    weighted = _group_channels(maps, weights) * resized[:, :, None]
    return frames.scatter(weighted.flatten(1, 2)).sum(1)


class _WeightedSum(torch.autograd.Function):
    """`aggregate` one date at a time, so that neither resized weights nor weighted maps of all dates are stored.

    `apply(weights (N, heads, h, w), maps (N, C, H, W), sample of every date, B)`: (B, C, H, W).
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, maps: Tensor, samples: list[int], batch: int) -> Tensor:
        layout = _get_memory_format(maps)
        weights = weights.contiguous(memory_format=layout)
        ctx.save_for_backward(weights, maps)
        ctx.samples = samples
        dtype = torch.promote_types(weights.dtype, maps.dtype)
        summed = maps.new_zeros(batch, *maps.shape[1:], dtype=dtype).contiguous(memory_format=layout)
        sums, groups = _group_channels(summed, weights), _group_channels(maps, weights)
        for date, sample in enumerate(samples):
            resized = _resize(weights[date : date + 1], maps.shape[-2:])
            sums[sample].addcmul_(groups[date], resized.transpose(0, 1))
        return summed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, maps = ctx.saved_tensors
        grad = grad.contiguous(memory_format=_get_memory_format(maps))
        grad_weights, grad_maps = torch.empty_like(weights), torch.empty_like(maps)
        grads, groups, grad_groups = (_group_channels(each, weights) for each in (grad, maps, grad_maps))
        for date, sample in enumerate(ctx.samples):
            weight = weights[date : date + 1]
            resized = _resize(weight, maps.shape[-2:])
            grad_groups[date] = grads[sample] * resized.transpose(0, 1)
            grad_resized = (grads[sample] * groups[date]).sum(1)[None]
            grad_weights[date] = _resize_backward(grad_resized, weight.shape)[0]
        return grad_weights, grad_maps, None, None


def _get_memory_format(maps: Tensor) -> torch.memory_format:
    last = maps.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _group_channels(maps: Tensor, weights: Tensor) -> Tensor:
    """(N, C, H, W) as (N, heads, C / heads, H, W), a view."""
    return torch.unflatten(maps, 1, (weights.shape[1], -1))


def _resize(weights: Tensor, size: torch.Size) -> Tensor:
    if weights.shape[-2:] == size:
        return weights
    return F.interpolate(weights, size=size, mode="bilinear", align_corners=False)


def _resize_backward(grad: Tensor, shape: torch.Size) -> Tensor:
    """Gradient of the input of `_resize`, (1, heads, h, w), from that of its output."""
    if grad.shape == shape:
        return grad
    back: Tensor = torch.ops.aten.upsample_bilinear2d_backward(grad, grad.shape[-2:], shape, False)
    return back


def _list_samples(frames: Frames) -> list[int]:
    """Index of the sample of each valid date."""
    batch, length = frames.valid.shape
    if frames.index is None:
        return [sample for sample in range(batch) for _ in range(length)]
    samples: list[int] = (frames.index // length).tolist()
    return samples
