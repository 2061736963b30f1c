"""Lightweight temporal attention, whose weights `aggregation` applies to finer maps."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo_plugins.layers.checks import check_multiple, check_rates, check_sizes
from cropzoo_plugins.layers.padding import all_valid


class TemporalAttention(nn.Module):
    """Attention over the dates of each pixel, which returns one vector per pixel and the weights of the dates.

    The queries are learned constants, so that scores and weighted sums are linear in the input. Both are computed from
    the input and the date encoding directly; keys and values, of `model_dim` channels per pixel and date, are not
    stored.

    Args:
        in_channels: Number of input channels, E.
        out_channels: Number of output channels; E if None.
        heads: Number of attention heads, and of groups of both norms.
        model_dim: Number of value channels, M, divided among the heads.
        key_dim: Number of query and key channels of a head.
        dropout: Dropout rate of the output, before its norm.
        attention_dropout: Dropout rate of the attention weights.
        period: Period of the slowest date encoding, in days per radian.
        backbone: Name of the backbone, for error messages.

    Raises:
        UsageError: If a width is not a multiple of the number of heads, or a rate is out of range.

    Source: Garnot and Landrieu 2020, arXiv:2007.00586, as in U-TAE, arXiv:2107.07933. Differs: padded dates are
        excluded from the norm over dates unless `published` is set, and keys and values are not stored.
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
        backbone: str = "temporal attention",
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        widths = {"in_channels": in_channels, "out_channels": out_channels, "model_dim": model_dim}
        check_sizes(backbone, heads=heads, key_dim=key_dim)
        check_multiple(backbone, heads, **widths)
        check_rates(backbone, dropout=dropout, attention_dropout=attention_dropout)
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
        """Attend to the dates of each pixel.

        Args:
            features: Input, (B, T, E, h, w); values at invalid dates do not affect the output.
            dates: Days since any origin, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool.
            published: Whether the norm over dates includes padded dates as zeros, as in the published code.

        Returns:
            Output maps, (B, out_channels, h, w), and attention weights, (B, T, heads, h, w). The weights are zero at
            invalid dates and sum to one over the dates, except for dropout in training. `aggregate` applies them to
            other maps.
        """
        batch, length, _, height, width = features.shape
        tokens = features.permute(0, 3, 4, 1, 2).flatten(1, 2).to(self.in_norm.weight.dtype)
        tokens = self._normalize(tokens, valid, published)
        codes = self._encode_dates(dates)
        weights = self._compute_weights(tokens, codes, valid)
        maps = self._project(self._gather_values(tokens, codes, weights))
        maps = maps.reshape(batch, height, width, maps.shape[-1]).permute(0, 3, 1, 2)
        return maps, weights.reshape(batch, height, width, length, self.heads).permute(0, 3, 4, 1, 2)

    def _normalize(self, tokens: Tensor, valid: Tensor, published: bool) -> Tensor:
        """Group norm of (B, P, T, E) over the dates of a pixel and the channels of a group; finite at invalid dates."""
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
        centered = groups - groups.sum((2, 4), keepdim=True) / values
        if hidden is not None:
            centered.masked_fill_(hidden, 0)
        variance = centered.square().sum((2, 4), keepdim=True) / values
        normed = (centered * (variance + self.in_norm.eps).rsqrt()).flatten(3)
        return torch.addcmul(self.in_norm.bias, normed, self.in_norm.weight)

    def _encode_dates(self, dates: Tensor) -> Tensor:
        """Sines and cosines of the dates, (B, T, M / heads), the same for each head."""
        steps = torch.arange(self.value.out_features // self.heads, device=dates.device)
        angles = dates[:, :, None].float() / self.period ** (2 * (steps // 2) / len(steps))
        return torch.where(steps % 2 == 0, angles.sin(), angles.cos()).to(self.query.dtype)

    def _compute_weights(self, tokens: Tensor, codes: Tensor, valid: Tensor) -> Tensor:
        """Weight of each date for each head, (B, P, T, heads)."""
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

    def _gather_values(self, tokens: Tensor, codes: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the values of each head, (B, P, M)."""
        per_head = weights.transpose(2, 3)
        inputs = per_head @ tokens
        total = per_head.sum(-1, keepdim=True)
        of_dates = torch.unflatten(per_head.flatten(1, 2) @ codes, 1, (-1, self.heads))
        weight = torch.unflatten(self.value.weight, 0, (self.heads, -1))
        bias = self.value.bias.view(self.heads, -1)
        read = torch.einsum("bphe,hme->bphm", inputs, weight) + total * bias + of_dates
        return read.flatten(2)

    def _project(self, read: Tensor) -> Tensor:
        """Output, (B * P, out_channels), from the gathered values (B, P, M)."""
        mixed = F.relu(self.mix_norm(self.mix(read.flatten(0, 1))))
        normed: Tensor = self.out_norm(self.dropout(mixed))
        return normed


def _full_precision(device: str) -> AbstractContextManager[None]:
    """Context that disables autocast if the device supports it."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
