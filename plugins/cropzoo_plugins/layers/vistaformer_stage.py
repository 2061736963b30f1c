"""Stage of VistaFormer: gated patches, then attention within dates and convolution across them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.padding import Frames
from cropzoo_plugins.layers.traced_timelines import TracedTimelines
from cropzoo_plugins.layers.vistaformer_dates import Timelines
from cropzoo_plugins.layers.vistaformer_mix import DepthwiseMix

CELLS = 5120
"""Cells per chunk; the forward pass is fastest from 3840 to 7680, and takes 1.4 times as long without chunks."""


class GatedPatches(nn.Module):
    """Gated patch embedding: cells of 2 x 2 pixels and one or two dates.

    Args:
        inside: Number of input channels.
        outside: Number of output channels.
        dates: Number of dates of a cell.
        normed: Whether to apply batch norm to the cells.
    """

    def __init__(self, inside: int, outside: int, dates: int, normed: bool) -> None:
        super().__init__()
        size = (dates, 2, 2)
        self.content = nn.Conv3d(inside, outside, size, stride=size)
        self.gate = nn.Conv3d(inside, outside, size, stride=size)
        self.norm = nn.BatchNorm1d(outside) if normed else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Compute cells, (N, h/2 * w/2, D), from images (N, dates, h, w, C) with any memory layout."""
        cells = torch.unflatten(torch.unflatten(images, 3, (-1, 2)), 2, (-1, 2)).permute(0, 2, 4, 1, 3, 5, 6)
        cells = cells.flatten(1, 2).flatten(2)
        both = self.content, self.gate
        weight = torch.cat([each.weight.permute(0, 2, 3, 4, 1).flatten(1) for each in both])
        bias = torch.cat([each.bias for each in both if each.bias is not None])
        gated = F.glu(F.linear(cells, weight, bias))
        normed: Tensor = self.norm(gated.flatten(0, 1))
        return normed.view_as(gated)


class StageLayer(nn.Module):
    """Attention among the cells of a date, then an MLP with a depthwise convolution over neighboring cells.

    Args:
        dim: Number of channels of a cell.
        heads: Number of attention heads.
        mlp_ratio: Hidden width of the MLP as a multiple of `dim`.
        dropout: Dropout rate of the attention weights, after the attention, and in the MLP.
        drop_path: Rate of stochastic depth.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        inner = mlp_ratio * dim
        self.heads, self.dropout, self.drop_path = heads, dropout, drop_path
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.attention_out = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp_in = nn.Linear(dim, inner)
        self.mix = DepthwiseMix(inner)
        self.mlp_out = nn.Linear(inner, dim)
        for linear in (self.qkv, self.attention_out, self.mlp_in, self.mlp_out):
            nn.init.trunc_normal_(linear.weight, std=0.02)
        nn.init.normal_(self.mix.weight, std=math.sqrt(2 / 9))
        for module in (self.attention_out, self.mlp_in, self.mix, self.mlp_out):
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, cells: Tensor, lines: Timelines | TracedTimelines, rows: int) -> Tensor:
        """Apply the layer to (N, rows * columns, D); `lines` describes the order of the N images."""
        if isinstance(lines, Timelines) and chunks.is_faster(cells) and not (self.training or torch.is_grad_enabled()):
            return self._forward_in_chunks(cells, lines, rows)
        cells = self._add_residual(cells, self._attend(cells), lines)
        hidden = self._mix_neighbors(lines.zero_blanks(self._expand(lines.as_series(cells))), rows)
        return self._add_residual(cells, self._contract(hidden).flatten(0, 1), lines)

    def _forward_in_chunks(self, cells: Tensor, lines: Timelines, rows: int) -> Tensor:
        """`forward` in chunks of images; the convolution reads one more date on either side of a chunk."""
        size, blanks = max(1, CELLS // cells.shape[1]), lines.blanks
        cells = torch.cat([some + self._attend(some) for some in torch.split(cells, size)])
        series, done = lines.as_series(cells), []
        length = series.shape[1]
        for some in torch.split(series, max(1, size // length)):
            for start in range(0, length, size):
                low, high = max(0, start - 1), min(length, start + size + 1)
                inside = blanks[(blanks >= low) & (blanks < high)] - low
                wide = self._expand(some[:, low:high])
                if len(inside):
                    wide.index_fill_(1, inside, 0)
                hidden = self._mix_neighbors(wide, rows)[:, start - low :][:, :size]
                done.append((some[:, start : start + size] + self._contract(hidden)).flatten(0, 1))
        return torch.cat(done)

    def _attend(self, cells: Tensor) -> Tensor:
        projected = torch.unflatten(self.qkv(self.attention_norm(cells)), 2, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        rate = self.dropout if self.training else 0.0
        gathered = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        return self._drop(self.attention_out(gathered.transpose(1, 2).flatten(2)))

    def _expand(self, series: Tensor) -> Tensor:
        """MLP before the convolution, (S, T, rows * columns, D) to (S, T, rows * columns, M), a new tensor."""
        wide: Tensor = self.mlp_in(self.mlp_norm(series))
        return wide

    def _mix_neighbors(self, wide: Tensor, rows: int) -> Tensor:
        """Convolution of the MLP, (S, T, rows * columns, M) to (S, T, rows, columns, M)."""
        wide = torch.unflatten(wide, 2, (rows, -1))
        mixed: Tensor = self.mix(wide.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return mixed

    def _contract(self, hidden: Tensor) -> Tensor:
        """MLP after the convolution, (S, T, rows, columns, M) to (S, T, rows * columns, D)."""
        return self._drop(self.mlp_out(self._drop(F.gelu(hidden)).flatten(2, 3)))

    def _drop(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training)

    def _add_residual(self, cells: Tensor, change: Tensor, lines: Timelines | TracedTimelines) -> Tensor:
        if self.training and self.drop_path and isinstance(lines, Timelines):
            kept = change.new_empty(len(lines.lengths)).bernoulli_(1 - self.drop_path) / (1 - self.drop_path)
            change = change * kept[lines.samples][:, None, None]
        return cells + change


class VistaFormerStage(nn.Module):
    """Gated patches, layers and a layer norm, with a kernel over all dates that reduces them to one.

    Args:
        inside: Number of input channels.
        dim: Number of channels of a cell.
        first: Whether the stage reads the series itself; its cells then span one date instead of two and have batch
            norm.
        depth: Number of layers.
        length: Number of dates of the kernel.
        outside: Number of channels after the reduction over dates.
        layer: Options of `StageLayer` except `dim`.
    """

    def __init__(
        self, inside: int, dim: int, first: bool, depth: int, length: int, outside: int, layer: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.patches = GatedPatches(inside, dim, dates=1 if first else 2, normed=first)
        self.layers = nn.ModuleList(StageLayer(dim, **layer) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.reduce = nn.Conv3d(dim, outside, (length, 1, 1))

    def forward(
        self, images: Tensor, lines: Timelines | TracedTimelines, frames: Frames | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the inputs of the next stage and of the head.

        Args:
            images: Images that the cells cover, (N, dates, h, w, C), with any memory layout.
            lines: Order of the images of the cells in their list.
            frames: Valid dates in `images`; only for the first stage, which creates the list.

        Returns:
            Input of the next stage, (N, h/2, w/2, D), and of the head, (B, h/2, w/2, `outside`).
        """
        rows, cells = images.shape[2] // 2, self.patches(images)
        if frames is not None:
            cells = lines.create_list(frames, cells)
        for layer in self.layers:
            cells = layer(cells, lines, rows)
        cells = self.norm(cells)
        return torch.unflatten(cells, 1, (rows, -1)), torch.unflatten(self._reduce_dates(cells, lines), 1, (rows, -1))

    def _reduce_dates(self, cells: Tensor, lines: Timelines | TracedTimelines) -> Tensor:
        """Reduce (N, P, D) to (B, P, `outside`), as if the series were resampled to the length of the kernel."""
        kernel = lines.resample_kernel(self.reduce.weight[..., 0, 0].permute(2, 1, 0)).flatten(1, 2)
        reduced = lines.pad(cells).transpose(1, 2).flatten(2) @ kernel
        return reduced if self.reduce.bias is None else reduced + self.reduce.bias
