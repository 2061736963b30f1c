"""Transformer over the dates of individual pixels: a baseline without spatial context."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cropzoo import Backbone
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.checks import check_multiple, check_rates, check_sizes
from cropzoo_plugins.layers.padding import all_valid, is_exporting
from cropzoo_plugins.layers.transformer import Encoder

NAME = "pixel-transformer"
PIXELS = 16384
"""Pixels per chunk on a GPU; fused attention supports at most 65535 sequences."""


class PixelTransformer(Backbone):
    """Transformer over the dates of each pixel. The features are the maximum over the dates, (B, dim, H, W).

    The token of a date is a linear projection of the bands plus an encoding of the day of the year. There is no spatial
    context.

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Unused; any image size is supported.
        length: Unused; any number of dates is supported.
        dim: Number of channels of a token and of the features, D.
        depth: Number of layers.
        heads: Number of attention heads, a divisor of `dim`.
        mlp_ratio: Hidden width of the MLP as a multiple of `dim`.
        dropout: Dropout rate after the attention and in the MLP.

    Raises:
        UsageError: If an option is out of range.

    Source: After Russwurm and Koerner 2020, arXiv:1910.10536, with smaller default sizes. Differs: the sinusoidal
        encoding is that of the day of the year instead of the position in the series; layers are pre-norm and use GELU;
        no ReLU before or after the layers; no bias on queries, keys and values; padded dates are excluded.
    """

    size_multiple = 1

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        dim: int = 64,
        depth: int = 5,
        heads: int = 2,
        mlp_ratio: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(NAME, in_channels=in_channels, depth=depth, heads=heads, mlp_ratio=mlp_ratio)
        check_multiple(NAME, heads, dim=dim)
        check_rates(NAME, dropout=dropout)
        self.out_channels = dim
        self.embed = nn.Linear(in_channels, dim)
        self.over_time = Encoder(dim, depth, heads, dim // heads, mlp_ratio, dropout)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute the features of each pixel.

        Args:
            series: Normalized series, (B, T, C, H, W), float32.
            dates: Day of the year 1..366, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; padding does not affect the features.

        Returns:
            Features, (B, dim, H, W).
        """
        pixels = series.flatten(3).permute(0, 3, 1, 2)
        days = _encode_days(dates, self.out_channels).to(self.embed.weight.dtype)
        if all_valid(valid):
            features = self._encode_in_chunks(pixels, days)
        elif chunks.is_faster(pixels):
            # each sample with its valid dates only: exact, and without computation for padding
            features = torch.cat(
                [
                    self._encode_in_chunks(pixels[i : i + 1, :, valid[i]], days[i : i + 1, valid[i]])
                    for i in range(len(valid))
                ]
            )
        else:
            features = self._encode_in_chunks(pixels.masked_fill(~valid[:, None, :, None], 0), days, valid)
        return torch.unflatten(features.transpose(1, 2), 2, series.shape[-2:])

    def _encode_in_chunks(self, pixels: Tensor, *dates: Tensor) -> Tensor:
        """Encode (B, P, T, C) to (B, P, D) in chunks of pixels that fit the cache, or the limits of fused attention."""
        batch, _, length, _ = pixels.shape
        if is_exporting():  # the number of pixels is symbolic
            return self._encode(pixels, *dates)
        if chunks.is_faster(pixels):
            return chunks.apply_in_chunks(self._encode, pixels, *dates, length=batch * length, dim=1)
        return torch.cat(
            [self._encode(some, *dates) for some in torch.split(pixels, max(1, PIXELS // batch), dim=1)], dim=1
        )

    def _encode(self, pixels: Tensor, days: Tensor, valid: Tensor | None = None) -> Tensor:
        """Encode pixels (B, P, T, C) with day encodings (B, T, D) and mask (B, T) to (B, P, D)."""
        batch, count = pixels.shape[:2]
        tokens, mask = self.embed(pixels) + days[:, None], None
        if valid is not None:
            mask = valid[:, None, None, None].expand(-1, count, -1, -1, -1).flatten(0, 1)
        read = torch.unflatten(self.over_time(tokens.flatten(0, 1), mask=mask), 0, (batch, count))
        if valid is not None:
            read = read.masked_fill(~valid[:, None, :, None], -torch.inf)
        features: Tensor = read.amax(2)
        return features


def _encode_days(dates: Tensor, dim: int) -> Tensor:
    """Sines, then cosines, of days at wavelengths from 2 pi to 20,000 pi, (B, T) to (B, T, dim), float32.

    Source: Vaswani et al. 2017, arXiv:1706.03762, with days instead of positions. Unlike a learned table, it supports
        days that do not occur in training.
    """
    half = (dim + 1) // 2
    rates = 10000 ** -(torch.arange(half, device=dates.device) / half)
    angles = dates[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)[..., :dim]
