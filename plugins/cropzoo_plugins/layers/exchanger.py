"""Temporal encoder of Exchanger: latent tokens collect from the dates of a pixel, mix, and distribute back to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo_plugins.layers.masked_norm import MaskedBatchNorm

START = 0.02
"""Standard deviation and limit of the initial weights."""


def truncated_normal(*parameters: Tensor) -> None:
    """Initialize parameters by a normal distribution of mean 0, truncated at its standard deviation, in place."""
    for parameter in parameters:
        nn.init.trunc_normal_(parameter, std=START, a=-START, b=START)


@dataclass(frozen=True)
class StageOptions:
    """Options that all stages share.

    Args:
        mlp_ratio: Hidden width of the MLP of each date as a multiple of the width of the stage.
        mixer_depth: Number of mixer layers.
        token_expansion: Hidden width of the MLP over the tokens as a multiple of the width of the stage.
        channel_expansion: Hidden width of the MLP of each token as a multiple of the width of the stage.
        date_dim: Number of channels of the encoding of a date.
        dropout: Dropout rate after the attention to tokens and in all MLPs.
    """

    mlp_ratio: int
    mixer_depth: int
    token_expansion: float
    channel_expansion: float
    date_dim: int
    dropout: float


class Exchange(nn.Module):
    """Stage of the encoder. Its cost is linear in the number of dates, since dates attend to tokens only.

    Args:
        in_channels: Number of channels of a date before the stage.
        dim: Number of channels of a date and of a token, D.
        tokens: Number of latent tokens, N.
        heads: Number of attention heads.
        options: Options that all stages share.
        drop_path: Rate of stochastic depth.
    """

    def __init__(
        self, in_channels: int, dim: int, tokens: int, heads: int, options: StageOptions, drop_path: float
    ) -> None:
        super().__init__()
        self.heads, self.drop_path, self.scale = heads, drop_path, (2 * dim // heads) ** -0.5
        self.embed = nn.Linear(in_channels, dim, bias=False)
        self.embed_norm = MaskedBatchNorm(dim)
        self.tokens = nn.Parameter(torch.empty(tokens, dim))
        self.positions = nn.Parameter(torch.empty(tokens, dim))
        self.position_norm = nn.LayerNorm(dim)
        self.date_norm = nn.LayerNorm(options.date_dim)
        self.date_key = nn.Linear(options.date_dim, dim)
        self.collect = Collect(dim, heads, self.scale)
        self.mixers = nn.ModuleList(Mixer(dim, tokens, options, drop_path) for _ in range(options.mixer_depth))
        self.distribute = Distribute(dim, heads, self.scale, options, drop_path)
        truncated_normal(self.tokens, self.positions, self.embed.weight, self.date_key.weight)
        nn.init.zeros_(self.date_key.bias)

    def project(self, dates: Tensor, mask: Tensor | None) -> Tensor:
        """Project dates (B, P, T, in_channels) to (B, P, T, D); in training, the norm needs all pixels at once."""
        return F.gelu(self.embed_norm(self.embed(dates), mask))

    def forward(self, dates: Tensor, codes: Tensor, mask: Tensor | None) -> Tensor:
        """Exchange information between the dates of each pixel.

        Args:
            dates: Projected dates, (B, P, T, D).
            codes: Encodings of the dates, (B, T, `date_dim`).
            mask: Dates to read, (B, P or 1, T), bool; all if None.

        Returns:
            Dates, (B, P, T, D); those outside the mask have no meaning.
        """
        bias = self._get_bias(codes)
        collected = self.collect(self.tokens, dates, bias, mask)
        tokens = self.tokens + drop_path(collected, self.drop_path, self.training)
        for mixer in self.mixers:
            tokens = mixer(tokens)
        distributed: Tensor = self.distribute(dates, tokens, bias)
        return distributed

    def _get_bias(self, codes: Tensor) -> Tensor:
        """Affinity of tokens and dates by their positions, (B, 1, heads, N, T)."""
        positions = torch.unflatten(self.position_norm(self.positions) * self.scale, 1, (self.heads, -1))
        keys = torch.unflatten(self.date_key(self.date_norm(codes)), 2, (self.heads, -1))
        return torch.einsum("nhd,bthd->bhnt", positions, keys)[:, None]


class Collect(nn.Module):
    """Attention of latent tokens to the dates of each pixel; the values are the normed dates themselves."""

    def __init__(self, dim: int, heads: int, scale: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.token_norm = nn.LayerNorm(dim)
        self.date_norm = nn.LayerNorm(dim)
        self.key = nn.Linear(dim, dim)
        truncated_normal(self.key.weight)
        nn.init.zeros_(self.key.bias)

    def forward(self, tokens: Tensor, dates: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        """Collect (B, P, N, D) for tokens (N, D) from dates (B, P, T, D); zero for a pixel without a date."""
        dates, heads = self.date_norm(dates), self.heads
        queries = torch.unflatten(self.token_norm(tokens) * self.scale, 1, (heads, -1))
        # the queries are the same for all pixels: their product with the key projection replaces that of every date
        weight = torch.einsum("nhd,hdc->hnc", queries, torch.unflatten(self.key.weight, 0, (heads, -1)))
        offset = torch.einsum("nhd,hd->hn", queries, torch.unflatten(self.key.bias, 0, (heads, -1)))
        scores = torch.unflatten(F.linear(dates, weight.flatten(0, 1), offset.flatten()), 3, (heads, -1))
        scores = scores.permute(0, 1, 3, 4, 2) + bias
        if mask is not None:
            scores = scores.masked_fill(~mask[:, :, None, None], torch.finfo(scores.dtype).min)
        weights = scores.softmax(4)
        if mask is not None:  # for pixels without a date
            weights = weights * mask[:, :, None, None]
        collected = weights @ torch.unflatten(dates, 3, (heads, -1)).transpose(2, 3)
        return collected.transpose(2, 3).flatten(3)


class Mixer(nn.Module):
    """MLP over the tokens, then MLP of each token, with residual connections.

    Source: Tolstikhin et al. 2021, arXiv:2105.01601. Differs: the hidden width over the tokens is a multiple of the
        number of channels.
    """

    def __init__(self, dim: int, tokens: int, options: StageOptions, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.token_norm = nn.LayerNorm(dim)
        self.token_mlp = MLP(tokens, int(options.token_expansion * dim), options.dropout)
        self.channel_norm = nn.LayerNorm(dim)
        self.channel_mlp = MLP(dim, int(options.channel_expansion * dim), options.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens, (B, P, N, D)."""
        mixed = self.token_mlp(self.token_norm(tokens).transpose(2, 3)).transpose(2, 3)
        tokens = tokens + drop_path(mixed, self.drop_path, self.training)
        return tokens + drop_path(self.channel_mlp(self.channel_norm(tokens)), self.drop_path, self.training)


class Distribute(nn.Module):
    """Attention of each date to the tokens of its pixel, joined with the date, and an MLP."""

    def __init__(self, dim: int, heads: int, scale: float, options: StageOptions, drop_path: float) -> None:
        super().__init__()
        self.heads, self.scale, self.drop_path = heads, scale, drop_path
        self.date_norm = nn.LayerNorm(dim)
        self.token_norm = nn.LayerNorm(dim)
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.dropout = nn.Dropout(options.dropout)
        self.join = nn.Linear(2 * dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = MLP(dim, options.mlp_ratio * dim, options.dropout)
        for linear in (self.query, self.key, self.value, self.out, self.join):
            truncated_normal(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, dates: Tensor, tokens: Tensor, bias: Tensor) -> Tensor:
        """Distribute tokens (B, P, N, D) to dates (B, P, T, D)."""
        normed = self.token_norm(tokens)
        query = self._split_heads(self.query(self.date_norm(dates)) * self.scale)
        key, value = self._split_heads(self.key(normed)), self._split_heads(self.value(normed))
        # with the dates last, the softmax over the few tokens takes a twentieth of the time
        weights = (key @ query.transpose(3, 4) + bias).softmax(3)
        read = (weights.transpose(3, 4) @ value).transpose(2, 3).flatten(3)
        read = drop_path(self.dropout(self.out(read)), self.drop_path, self.training)
        joined = self.join(torch.cat([dates, read], dim=3))
        changed: Tensor = joined + drop_path(self.mlp(self.mlp_norm(joined)), self.drop_path, self.training)
        return changed

    def _split_heads(self, projected: Tensor) -> Tensor:
        """(B, P, L, D) as (B, P, heads, L, D / heads)."""
        return torch.unflatten(projected, 3, (self.heads, -1)).transpose(2, 3)


class MLP(nn.Sequential):
    """Two linear layers with the exact GELU and dropout."""

    def __init__(self, dim: int, inner: int, dropout: float) -> None:
        linear = nn.Linear(dim, inner), nn.Linear(inner, dim)
        super().__init__(linear[0], nn.GELU(), nn.Dropout(dropout), linear[1], nn.Dropout(dropout))
        for each in linear:
            truncated_normal(each.weight)
            nn.init.zeros_(each.bias)


def drop_path(change: Tensor, rate: float, training: bool) -> Tensor:
    """Set the change of a residual branch, (B, P, L, D), to zero for random pixels, and scale that of the others.

    Source: Huang et al. 2016, arXiv:1603.09382.
    """
    if not training or not rate:
        return change
    kept = change.new_empty(*change.shape[:2], 1, 1).bernoulli_(1 - rate)
    return change * kept / (1 - rate)


def date_table(days: int, dim: int, base: float) -> Tensor:
    """Encodings of the days 0..`days` in rows 1..; row 0 is zero. (days + 2, dim), float32.

    Channels 2j and 2j + 1 are sine and cosine of 2 pi day base^(-2j / dim). The angles are so large that float32 rounds
    them by up to 2e-4: other orders of the operations give other values than those of the training.
    """
    rates = torch.exp(torch.arange(0, dim, 2).float() * (-math.log(base) / dim))
    angles = torch.arange(days + 1).float()[:, None] * rates * (2 * math.pi)
    return F.pad(torch.stack([angles.sin(), angles.cos()], -1).flatten(1), (0, 0, 1, 0))


def drop_path_rates(rate: float, stages: int) -> list[float]:
    """Rates of stochastic depth that increase linearly from 0 to `rate`; 0 for a single stage."""
    return [rate * index / max(1, stages - 1) for index in range(stages)]
