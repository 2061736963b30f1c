"""Sums of maps over their dates, with the weights of a temporal attention that was computed at a coarser scale."""

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
    """Sums of maps over their dates, each group of channels with the weights of one head.

    Weights are resized bilinearly to the maps; after that they are not scaled again.

    Args:
        weights: (B, T, heads, h, w), as `TemporalAttention` gives them.
        maps: (N, C, H, W), of the valid dates alone, as `frames` gathers them; heads divide C, the first C / heads
            channels belong to the first head.
        frames: which dates these are.

    Returns:
        (B, C, H, W).

    Source: "att_group" of Garnot and Landrieu 2021, arXiv:2107.07933.
    """
    heads, channels = weights.shape[2], maps.shape[1]
    if channels % heads:
        raise UsageError(
            f"maps of {channels} channels for a temporal attention of {heads} heads; every head weighs one group of "
            f"channels; choose a width that is a multiple of {heads}, or other heads"
        )
    weights = frames.gather(weights)
    if chunks.pays(maps):
        samples = _samples(frames)
        summed: Tensor = _WeightedSum.apply(weights, maps, samples, len(frames.valid))
        return summed
    resized = _resized(weights, maps.shape[-2:])
    weighted = _grouped(maps, weights) * resized[:, :, None]
    return frames.scatter(weighted.flatten(1, 2)).sum(1)


class _WeightedSum(torch.autograd.Function):
    """`aggregate` one date at a time: weights of full size and weighted maps never exist, neither in training.

    `apply(weights (N, heads, h, w), maps (N, C, H, W), sample of every date, B)`: (B, C, H, W).
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, maps: Tensor, samples: list[int], batch: int) -> Tensor:
        layout = _layout(maps)
        weights = weights.contiguous(memory_format=layout)
        ctx.save_for_backward(weights, maps)
        ctx.samples = samples
        dtype = torch.promote_types(weights.dtype, maps.dtype)
        summed = maps.new_zeros(batch, *maps.shape[1:], dtype=dtype).contiguous(memory_format=layout)
        sums, groups = _grouped(summed, weights), _grouped(maps, weights)
        for date, sample in enumerate(samples):
            resized = _resized(weights[date : date + 1], maps.shape[-2:])
            sums[sample].addcmul_(groups[date], resized.transpose(0, 1))
        return summed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, maps = ctx.saved_tensors
        grad = grad.contiguous(memory_format=_layout(maps))
        grad_weights, grad_maps = torch.empty_like(weights), torch.empty_like(maps)
        grads, groups, grad_groups = (_grouped(each, weights) for each in (grad, maps, grad_maps))
        for date, sample in enumerate(ctx.samples):
            weight = weights[date : date + 1]
            resized = _resized(weight, maps.shape[-2:])
            grad_groups[date] = grads[sample] * resized.transpose(0, 1)
            grad_resized = (grads[sample] * groups[date]).sum(1)[None]
            grad_weights[date] = _resized_back(grad_resized, weight.shape)[0]
        return grad_weights, grad_maps, None, None


def _layout(maps: Tensor) -> torch.memory_format:
    last = maps.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _grouped(maps: Tensor, weights: Tensor) -> Tensor:
    """(N, C, H, W) as (N, heads, C / heads, H, W), a view."""
    return torch.unflatten(maps, 1, (weights.shape[1], -1))


def _resized(weights: Tensor, size: torch.Size) -> Tensor:
    if weights.shape[-2:] == size:
        return weights
    return F.interpolate(weights, size=size, mode="bilinear", align_corners=False)


def _resized_back(grad: Tensor, shape: torch.Size) -> Tensor:
    """Gradient of what `_resized` took, (1, heads, h, w), from that of what it gave."""
    if grad.shape == shape:
        return grad
    back: Tensor = torch.ops.aten.upsample_bilinear2d_backward(grad, grad.shape[-2:], shape, False)
    return back


def _samples(frames: Frames) -> list[int]:
    """Which sample every valid date belongs to."""
    batch, length = frames.valid.shape
    if frames.index is None:
        return [sample for sample in range(batch) for _ in range(length)]
    samples: list[int] = (frames.index // length).tolist()
    return samples
