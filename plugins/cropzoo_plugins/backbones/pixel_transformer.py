"""A transformer over the dates of every pixel alone: the baseline that sees no neighbors."""

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
"""Pixels of a chunk where the processor's cache is no matter; fused attention takes at most 65535 sequences at once."""


class PixelTransformer(Backbone):
    """Dense features that hold, for every pixel, the most that any date shows of each channel.

    A date is a linear image of the pixel's bands plus a code of its day of the year; dates read each other, and the
    maximum over them is the feature: (B, dim, H, W). No pixel has a part in another's features.

    Args:
        in_channels: bands of the series.
        classes: unused, the head knows them.
        image_size: unused, any image will do.
        length: unused, any number of dates will do.
        dim: D, width of a date and of the features.
        depth: layers.
        heads: of the attention; they divide `dim`.
        mlp_ratio: hidden width of a layer's network, in multiples of `dim`.
        dropout: rate after the attention and in the network of each layer.

    Raises:
        UsageError: for an option out of its range.

    Source: after Russwurm and Koerner 2020, arXiv:1910.10536, in a size for a laptop. Differs: the sinusoid stands for
        the day of the year, not the position in the series; layer norms stand before the halves of a layer; GELU; no
        ReLU before or after the layers; no bias on queries, keys and values; padded dates are left out.
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
        """Features of every pixel.

        Args:
            series: (B, T, C, H, W), float32, normalized.
            dates: (B, T), int64, day of year 1..366.
            valid: (B, T), bool, False = padding; what stands there has no influence.

        Returns:
            (B, dim, H, W).
        """
        pixels = series.flatten(3).permute(0, 3, 1, 2)
        days = _day_codes(dates, self.out_channels).to(self.embed.weight.dtype)
        if all_valid(valid):
            features = self._in_chunks(pixels, days)
        elif chunks.is_faster(pixels):
            # each sample with its own dates alone: exact, and nothing is computed for padding
            features = torch.cat(
                [self._in_chunks(pixels[i : i + 1, :, valid[i]], days[i : i + 1, valid[i]]) for i in range(len(valid))]
            )
        else:
            features = self._in_chunks(pixels.masked_fill(~valid[:, None, :, None], 0), days, valid)
        return torch.unflatten(features.transpose(1, 2), 2, series.shape[-2:])

    def _in_chunks(self, pixels: Tensor, *dates: Tensor) -> Tensor:
        """(B, P, T, C) to (B, P, D) for some pixels at a time, which keeps them in the cache, or within what fits."""
        batch, _, length, _ = pixels.shape
        if is_exporting():  # how many pixels there are is not known yet
            return self._read(pixels, *dates)
        if chunks.is_faster(pixels):
            return chunks.apply_in_chunks(self._read, pixels, *dates, length=batch * length, dim=1)
        return torch.cat(
            [self._read(some, *dates) for some in torch.split(pixels, max(1, PIXELS // batch), dim=1)], dim=1
        )

    def _read(self, pixels: Tensor, days: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, P, T, C), (B, T, D) and (B, T) to (B, P, D); no `valid` reads every date."""
        batch, count = pixels.shape[:2]
        tokens, mask = self.embed(pixels) + days[:, None], None
        if valid is not None:
            mask = valid[:, None, None, None].expand(-1, count, -1, -1, -1).flatten(0, 1)
        read = torch.unflatten(self.over_time(tokens.flatten(0, 1), mask=mask), 0, (batch, count))
        if valid is not None:
            read = read.masked_fill(~valid[:, None, :, None], -torch.inf)
        features: Tensor = read.amax(2)
        return features


def _day_codes(dates: Tensor, dim: int) -> Tensor:
    """Sines, then cosines, of the days at wavelengths from 2 pi to 20,000 pi: (B, T) to (B, T, dim), float32.

    Source: Vaswani et al. 2017, arXiv:1706.03762, with days for positions; unlike a table of learnt days, it knows
        days that training never saw.
    """
    half = (dim + 1) // 2
    rates = 10000 ** -(torch.arange(half, device=dates.device) / half)
    angles = dates[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)[..., :dim]
