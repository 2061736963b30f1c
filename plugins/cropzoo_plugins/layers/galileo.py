"""Network of Galileo: a transformer over groups of values, months and patches of a window of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.padding import is_exporting
from cropzoo_plugins.layers.presto import GPU_TOKENS, Group, month_table, split_equal
from cropzoo_plugins.layers.transformer import TransformerLayer


class Layout(NamedTuple):
    """Layout of a group of values.

    Args:
        columns: Number of values at one place and time.
        spatial: Whether each patch has a token of its own.
        temporal: Whether each step has a token of its own.
    """

    columns: int
    spatial: bool
    temporal: bool


GROUPS = {
    **{name: Layout(columns, True, True) for name, columns in {"S1": 2, "S2_RGB": 3, "S2_Red_Edge": 3}.items()},
    **{name: Layout(columns, True, True) for name, columns in {"S2_NIR_10m": 1, "S2_NIR_20m": 1, "S2_SWIR": 2}.items()},
    "NDVI": Layout(1, True, True),
    **{name: Layout(columns, True, False) for name, columns in {"SRTM": 2, "DW": 9, "WC": 5}.items()},
    **{name: Layout(columns, False, True) for name, columns in {"ERA5": 2, "TC": 3, "VIIRS": 1}.items()},
    **{name: Layout(columns, False, False) for name, columns in {"LS": 1, "location": 3}.items()},
    **{name: Layout(columns, False, False) for name, columns in {"DW_static": 9, "WC_static": 5}.items()},
}
"""Published groups of values in their order."""


class GalileoEncoder(nn.Module):
    """Transformer encoder of windows, pooled to the mean of the normed tokens of each patch.

    Each group of values is a token for each patch and each step that it has. Absent tokens are excluded.

    Args:
        dim: Number of channels of a token, D, a multiple of 16 and of `heads`.
        depth: Number of layers.
        heads: Number of attention heads.
        mlp_ratio: Hidden width of the MLP as a multiple of `dim`.
        steps: Number of rows of the table of positions.
        max_patch: Side of the stored kernels of patches in pixels; they are resized for other patches.
        patch: Side of a patch in pixels.
        rows: Number of rows, and of columns, of the patches of a window, G.
        resolution: Side of a pixel in meters.

    Source: Tseng et al. 2025, arXiv:2502.09356, and nasaharvest/galileo. Differs: windows of one batch may have
        different numbers of tokens; there is no stochastic depth.
    """

    positions: Tensor
    months: Tensor
    resizing: Tensor

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        mlp_ratio: int,
        steps: int,
        max_patch: int,
        *,
        patch: int = 1,
        rows: int = 1,
        resolution: float = 10.0,
    ) -> None:
        super().__init__()
        self.patch, self.rows, self.resolution = patch, rows, resolution
        self.embed_groups = nn.ModuleDict()
        for name, (columns, spatial, _) in GROUPS.items():
            self.embed_groups[name] = nn.Conv2d(columns, dim, max_patch) if spatial else nn.Linear(columns, dim)
        self.embed_channels = nn.Parameter(torch.zeros(len(GROUPS), dim // 4))
        self.layers = nn.ModuleList(
            TransformerLayer(dim, heads, dim // heads, mlp_ratio, dropout=0.0, qkv_bias=True) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.register_buffer("positions", sinusoids(torch.arange(steps), dim // 4), persistent=False)
        self.register_buffer("months", month_table(dim // 4), persistent=False)
        self.register_buffer("resizing", kernel_resizing(max_patch, patch), persistent=False)
        self.apply(_initialize)

    def forward(self, groups: Mapping[str, Group], months: Tensor, positions: Tensor) -> Tensor:
        """Compute the features of the patches of windows.

        Args:
            groups: Groups that have values, by name; N = B * P windows, those of the first sample first. For windows
                of W = rows * patch pixels, T steps and C columns of the group, values are (N, W, W, T, C); the
                dimensions W or T are missing where the layout of the group says so. Masks have the shape of the values
                without the last dimension. The top left pixel decides whether a patch is present; the values of all
                its pixels are used, and must be finite.
            months: Month of each step, 0 for January, (B, T), int64.
            positions: Row of each step in the table of positions, (B, T), int64.

        Returns:
            Features, (N, G * G, D), the patches row by row; zero for a patch without a token.
        """
        given = {name: groups[name] for name in GROUPS if name in groups}
        codes, present = self.encode_places(list(given), months, positions), self.find_present(given)
        if chunks.is_faster(present):
            return self._encode_by_count(given, codes, present)
        return self._encode_masked(given, codes, present)

    def embed(self, groups: Mapping[str, Group], codes: Tensor, rows: Tensor | None = None) -> Tensor:
        """Tokens of windows, (N, L, D), from the codes of their samples, (B, L, D); of some rows of the groups only."""
        parts, count = [], 0
        for name, (values, _) in groups.items():
            layer, count = self.embed_groups[name], values.shape[0]
            if rows is not None:
                values = values[rows]
            if not GROUPS[name].temporal:
                values = values.unsqueeze(-2)
            embedded = self._embed_patches(layer, values) if isinstance(layer, nn.Conv2d) else layer(values)
            parts.append(embedded.flatten(1, -2))
        tokens = torch.cat(parts, 1)
        if rows is not None:
            return tokens + codes[rows // (count // codes.shape[0])]
        return (torch.unflatten(tokens, 0, (codes.shape[0], -1)) + codes[:, None]).flatten(0, 1)

    def find_present(self, groups: Mapping[str, Group]) -> Tensor:
        """Mask of the present tokens, (N, L), bool, in the order of `embed`."""
        masks = []
        for name, (_, present) in groups.items():
            _, spatial, temporal = GROUPS[name]
            mask = present if temporal else present.unsqueeze(-1)
            masks.append((mask[:, :: self.patch, :: self.patch] if spatial else mask).flatten(1))
        return torch.cat(masks, 1)

    def _embed_patches(self, layer: nn.Conv2d, values: Tensor) -> Tensor:
        """Embed the patches of windows, (N, W, W, T, C), as (N, G, G, T, D), by a kernel that is resized to them.

        Source: Beyer et al. 2023, arXiv:2212.08013: the kernel is multiplied by the pseudoinverse of an interpolation.
        """
        split = torch.unflatten(torch.unflatten(values, 2, (-1, self.patch)), 1, (-1, self.patch))
        pixels = split.permute(0, 1, 3, 5, 6, 2, 4).flatten(-3)  # bands, then the pixels of the patch
        kernel = layer.weight.flatten(2) @ self.resizing.to(layer.weight.dtype)
        return F.linear(pixels, kernel.flatten(1), layer.bias)

    def encode_places(self, names: list[str], months: Tensor, positions: Tensor) -> Tensor:
        """Codes of the tokens of samples by group, position, month and place, (B, L, D)."""
        batch, quarter = months.shape[0], self.embed_channels.shape[1]
        times = torch.cat([F.embedding(positions, self.positions), F.embedding(months, self.months)], -1)
        meters = torch.arange(self.rows, device=months.device) * (self.resolution * self.patch)
        codes, shape = sinusoids(meters / 10, quarter // 2), (self.rows, self.rows, -1)
        places = torch.cat([codes[None].expand(shape), codes[:, None].expand(shape)], -1).flatten(0, 1)
        parts = []
        for name in names:
            _, spatial, temporal = GROUPS[name]
            channel = self.embed_channels[list(GROUPS).index(name)]
            time = times[:, None] if temporal else torch.zeros_like(times[:, None, :1])
            place = places[None, :, None] if spatial else torch.zeros_like(places[None, :1, None])
            size = (batch, place.shape[1], time.shape[2], -1)
            parts.append(torch.cat([each.expand(size) for each in (channel, time, place)], -1).flatten(1, 2))
        return torch.cat(parts, 1)

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the layers and the norm to tokens, (S, L, D), with a mask (S, 1, 1, L) of those to attend to."""
        for layer in self.layers:
            tokens = layer(tokens, mask=mask)
        encoded: Tensor = self.norm(tokens)
        return encoded

    def _pool(self, groups: Mapping[str, Group], tokens: Tensor, present: Tensor) -> Tensor:
        """Mean over the present tokens of each patch, and of those of the whole window, (N, G * G, D)."""
        patches, weights, start = self.rows**2, present.to(tokens.dtype)[..., None], 0
        counted = torch.cat([tokens * weights, weights], -1)
        total = counted.new_zeros(1)
        for name, (_, mask) in groups.items():
            _, spatial, temporal = GROUPS[name]
            size = (patches if spatial else 1) * (mask.shape[-1] if temporal else 1)
            part = torch.unflatten(counted[:, start : start + size], 1, (patches if spatial else 1, -1))
            total, start = total + part.sum(2), start + size
        total = total.expand(-1, patches, -1)
        return total[..., :-1] / total[..., -1:].clamp(min=1)

    def freeze_unused(self, used: Mapping[str, object]) -> None:
        """Exclude the embeddings of all groups but those used from training, in which they would get no gradient."""
        for name, layer in self.embed_groups.items():
            layer.requires_grad_(name in used)

    def _encode_by_count(self, groups: Mapping[str, Group], codes: Tensor, present: Tensor) -> Tensor:
        """Features of chunks of windows with the same number of present tokens, which need no mask."""
        counts, order = present.sum(1).sort(stable=True)
        features, length = [], present.shape[1]
        for count, rows in zip(*split_equal(counts, order), strict=True):
            for chunk in torch.split(rows, max(1, chunks.TOKENS // max(1, count))):
                tokens, mask = self.embed(groups, codes, chunk), present[chunk]
                if count == length:
                    tokens = self.encode(tokens)
                elif count:
                    read = self.encode(tokens[mask].reshape(len(chunk), count, -1))
                    tokens = torch.zeros_like(tokens).masked_scatter(mask[..., None], read)
                features.append(self._pool(groups, tokens, mask))
        return torch.cat(features)[order.argsort()]

    def _encode_masked(self, groups: Mapping[str, Group], codes: Tensor, present: Tensor) -> Tensor:
        """Features computed with masks, for devices whose values the host does not know, and for exported graphs."""
        mask = (present | ~present.any(1, keepdim=True))[:, None, None]  # without any token, attention to all, not NaN
        if is_exporting():  # the number of windows is symbolic
            return self._pool(groups, self.encode(self.embed(groups, codes), mask), present)
        rows = torch.arange(present.shape[0], device=present.device)
        return torch.cat(
            [
                self._pool(groups, self.encode(self.embed(groups, codes, chunk), mask[chunk]), present[chunk])
                for chunk in torch.split(rows, max(1, GPU_TOKENS // present.shape[1]))
            ]
        )


def sinusoids(values: Tensor, width: int) -> Tensor:
    """Sines in the first half of `width` columns and cosines in the second, (..., width), float32.

    Source: nasaharvest/galileo, whose exponents end at 1/4 instead of 1.
    """
    rates = 10000 ** -(torch.arange(width // 2, device=values.device).float() / (2 * width))
    angles = values[..., None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], -1)


def kernel_resizing(side: int, patch: int) -> Tensor:
    """Matrix, (side * side, patch * patch), by which a flattened kernel is multiplied to fit patches of another size.

    The pseudoinverse of the bicubic interpolation of images, in float32 as published; in float64, tokens differ by up
    to 2e-5.
    """
    if patch == side:
        return torch.eye(side * side)
    images = torch.eye(side * side, device="cpu").reshape(-1, 1, side, side)
    resized = F.interpolate(images, size=(patch, patch), mode="bicubic", align_corners=False, antialias=True)
    inverse: Tensor = torch.linalg.pinv(resized.flatten(1))
    return inverse.t().contiguous()


def _initialize(module: nn.Module) -> None:
    """Published initial weights: Xavier for linear layers, the default of PyTorch for kernels."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
