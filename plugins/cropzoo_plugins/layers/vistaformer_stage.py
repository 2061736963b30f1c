"""A stage of VistaFormer: gated patches, then layers of attention within dates and of convolution across them."""

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
"""Cells of a chunk: from 3840 to 7680 the forward pass ran fastest; in one piece it took 1.4 times as long."""


class GatedPatches(nn.Module):
    """Cells of 2 x 2 pixels of one or two dates, each a vector times the sigmoid of another.

    Args:
        inside: channels of the pixels.
        outside: channels of the cells.
        dates: of a cell.
        normed: batch norm over the cells.
    """

    def __init__(self, inside: int, outside: int, dates: int, normed: bool) -> None:
        super().__init__()
        size = (dates, 2, 2)
        self.content = nn.Conv3d(inside, outside, size, stride=size)
        self.gate = nn.Conv3d(inside, outside, size, stride=size)
        self.norm = nn.BatchNorm1d(outside) if normed else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Cells, (N, h/2 * w/2, D), of images (N, dates, h, w, C); any strides."""
        cells = torch.unflatten(torch.unflatten(images, 3, (-1, 2)), 2, (-1, 2)).permute(0, 2, 4, 1, 3, 5, 6)
        cells = cells.flatten(1, 2).flatten(2)
        both = self.content, self.gate
        weight = torch.cat([each.weight.permute(0, 2, 3, 4, 1).flatten(1) for each in both])
        bias = torch.cat([each.bias for each in both if each.bias is not None])
        gated = F.glu(F.linear(cells, weight, bias))
        normed: Tensor = self.norm(gated.flatten(0, 1))
        return normed.view_as(gated)


class StageLayer(nn.Module):
    """Attention of the cells of one date to each other, then a network on each cell that reads its neighbors.

    Args:
        dim: channels of a cell.
        heads: of the attention.
        mlp_ratio: hidden width of the network, in multiples of `dim`.
        dropout: rate on attention weights, after the attention, and twice in the network.
        drop_path: rate at which a sample skips either half.
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
        """(N, rows * columns, D) to the same; the N images lie as `lines` says."""
        if isinstance(lines, Timelines) and chunks.pays(cells) and not (self.training or torch.is_grad_enabled()):
            return self._in_chunks(cells, lines, rows)
        cells = self._added(cells, self._attend(cells), lines)
        hidden = self._mixed(lines.blanked(self._wide(lines.series(cells))), rows)
        return self._added(cells, self._narrow(hidden).flatten(0, 1), lines)

    def _in_chunks(self, cells: Tensor, lines: Timelines, rows: int) -> Tensor:
        """`forward` for some images at a time; the network reads one date more on either side of a chunk."""
        size, blanks = max(1, CELLS // cells.shape[1]), lines.blanks
        cells = torch.cat([some + self._attend(some) for some in torch.split(cells, size)])
        series, done = lines.series(cells), []
        length = series.shape[1]
        for some in torch.split(series, max(1, size // length)):
            for start in range(0, length, size):
                low, high = max(0, start - 1), min(length, start + size + 1)
                inside = blanks[(blanks >= low) & (blanks < high)] - low
                wide = self._wide(some[:, low:high])
                if len(inside):
                    wide.index_fill_(1, inside, 0)
                hidden = self._mixed(wide, rows)[:, start - low :][:, :size]
                done.append((some[:, start : start + size] + self._narrow(hidden)).flatten(0, 1))
        return torch.cat(done)

    def _attend(self, cells: Tensor) -> Tensor:
        projected = torch.unflatten(self.qkv(self.attention_norm(cells)), 2, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        rate = self.dropout if self.training else 0.0
        gathered = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        return self._drop(self.attention_out(gathered.transpose(1, 2).flatten(2)))

    def _wide(self, series: Tensor) -> Tensor:
        """The network up to its convolution, (S, T, rows * columns, D) to (S, T, rows * columns, M), a new tensor."""
        wide: Tensor = self.mlp_in(self.mlp_norm(series))
        return wide

    def _mixed(self, wide: Tensor, rows: int) -> Tensor:
        """The convolution, (S, T, rows * columns, M) to (S, T, rows, columns, M)."""
        wide = torch.unflatten(wide, 2, (rows, -1))
        mixed: Tensor = self.mix(wide.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return mixed

    def _narrow(self, hidden: Tensor) -> Tensor:
        """The rest of the network, (S, T, rows, columns, M) to (S, T, rows * columns, D)."""
        return self._drop(self.mlp_out(self._drop(F.gelu(hidden)).flatten(2, 3)))

    def _drop(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training)

    def _added(self, cells: Tensor, change: Tensor, lines: Timelines | TracedTimelines) -> Tensor:
        if self.training and self.drop_path and isinstance(lines, Timelines):
            kept = change.new_empty(len(lines.lengths)).bernoulli_(1 - self.drop_path) / (1 - self.drop_path)
            change = change * kept[lines.samples][:, None, None]
        return cells + change


class Stage(nn.Module):
    """Gated patches, layers, a layer norm; and a kernel over all dates that makes one date of them.

    Args:
        inside: channels of what comes in.
        dim: channels of a cell.
        first: whether it reads the series itself: then a cell covers one date, not two, and is batch-normed.
        depth: layers.
        length: dates that the kernel spans.
        outside: channels of the one date.
        layer: options of `StageLayer` but for `dim`.
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
        """What the next stage reads, and what the head reads.

        Args:
            images: (N, dates, h, w, C), the images that each cell covers; any strides.
            lines: how the cells' images lie in their list.
            frames: the valid dates that `images` holds, for the first stage: it makes that list.

        Returns:
            (N, h/2, w/2, D) and (B, h/2, w/2, `outside`).
        """
        rows, cells = images.shape[2] // 2, self.patches(images)
        if frames is not None:
            cells = lines.spread(frames, cells)
        for layer in self.layers:
            cells = layer(cells, lines, rows)
        cells = self.norm(cells)
        return torch.unflatten(cells, 1, (rows, -1)), torch.unflatten(self._reduced(cells, lines), 1, (rows, -1))

    def _reduced(self, cells: Tensor, lines: Timelines | TracedTimelines) -> Tensor:
        """(N, P, D) to (B, P, `outside`): as if the series were resized to the kernel's length first."""
        kernel = lines.resized(self.reduce.weight[..., 0, 0].permute(2, 1, 0)).flatten(1, 2)
        reduced = lines.padded(cells).transpose(1, 2).flatten(2) @ kernel
        return reduced if self.reduce.bias is None else reduced + self.reduce.bias
