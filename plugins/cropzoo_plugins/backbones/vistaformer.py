"""VistaFormer: three stages of gated strided convolutions and attention within dates, with a light head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo import Backbone, UsageError
from cropzoo_plugins.layers.checks import check_image, check_rates, check_sizes, check_widths
from cropzoo_plugins.layers.padding import Frames, Padding, check_padding, zero_invalid
from cropzoo_plugins.layers.published import rename_keys
from cropzoo_plugins.layers.resampling import resample_weight
from cropzoo_plugins.layers.vistaformer_dates import Timelines
from cropzoo_plugins.layers.vistaformer_stage import VistaFormerStage

NAME = "vistaformer"
STAGES = 3
MIN_DATES = 4
"""Minimum number of dates, since two of the three stages halve it."""


class VistaFormer(Backbone):
    """Three stages that reduce the resolution in time and space, each with attention within dates.

    The output of each stage is reduced to one date by a kernel over all dates and resized to pixels. The features are a
    linear combination of the three, (B, head_channels, H, W).

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Side of the images in pixels, a multiple of 8; other multiples are supported after building.
        length: Number of dates of the kernels in the head, 60 if None; other series are interpolated to it.
        embed_dims: Number of channels of each stage.
        depths: Number of layers of each stage.
        heads: Number of attention heads of each stage.
        mlp_ratio: Hidden width of the MLP as a multiple of the number of channels of the stage.
        head_channels: Number of feature channels, D.
        dropout: Dropout rate in the layers and before the class scores.
        drop_path: Rate of stochastic depth.
        padding: "masked" computes only valid dates; "published" treats blank images at invalid dates as data.

    Raises:
        UsageError: If an option is out of range, or `image_size` is not a multiple of 8.
        UnknownName: If the padding does not exist.

    Source: MacDonald et al. 2024, arXiv:2409.08461. Differs from the published code: padded dates are excluded; any
        image size and number of dates is supported; stochastic depth skips only the residual branch, as in Huang et al.
        2016, arXiv:1603.09382; the head reduces time before it resizes, which is equivalent since both are linear.
    """

    size_multiple = 2**STAGES

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 32,
        length: int | None = None,
        embed_dims: Sequence[int] = (32, 64, 128),
        depths: Sequence[int] = (2, 2, 2),
        heads: Sequence[int] = (2, 4, 8),
        mlp_ratio: int = 4,
        head_channels: int = 64,
        dropout: float = 0.175,
        drop_path: float = 0.175,
        padding: Padding = "masked",
    ) -> None:
        super().__init__()
        length = 60 if length is None else length
        check_sizes(NAME, in_channels=in_channels, length=length, mlp_ratio=mlp_ratio, head_channels=head_channels)
        check_image(NAME, image_size, image_size, self.size_multiple, self.size_multiple)
        check_padding(padding, NAME)
        check_rates(NAME, dropout=dropout, drop_path=drop_path)
        self.padding, self.dropout, self.out_channels = padding, dropout, head_channels
        self.stages, inside = nn.ModuleList(), in_channels
        layer = {"mlp_ratio": mlp_ratio, "dropout": dropout, "drop_path": drop_path}
        self.spans = [max(1, length >> index) for index in range(STAGES)]
        for index, (dim, depth, count) in enumerate(_check_stages(embed_dims, depths, heads)):
            options = {**layer, "heads": count}
            self.stages.append(
                VistaFormerStage(inside, dim, index == 0, depth, self.spans[index], head_channels, options)
            )
            inside = dim
        self.fuse = nn.Conv2d(STAGES * head_channels, head_channels, kernel_size=1)
        self.fused_norm = nn.BatchNorm2d(head_channels)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute dense features.

        Args:
            series: Normalized series, (B, T, C, H, W), float32; H and W are multiples of 8.
            dates: Unused, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; padding does not affect the features.

        Returns:
            Features, (B, head_channels, H, W).

        Raises:
            UsageError: If a side of the image is not a multiple of 8, or the series has fewer than 4 dates with the
                published padding.
        """
        size = series.shape[-2:]
        check_image(NAME, size[0], size[1], self.size_multiple, self.size_multiple)
        if self.padding == "published":
            series, valid = self._zero_padding(series, valid)
        frames = Frames.of(valid)
        lines = Timelines.of(frames, MIN_DATES)
        cells, seen = self.stages[0](frames.gather(series).permute(0, 2, 3, 1)[:, None], lines, frames)
        maps = [seen]
        for stage in self.stages[1:]:
            images, lines = lines.group_pairs(cells), lines.halve()
            cells, seen = stage(images, lines)
            maps.append(seen)
        return F.gelu(self.fused_norm(self._fuse_maps(maps, size)))

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Interpolate the kernels over dates in the head to the length of this network."""
        for index, length in enumerate(self.spans):
            state = resample_weight(state, f"stages.{index}.reduce.weight", length, axis=2)
        return state

    def make_head(self, classes: int) -> nn.Module:
        """Build the published head: dropout and a 1x1 convolution."""
        return nn.Sequential(nn.Dropout(self.dropout), nn.Conv2d(self.out_channels, classes, kernel_size=1))

    def _zero_padding(self, series: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        if series.shape[1] < MIN_DATES:
            raise UsageError(
                f"a series of {series.shape[1]} dates for {NAME!r} with padding='published'; the published network "
                f"needs at least {MIN_DATES}; use a longer series, or padding='masked'"
            )
        return zero_invalid(series, valid), torch.ones_like(valid)

    def _fuse_maps(self, maps: list[Tensor], size: Sequence[int]) -> Tensor:
        """Combine the maps of the stages, (B, rows, columns, D), to features (B, D, H, W).

        The linear combination is applied to each map before it is resized.
        """
        parts = [
            F.linear(seen, weight).permute(0, 3, 1, 2)
            for seen, weight in zip(maps, self.fuse.weight[..., 0, 0].chunk(STAGES, dim=1), strict=True)
        ]
        resized = [F.interpolate(part, size=tuple(size), mode="bilinear", align_corners=False) for part in parts]
        mixed = resized[0] + resized[1] + resized[2]
        return mixed if self.fuse.bias is None else mixed + self.fuse.bias[:, None, None]


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a published VistaFormer state dict to the keys of `Model`.

    Raises:
        CropzooError: If a key does not belong to the published network.
    """
    return rename_keys(state_dict, _RULES, NAME)


_LAYER = r"backbone\.transformers\.(\d+)\.layers\.(\d+)\."
_OUR_LAYER = r"backbone.stages.\1.layers.\2."
_RULES = (
    (r"backbone\.embeddings\.(\d+)\.proj\.(.+)", r"backbone.stages.\1.patches.content.\2"),
    (r"backbone\.embeddings\.(\d+)\.gate_conv\.(.+)", r"backbone.stages.\1.patches.gate.\2"),
    (r"backbone\.embeddings\.0\.norm\.(.+)", r"backbone.stages.0.patches.norm.\1"),
    (_LAYER + r"0\.norm\.(.+)", _OUR_LAYER + r"attention_norm.\3"),
    (_LAYER + r"0\.fn\.to_qkv\.(.+)", _OUR_LAYER + r"qkv.\3"),
    (_LAYER + r"0\.fn\.to_out\.(.+)", _OUR_LAYER + r"attention_out.\3"),
    (_LAYER + r"1\.norm\.(.+)", _OUR_LAYER + r"mlp_norm.\3"),
    (_LAYER + r"1\.fn\.fc1\.(.+)", _OUR_LAYER + r"mlp_in.\3"),
    (_LAYER + r"1\.fn\.dwconv\.dwconv\.(.+)", _OUR_LAYER + r"mix.\3"),
    (_LAYER + r"1\.fn\.fc2\.(.+)", _OUR_LAYER + r"mlp_out.\3"),
    (r"backbone\.transformers\.(\d+)\.norm\.(.+)", r"backbone.stages.\1.norm.\2"),
    (r"head\.temp_downsample\.(\d+)\.(.+)", r"backbone.stages.\1.reduce.\2"),
    (r"head\.fuse\.(.+)", r"backbone.fuse.\1"),
    (r"head\.norm\.(.+)", r"backbone.fused_norm.\1"),
    (r"head\.out\.(.+)", r"head.1.\1"),
)


def _check_stages(embed_dims: Sequence[int], depths: Sequence[int], heads: Sequence[int]) -> list[tuple[int, int, int]]:
    """(channels, layers, heads) of each stage."""
    lists = {"embed_dims": embed_dims, "depths": depths, "heads": heads}
    dims, counts, head_counts = (check_widths(NAME, name, values, STAGES, 1) for name, values in lists.items())
    if any(dim % count for dim, count in zip(dims, head_counts, strict=True)):
        raise UsageError(
            f"heads={heads!r} for {NAME!r}; each must divide its stage's channels, {embed_dims!r}; "
            "give other heads or embed_dims"
        )
    return list(zip(dims, counts, head_counts, strict=True))
