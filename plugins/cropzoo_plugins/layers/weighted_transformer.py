"""Post-norm transformer over the observations of pixels, each of which counts a number of times."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPS = 1.1920929e-07
"""Epsilon of the RMS norm, that of float32."""


class HeadNorm(nn.RMSNorm):
    """RMS norm over the channels of a head, in float32 also where the computation has another precision."""

    def __init__(self, head_dim: int) -> None:
        super().__init__(head_dim, _EPS)

    def forward(self, values: Tensor) -> Tensor:
        """Normalize (..., head_dim)."""
        normed: Tensor = super().forward(values.float())
        return normed.to(values.dtype)


class WeightedLayer(nn.Module):
    """Post-norm transformer layer whose keys count a number of times.

    A weight of 2 is equal to two keys, and a weight of 0 to none: the logarithm of the weights is added to the scores.

    Args:
        dim: Number of channels of a token, D.
        heads: Number of attention heads, a divisor of `dim`.
        mlp_dim: Hidden width of the MLP.
        qk_norm: Whether queries and keys pass an RMS norm over the channels of a head.
    """

    def __init__(self, dim: int, heads: int, mlp_dim: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.query_norm = HeadNorm(dim // heads) if qk_norm else nn.Identity()
        self.key_norm = HeadNorm(dim // heads) if qk_norm else nn.Identity()
        self.out = nn.Linear(dim, dim)
        self.attention_norm = nn.LayerNorm(dim)
        self.mlp_in = nn.Linear(dim, mlp_dim)
        self.mlp_out = nn.Linear(mlp_dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, log_weights: Tensor) -> Tensor:
        """Compute tokens, (S, L, D), from tokens, (S, L, D), and the logarithm of their weights, (S, L)."""
        projected = torch.unflatten(self.qkv(tokens), 2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = projected.unbind(0)
        mask = log_weights[:, None, None].to(tokens.dtype)
        mixed = F.scaled_dot_product_attention(self.query_norm(query), self.key_norm(key), value, attn_mask=mask)
        tokens = self.attention_norm(tokens + self.out(mixed.transpose(1, 2).flatten(2)))
        inner = F.relu(self.mlp_in(tokens))
        encoded: Tensor = self.mlp_norm(tokens + self.mlp_out(inner))
        return encoded


class WeightedEncoder(nn.Module):
    """Transformer over the observations of a pixel, with an attention pool. The order of observations has no effect.

    Args:
        bands: Number of bands.
        dim: Number of channels of a token and of the output, D; even.
        depth: Number of layers.
        heads: Number of attention heads, a divisor of `dim`.
        mlp_dim: Hidden width of the MLP.
        qk_norm: Whether queries and keys pass an RMS norm over the channels of a head.
    """

    def __init__(self, bands: int, dim: int, depth: int, heads: int, mlp_dim: int, qk_norm: bool) -> None:
        super().__init__()
        self.embed_in = nn.Linear(bands, dim)
        self.embed_out = nn.Linear(dim, dim)
        self.layers = nn.ModuleList(WeightedLayer(dim, heads, mlp_dim, qk_norm) for _ in range(depth))
        self.pool = nn.Linear(dim, 1)

    def forward(self, values: Tensor, days: Tensor, weights: Tensor) -> Tensor:
        """Encode pixels.

        Args:
            values: Standardized values, (S, L, bands).
            days: Days of the year, (S, L) or (1, L), float32.
            weights: How often each observation counts, (S, L), at least 0; 0 = absent, whatever its values.

        Returns:
            Pooled features, (S, D); zeros if L is 0. A pixel of which all weights are 0 has no defined features.
        """
        if values.shape[1] == 0:
            return values.new_zeros(values.shape[0], self.pool.in_features)
        tokens: Tensor = self.embed_out(F.relu(self.embed_in(values)))
        tokens = tokens + encode_days(days, tokens.shape[2]).to(tokens.dtype)
        log_weights = weights.to(torch.float32).log()
        for layer in self.layers:
            tokens = layer(tokens, log_weights)
        scores = self.pool(tokens)[:, :, 0].float() + log_weights
        pooled: Tensor = scores.softmax(1).to(tokens.dtype)[:, None] @ tokens
        return pooled[:, 0]


def encode_days(days: Tensor, dim: int) -> Tensor:
    """Sines at even and cosines at odd channels of days, (...) to (..., dim), float32."""
    rates = torch.exp(torch.arange(0, dim, 2, device=days.device, dtype=torch.float32) * -(math.log(10000.0) / dim))
    angles = days.float()[..., None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)
