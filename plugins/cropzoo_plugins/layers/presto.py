"""Network of Presto: a transformer over groups of bands and steps of the series of one pixel."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.padding import is_exporting
from cropzoo_plugins.layers.transformer import TransformerLayer

GROUPS = {
    "S1": 2,
    "S2_RGB": 3,
    "S2_Red_Edge": 3,
    "S2_NIR_10m": 1,
    "S2_NIR_20m": 1,
    "S2_SWIR": 2,
    "ERA5": 2,
    "SRTM": 2,
    "NDVI": 1,
}
"""Published groups of values in their order, and the number of values of each."""

LAND_COVER = "Dynamic_World"
"""Last group, whose values are classes."""

LAND_COVERS = 10
"""Classes of Dynamic World, 0 to 8, and the class of unknown land cover, 9, which is never used."""

STATIC = "SRTM"
"""Group that has one token, of the values at the first step."""

CPU_TOKENS = 640
"""Tokens per chunk and thread on a CPU. With twice as many on one thread, the allocator may return memory after each
chunk, and a third of the time is spent on page faults."""

GPU_TOKENS = 2**18
"""Tokens per chunk on a GPU, which need about a gigabyte at width 128."""


class Group(NamedTuple):
    """Normalized values of one group, and where they are present.

    Args:
        values: Values, (N, T, columns of the group), float; of `LAND_COVER` classes (N, T), int64. Values of absent
            steps must be finite, and classes in range.
        present: Mask of present steps, (N, T), bool.
    """

    values: Tensor
    present: Tensor


class PrestoEncoder(nn.Module):
    """Transformer encoder of pixels, pooled to the norm of the mean of the tokens.

    Each group of bands at each step is a token, and so is the location. Absent tokens are excluded.

    Args:
        dim: Number of channels of a token, D, a multiple of 8 and of `heads`.
        depth: Number of layers.
        heads: Number of attention heads.
        mlp_ratio: Hidden width of the MLP as a multiple of `dim`.
        steps: Number of rows of the table of positions.

    Source: Tseng et al. 2023, arXiv:2304.14065, and nasaharvest/presto. Differs: pixels of one batch may have different
        numbers of tokens, and the token of an unknown location is absent.
    """

    positions: Tensor
    months: Tensor

    def __init__(self, dim: int, depth: int, heads: int, mlp_ratio: int, steps: int) -> None:
        super().__init__()
        self.embed_groups = nn.ModuleDict({name: nn.Linear(width, dim) for name, width in GROUPS.items()})
        self.embed_land_cover = nn.Embedding(LAND_COVERS, dim)
        self.embed_location = nn.Linear(3, dim)
        self.embed_channels = nn.Embedding(len(GROUPS) + 1, dim // 4)
        self.layers = nn.ModuleList(
            TransformerLayer(dim, heads, dim // heads, mlp_ratio, dropout=0.0, qkv_bias=True) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.register_buffer("positions", position_table(steps, dim // 2), persistent=False)
        self.register_buffer("months", month_table(dim // 4), persistent=False)
        self.apply(_initialize)

    def forward(
        self, groups: Mapping[str, Group], months: Tensor, positions: Tensor, location: Tensor | None = None
    ) -> Tensor:
        """Compute the features of pixels.

        Args:
            groups: Groups that have values at any pixel, by name; N = B * P pixels, those of the first sample first.
            months: Month of each step, 0 for January, (B, T), int64.
            positions: Row of each step in the table of positions, (B, T), int64.
            location: Latitude and longitude in degrees, (B, 2), float; NaN or None if unknown.

        Returns:
            Features, (N, D). They are those of no token at all where nothing is present.
        """
        order = [name for name in (*GROUPS, LAND_COVER) if name in groups]
        given = {name: groups[name] for name in order}
        codes = self.encode_steps(order, months, positions, location)
        present = self.find_present(given, months, location)
        if chunks.is_faster(present):
            mean = self._average_by_count(given, codes, present)
        else:
            mean = self._average_masked(given, codes, present)
        features: Tensor = self.norm(mean)
        return features

    def encode_steps(
        self, order: list[str], months: Tensor, positions: Tensor, location: Tensor | None = None
    ) -> Tensor:
        """What the tokens of a sample share: the location, then the codes of groups and steps, (B, L, D)."""
        batch, length = months.shape
        position, month = F.embedding(positions, self.positions), F.embedding(months, self.months)
        codes = [self._embed_location(location, batch)[:, None]]
        for name in order:
            row = [*GROUPS, LAND_COVER].index(name)
            channel = self.embed_channels.weight[row].expand(batch, length, -1)
            if name == STATIC:
                channel = channel[:, :1]
                codes.append(torch.cat([torch.zeros_like(channel), channel, torch.zeros_like(position[:, :1])], -1))
            else:
                codes.append(torch.cat([month, channel, position], -1))
        return torch.cat(codes, 1)

    def find_present(self, groups: Mapping[str, Group], months: Tensor, location: Tensor | None = None) -> Tensor:
        """Mask of the present tokens, (N, L), bool, in the order of `encode_steps`."""
        masks = torch.cat(
            [group.present[:, :1] if name == STATIC else group.present for name, group in groups.items()], 1
        )
        masks = torch.unflatten(masks, 0, (months.shape[0], -1))
        known = torch.zeros_like(masks[:, :, :1])
        if location is not None:
            known = known | location.isfinite().all(1)[:, None, None]
        return torch.cat([known, masks], 2).flatten(0, 1)

    def embed(self, groups: Mapping[str, Group], codes: Tensor, rows: Tensor | None = None) -> Tensor:
        """Tokens of pixels, (N, L, D), from the codes of their samples, (B, L, D); of some rows of the groups only."""
        values, count = [], 0
        for name, group in groups.items():
            count = group.values.shape[0]
            given = group.values if rows is None else group.values[rows]
            embedding = self.embed_land_cover if name == LAND_COVER else self.embed_groups[name]
            values.append(embedding(given[:, :1] if name == STATIC else given))
        tokens = torch.cat([torch.zeros_like(values[0][:, :1]), *values], 1)
        if rows is None:
            return (torch.unflatten(tokens, 0, (codes.shape[0], -1)) + codes[:, None]).flatten(0, 1)
        return tokens.add_(codes[rows // (count // codes.shape[0])])

    def freeze_unused(self, used: Collection[str], location: bool) -> None:
        """Exclude the embeddings of all but the used inputs from training, in which they would get no gradient."""
        for name, layer in self.embed_groups.items():
            layer.requires_grad_(name in used)
        self.embed_land_cover.requires_grad_(LAND_COVER in used)
        self.embed_location.requires_grad_(location)

    def _embed_location(self, location: Tensor | None, batch: int) -> Tensor:
        """Embedding of the location on the unit sphere, (B, D); of latitude and longitude 0 where it is unknown."""
        if location is None:
            location = self.positions.new_zeros(batch, 2)
        embedded: Tensor = self.embed_location(unit_sphere(location).to(self.embed_location.weight.dtype))
        return embedded

    def _average_by_count(self, groups: Mapping[str, Group], codes: Tensor, present: Tensor) -> Tensor:
        """Mean tokens, (N, D), of chunks of pixels with the same number of present tokens; no mask is needed."""
        counts, order = present.sum(1).sort(stable=True)
        means = []
        for count, rows in zip(*split_equal(counts, order), strict=True):
            if count == 0:
                means.append(codes.new_zeros(len(rows), codes.shape[-1]))
                continue
            for chunk in torch.split(rows, max(1, CPU_TOKENS * torch.get_num_threads() // count)):
                tokens = self.embed(groups, codes, chunk)
                if count < tokens.shape[1]:
                    tokens = tokens[present[chunk]].reshape(len(chunk), count, -1)
                means.append(self._average(tokens))
        return torch.cat(means)[order.argsort()]

    def _average_masked(self, groups: Mapping[str, Group], codes: Tensor, present: Tensor) -> Tensor:
        """Mean tokens, (N, D), with masks, for devices whose values the host does not know, and for exported graphs."""
        if is_exporting():  # the number of pixels is symbolic
            return self._average_present(self.embed(groups, codes), present)
        rows = torch.arange(len(present), device=present.device)
        return torch.cat(
            [
                self._average_present(self.embed(groups, codes, chunk), present[chunk])
                for chunk in torch.split(rows, max(1, GPU_TOKENS // present.shape[1]))
            ]
        )

    def _average_present(self, tokens: Tensor, present: Tensor) -> Tensor:
        some = present.any(1, keepdim=True)
        mask = (present | ~some)[:, None, None]  # without any token, attention to all instead of NaN
        weights = present.to(tokens.dtype) / present.sum(1, keepdim=True).clamp(min=1)
        return self._average(tokens, weights, mask).masked_fill(~some, 0)

    def _average(self, tokens: Tensor, weights: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Mean of the encoded tokens, (S, D); see `TransformerLayer.mean`."""
        *layers, last = cast(Iterable[TransformerLayer], self.layers)
        for layer in layers:
            tokens = layer(tokens, mask=mask)
        return last.mean(tokens, weights, mask)


def position_table(steps: int, width: int) -> Tensor:
    """Table of positions, (steps, width), float32: sines in even columns and cosines in odd ones.

    Source: nasaharvest/presto. Base 1000 instead of 10000.
    """
    column = torch.arange(width, dtype=torch.float64)
    angles = torch.arange(steps, dtype=torch.float64)[:, None] / 1000 ** (2 * (column // 2) / width)
    return torch.where(column % 2 == 0, angles.sin(), angles.cos()).float()


def month_table(width: int) -> Tensor:
    """Table of months, (12, width), float32: one sine in the first half of the columns, one cosine in the second."""
    angles = 2 * math.pi * torch.arange(12, dtype=torch.float64)[:, None] / 12
    return torch.cat([angles.sin().expand(-1, width // 2), angles.cos().expand(-1, width - width // 2)], 1).float()


def unit_sphere(location: Tensor) -> Tensor:
    """Points on the unit sphere of latitude and longitude in degrees, (B, 2) to (B, 3); unknown ones count as 0."""
    latitude, longitude = (location.nan_to_num(0.0, 0.0, 0.0) * (math.pi / 180)).unbind(1)
    point = [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()]
    return torch.stack(point, 1)


def split_equal(counts: Tensor, order: Tensor) -> tuple[list[int], tuple[Tensor, ...]]:
    """Distinct values of sorted counts, and the part of `order` of each."""
    values, sizes = torch.unique_consecutive(counts, return_counts=True)
    return values.tolist(), torch.split(order, sizes.tolist())


def _initialize(module: nn.Module) -> None:
    """Published initial weights: Xavier for linear layers, N(0, 1) for embeddings, which is the default of PyTorch."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
