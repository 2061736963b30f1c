"""Lightweight temporal attention: every pixel weighs its dates, and finer maps can share the weights."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cropzoo import UsageError
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.checks import check_multiple, check_rates, check_sizes
from cropzoo_plugins.layers.padding import Frames, all_valid


class TemporalAttention(nn.Module):
    """One vector of every pixel's dates, with the weights that each head gave to them.

    Queries are learnt and the same everywhere, so scores and weighted sums are linear in the input: both are computed
    from it and from the date codes, and keys and values, `model_dim` wide at every pixel and date, never exist.

    Args:
        in_channels: E, width of the input.
        out_channels: width of the output; E if None.
        heads: heads of the attention, and groups of both norms.
        model_dim: M, width of the values, cut into one part for each head.
        key_dim: width of a head's query and keys.
        dropout: rate on the output, before its norm.
        attention_dropout: rate on the weights of the dates.
        period: of the slowest date code, in days per radian.

    Raises:
        UsageError: for a width that the heads don't divide, or a rate out of range.

    Source: Garnot and Landrieu 2020, arXiv:2007.00586, as in U-TAE, arXiv:2107.07933. Differs from the published code:
        padded dates have no part in the norm over dates, unless asked for; keys and values are never made.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        *,
        heads: int = 16,
        model_dim: int = 256,
        key_dim: int = 4,
        dropout: float = 0.2,
        attention_dropout: float = 0.1,
        period: float = 1000.0,
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        widths = {"in_channels": in_channels, "out_channels": out_channels, "model_dim": model_dim}
        _check_options(widths, heads, key_dim, {"dropout": dropout, "attention_dropout": attention_dropout})
        self.heads, self.period, self.attention_dropout = heads, period, attention_dropout
        self.in_norm = nn.GroupNorm(heads, in_channels)
        self.value = nn.Linear(in_channels, model_dim)
        self.query = nn.Parameter(torch.empty(heads, key_dim))
        self.key = nn.Linear(model_dim, heads * key_dim)
        for weight in (self.query, self.key.weight):
            nn.init.normal_(weight, std=math.sqrt(2 / key_dim))
        self.mix = nn.Linear(model_dim, out_channels)
        self.mix_norm = nn.BatchNorm1d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.out_norm = nn.GroupNorm(heads, out_channels)

    def forward(self, features: Tensor, dates: Tensor, valid: Tensor, published: bool = False) -> tuple[Tensor, Tensor]:
        """What every pixel reads in its dates, and where.

        Args:
            features: (B, T, E, h, w); what stands at invalid dates has no influence.
            dates: (B, T), int64, days since any reference.
            valid: (B, T), bool.
            published: count padded dates, as zeros, in the norm over dates, as the published code did.

        Returns:
            The maps (B, out_channels, h, w), and the weights (B, T, heads, h, w), zero at invalid dates; over the dates
            they sum to one, in training except for dropout. `aggregate` applies them to other maps.
        """
        batch, length, _, height, width = features.shape
        tokens = features.permute(0, 3, 4, 1, 2).flatten(1, 2).to(self.in_norm.weight.dtype)
        tokens = self._normed(tokens, valid, published)
        codes = self._codes(dates)
        weights = self._weights(tokens, codes, valid)
        maps = self._mixed(self._read(tokens, codes, weights))
        maps = maps.reshape(batch, height, width, -1).permute(0, 3, 1, 2)
        return maps, weights.reshape(batch, height, width, length, self.heads).permute(0, 3, 4, 1, 2)

    def _normed(self, tokens: Tensor, valid: Tensor, published: bool) -> Tensor:
        """(B, P, T, E) with group norm over each pixel's dates and the channels of a group; finite at invalid dates."""
        groups = torch.unflatten(tokens, -1, (self.heads, -1))
        dates, hidden = torch.full_like(valid[:, 0], valid.shape[1], dtype=tokens.dtype), None
        if not all_valid(valid):
            hidden = ~valid[:, None, :, None, None]
            groups = groups.masked_fill(hidden, 0)
            if published:
                hidden = None
            else:
                dates = valid.sum(1).clamp(min=1).to(tokens.dtype)
        values = (dates * groups.shape[-1])[:, None, None, None, None]
        centred = groups - groups.sum((2, 4), keepdim=True) / values
        if hidden is not None:
            centred.masked_fill_(hidden, 0)
        variance = centred.square().sum((2, 4), keepdim=True) / values
        normed = (centred * (variance + self.in_norm.eps).rsqrt()).flatten(3)
        return torch.addcmul(self.in_norm.bias, normed, self.in_norm.weight)

    def _codes(self, dates: Tensor) -> Tensor:
        """Sines and cosines of the dates, (B, T, M / heads); every head's part of the values gets the same ones."""
        steps = torch.arange(self.value.out_features // self.heads, device=dates.device)
        angles = dates[:, :, None].float() / self.period ** (2 * (steps // 2) / len(steps))
        return torch.where(steps % 2 == 0, angles.sin(), angles.cos()).to(self.query.dtype)

    def _weights(self, tokens: Tensor, codes: Tensor, valid: Tensor) -> Tensor:
        """The weight of every date for every head, (B, P, T, heads)."""
        with _full_precision(tokens.device.type):
            query = self.query / math.sqrt(self.query.shape[1])
            of_value = torch.einsum("hk,hkm->hm", query, torch.unflatten(self.key.weight, 0, (self.heads, -1)))
            of_input = of_value @ self.value.weight
            constant = of_value @ self.value.bias + (query * self.key.bias.view_as(query)).sum(1)
            of_code = torch.unflatten(of_value, 1, (self.heads, -1)).sum(1)
            of_dates = codes @ of_code.t() + constant
        scores = F.linear(tokens, of_input) + of_dates[:, None]
        if not all_valid(valid):
            scores = scores.masked_fill(~valid[:, None, :, None], torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=2)
        return F.dropout(weights, self.attention_dropout, self.training)

    def _read(self, tokens: Tensor, codes: Tensor, weights: Tensor) -> Tensor:
        """Every head's weighted sum of its part of the values, (B, P, M)."""
        per_head = weights.transpose(2, 3)
        inputs = per_head @ tokens
        total = per_head.sum(-1, keepdim=True)
        of_dates = torch.unflatten(per_head.flatten(1, 2) @ codes, 1, (-1, self.heads))
        weight = torch.unflatten(self.value.weight, 0, (self.heads, -1))
        bias = self.value.bias.view(self.heads, -1)
        read = torch.einsum("bphe,hme->bphm", inputs, weight) + total * bias + of_dates
        return read.flatten(2)

    def _mixed(self, read: Tensor) -> Tensor:
        """(B * P, out_channels) of (B, P, M)."""
        mixed = F.relu(self.mix_norm(self.mix(read.flatten(0, 1))))
        normed: Tensor = self.out_norm(self.dropout(mixed))
        return normed


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


def _full_precision(device: str) -> AbstractContextManager[None]:
    """Autocast switched off, where the device has any."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


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


def _check_options(widths: dict[str, int], heads: int, key_dim: int, rates: dict[str, float]) -> None:
    check_sizes("temporal attention", heads=heads, key_dim=key_dim)
    check_multiple("temporal attention", heads, **widths)
    check_rates("temporal attention", **rates)
