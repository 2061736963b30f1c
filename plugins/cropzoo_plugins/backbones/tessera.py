"""TESSERA: a transformer over the clear observations of each pixel, distilled from a foundation model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo import Backbone, UsageError
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.bands import name_bands
from cropzoo_plugins.layers.checks import check_multiple, check_rates, check_sizes
from cropzoo_plugins.layers.observations import count_uses
from cropzoo_plugins.layers.weighted_transformer import WeightedEncoder

NAME = "tessera"

MOMENTS = {
    "B04": (1633.0042, 1999.4603),
    "B02": (1341.1090, 2014.7549),
    "B03": (1539.5536, 1929.2201),
    "B08": (3054.8269, 1754.2493),
    "B8A": (3117.4658, 1649.9807),
    "B05": (2004.1648, 1936.8988),
    "B06": (2694.7275, 1748.6041),
    "B07": (2945.1504, 1708.6991),
    "B11": (2266.6079, 1207.5250),
    "B12": (1657.3094, 1108.6046),
}
"""Mean and standard deviation of the digital numbers (reflectance * 10000) of each band in the pre-training, in the
order of the network."""

PIXELS = 4096
"""Pixels per chunk on a GPU."""


class Tessera(Backbone):
    """Student network of TESSERA v2. The features are an embedding of each pixel, (B, repr_dim, H, W).

    The tokens are the clear observations of a pixel with their days of the year; there is no spatial context. As in the
    published inference, their number is changed to a multiple of 8 by taking some of them twice, or to 256 by leaving
    some out. The branch for Sentinel-1 gets what the published inference gives it for a pixel without observations, and
    is not trained.

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Unused; any image size is supported.
        length: Unused; any number of dates is supported.
        bands: Names of the bands of the series in order. The network needs the ten bands of Sentinel-2 at 10 and 20 m;
            others are left out. If None, these ten bands in the order of PASTIS, B02 to B08, B8A, B11 and B12.
        repr_dim: Number of channels of the embedding.
        latent_dim: A quarter of the number of channels of a token.
        depth: Number of layers.
        heads: Number of attention heads, a divisor of 4 * latent_dim.
        mlp_dim: Hidden width of the MLP.
        qk_norm: Whether queries and keys are normalized.
        dropout: Dropout rate before the last layer.

    Raises:
        UsageError: If an option is out of range, or a band is missing.

    Source: github.com/ucam-eo/tessera at ef4f0ac. Differs: observations that are taken twice are computed once, and
        count twice in attention and pool.
    """

    size_multiple = 1
    picks: Tensor
    moments: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        bands: Sequence[str] | None = None,
        repr_dim: int = 128,
        latent_dim: int = 64,
        depth: int = 4,
        heads: int = 4,
        mlp_dim: int = 1024,
        qk_norm: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        check_sizes(NAME, in_channels=in_channels, repr_dim=repr_dim, depth=depth, heads=heads, mlp_dim=mlp_dim)
        check_multiple(NAME, heads // math.gcd(heads, 4), latent_dim=latent_dim)
        check_rates(NAME, dropout=dropout)
        self.out_channels, width = repr_dim, 4 * latent_dim
        self.s2 = WeightedEncoder(len(MOMENTS), width, depth, heads, mlp_dim, qk_norm)
        self.s1 = WeightedEncoder(2, width, depth, heads, mlp_dim, qk_norm).requires_grad_(False)
        self.reduce_in = nn.Linear(2 * width, 4 * width)
        self.reduce_norm = nn.LayerNorm(4 * width)
        self.dropout = nn.Dropout(dropout)
        self.reduce_out = nn.Linear(4 * width, repr_dim)
        self.register_buffer("picks", torch.tensor(_place_bands(bands, in_channels)), persistent=False)
        self.register_buffer("moments", torch.tensor(list(MOMENTS.values())).t(), persistent=False)

    def forward(
        self, series: Tensor, dates: Tensor, valid: Tensor, *, clear: Tensor | None = None, padded: bool = True
    ) -> Tensor:
        """Compute the embedding of each pixel.

        Args:
            series: Reflectance, (B, T, C, H, W), float32.
            dates: Day of the year 1..366, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; padding does not affect the features.
            clear: Mask of clear pixels, (B, T, H, W), bool; None if all are clear. Others do not affect the features.
            padded: Whether any date is invalid.

        Returns:
            Embeddings, (B, repr_dim, H, W). A pixel without a clear observation has the embedding of the mean values on
            day 0, as in the published inference.
        """
        batch, length, _, height, width = series.shape
        observed = valid[:, None, None].expand(-1, height, width, -1)
        if clear is not None:
            observed = observed & clear.permute(0, 2, 3, 1)
        pixels = (
            series.index_select(2, self.picks).permute(0, 3, 4, 1, 2).reshape(-1, length, len(MOMENTS)),
            dates[:, None].expand(-1, height * width, -1).reshape(-1, length),
            observed.reshape(-1, length),
        )
        compact = chunks.is_faster(series) and (padded or clear is not None)
        embeddings = self._embed_compact(*pixels) if compact else self._embed_all(*pixels)
        return torch.unflatten(embeddings, 0, (batch, height, width)).permute(0, 3, 1, 2)

    def reduce(self, optical: Tensor, radar: Tensor) -> Tensor:
        """Embeddings, (S, repr_dim), of mean 0 and variance 1, from the pooled features of both sensors, (S, D)."""
        hidden = F.relu(self.reduce_norm(self.reduce_in(torch.cat([optical, radar], 1))))
        return F.layer_norm(self.reduce_out(self.dropout(hidden)), (self.out_channels,))

    def _embed_compact(self, series: Tensor, days: Tensor, observed: Tensor) -> Tensor:
        """`_embed_all` without the computation of what is not observed, by pixels with about as many observations."""
        counts = observed.sum(1)
        order = torch.argsort(counts, descending=True, stable=True)
        radar, found, start = self._radar(series), [], 0
        while start < len(order):
            longest = max(1, int(counts[order[start]]))
            some = order[start : start + max(1, chunks.TOKENS // longest)]
            first = torch.argsort(observed[some].logical_not(), dim=1, stable=True)[:, :longest]
            values = torch.take_along_dim(series[some], first[:, :, None], 1)
            seen = [torch.take_along_dim(each[some], first, 1) for each in (days, observed)]
            found.append(self._embed(values, seen[0], seen[1], radar))
            start += len(some)
        return torch.cat(found)[torch.argsort(order)]

    def _embed_all(self, series: Tensor, days: Tensor, observed: Tensor) -> Tensor:
        """Embeddings, (S, repr_dim), of reflectance, (S, T, 10), days, (S, T), and the mask of observations, (S, T)."""
        radar = self._radar(series)
        if torch.compiler.is_compiling():  # the number of pixels is symbolic
            return self._embed(series, days, observed, radar)
        size = max(1, chunks.TOKENS // series.shape[1]) if chunks.is_faster(series) else PIXELS
        parts = zip(torch.split(series, size), torch.split(days, size), torch.split(observed, size), strict=True)
        return torch.cat([self._embed(*part, radar) for part in parts])

    def _embed(self, series: Tensor, days: Tensor, observed: Tensor, radar: Tensor) -> Tensor:
        values = (series * 10000 - self.moments[0]) / (self.moments[1] + 1e-9)
        optical = encode_observed(self.s2, values, days, observed)
        return self.reduce(optical, radar.expand(optical.shape[0], -1))

    def _radar(self, like: Tensor) -> Tensor:
        """Pooled features of Sentinel-1 of a pixel without observations, (1, D)."""
        days = like.new_zeros(1, 1)
        return encode_observed(self.s1, like.new_zeros(1, 1, 2), days, days.bool())


def encode_observed(encoder: WeightedEncoder, values: Tensor, days: Tensor, observed: Tensor) -> Tensor:
    """Pooled features of the observations of pixels by one sensor, (S, D).

    Args:
        encoder: Encoder of the sensor.
        values: Standardized values, (S, T, bands); those that are not observed do not affect the features.
        days: Days of the year, (S, T).
        observed: Mask of observations, (S, T), bool. A pixel without any gets the features of one observation with
            values and day of zero, as in the published inference.
    """
    first = torch.arange(observed.shape[1], device=observed.device) == 0
    weights = torch.where(first & ~observed.any(1, keepdim=True), 1, count_uses(observed))
    features: Tensor = encoder(values.masked_fill(~observed[:, :, None], 0), days.masked_fill(~observed, 0), weights)
    return features


def _place_bands(bands: Sequence[str] | None, in_channels: int) -> list[int]:
    """Place of each band of the network in the series.

    Raises:
        UsageError: If the names are wrong, or a band is missing.
    """
    names = name_bands(NAME, bands, in_channels)
    missing = [band for band in sorted(MOMENTS) if band not in names]
    if missing:
        raise UsageError(
            f"bands={list(names)} for {NAME!r}; the network needs {', '.join(missing)}, too; give images with all "
            "bands of Sentinel-2 at 10 and 20 m, name the bands accordingly, or choose presto, which works without some"
        )
    return [names.index(band) for band in MOMENTS]
