"""U-TAE: a U-Net on each date, whose maps are summed over the dates with attention computed at the lowest scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from cropzoo import Backbone, UsageError
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.aggregation import aggregate
from cropzoo_plugins.layers.checks import check_image, check_sizes, check_widths
from cropzoo_plugins.layers.ltae import TemporalAttention
from cropzoo_plugins.layers.padding import Frames, Padding, check_padding, find_nonzero_dates, zero_invalid
from cropzoo_plugins.layers.published import rename_keys
from cropzoo_plugins.layers.utae_blocks import GROUPS, DownBlock, UpBlock, conv_block

NAME = "utae"

LAST = torch.channels_last
"""Memory format in which convolutions are 1.4 times as fast on a CPU, and also faster on GPUs."""

CHUNK = 2**22
"""Number of values in the largest map of a chunk of dates; from 2**20 to 2**22 the CPU time is a quarter less than
without chunks, and larger chunks need less synchronization."""


class UTAE(Backbone):
    """U-Net with temporal attention. The encoder processes single dates, the decoder their weighted sums.

    The attention is computed once, at the lowest resolution; its weights are resized for the other scales.

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Side of the images in pixels, a multiple of 2 ** levels with levels = len(encoder_widths) - 1; other
            multiples are supported after building.
        length: Unused; any number of dates is supported.
        encoder_widths: Numbers of channels of the encoder, from the highest to the lowest resolution.
        decoder_widths: Numbers of channels of the decoder in the same order; the last ones must be equal.
        heads: Number of attention heads, a divisor of each encoder width.
        model_dim: Number of value channels of the attention, a multiple of `heads`.
        key_dim: Number of query and key channels of a head.
        head_width: Number of hidden channels of the published head.
        padding: "masked" excludes padded dates; "published" is for published weights: dates that are all zero are
            padding, and are included as zeros in the norm before the attention.

    Raises:
        UsageError: If an option is out of range, or `image_size` is not a multiple of 2 ** levels.

    Source: Garnot and Landrieu 2021, arXiv:2107.07933. Differs from the published code: padded dates are excluded from
        the norm before the attention; maps with a side of one pixel are padded by replication, where the published
        code fails; a valid date is not treated as padding if one of its feature maps is all zero.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        encoder_widths: Sequence[int] = (64, 64, 64, 128),
        decoder_widths: Sequence[int] = (32, 32, 64, 128),
        heads: int = 16,
        model_dim: int = 256,
        key_dim: int = 4,
        head_width: int = 32,
        padding: Padding = "masked",
    ) -> None:
        super().__init__()
        check_padding(padding, NAME)
        check_sizes(NAME, in_channels=in_channels, classes=classes, heads=heads, head_width=head_width)
        down, up = _check_widths(encoder_widths, decoder_widths, heads)
        self.padding, self.stem_width, self.head_width = padding, down[0], head_width
        self.out_channels, self.size_multiple = up[0], 2 ** (len(down) - 1)
        self._check_image(image_size, image_size)
        self.stem = nn.Sequential(*conv_block(in_channels, down[0], "group"), *conv_block(down[0], down[0], "group"))
        self.down = nn.ModuleList(DownBlock(wide, deep) for wide, deep in pairwise(down))
        self.over_time = TemporalAttention(down[-1], heads=heads, model_dim=model_dim, key_dim=key_dim, backbone=NAME)
        self.up = nn.ModuleList(
            UpBlock(up[level], up[level - 1], down[level - 1]) for level in range(len(down) - 1, 0, -1)
        )

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute dense features.

        Args:
            series: Normalized series, (B, T, C, H, W), float32; H and W are multiples of `size_multiple`.
            dates: Days since 1 September before the first date, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; padding does not affect the features.

        Returns:
            Features, (B, decoder_widths[0], H, W), non-negative.

        Raises:
            UsageError: If a side of the image is not a multiple of `size_multiple`.
        """
        self._check_image(*series.shape[-2:])
        published = self.padding == "published"
        if published:
            series = zero_invalid(series, valid)
            valid = find_nonzero_dates(series)
        frames = Frames.of(valid)
        maps = self._encode(frames.gather(series).contiguous(memory_format=LAST))
        features: Tensor
        features, weights = self.over_time(frames.scatter(maps.pop()), dates, valid, published)
        for up in self.up:
            features = up(features, aggregate(weights, maps.pop(), frames))
        return features

    def make_head(self, classes: int) -> nn.Module:
        """Build the published head, which applies batch norm and ReLU to the logits."""
        return nn.Sequential(
            *conv_block(self.out_channels, self.head_width, "batch"), *conv_block(self.head_width, classes, "batch")
        )

    def _encode(self, images: Tensor) -> list[Tensor]:
        """Encode images (N, C, H, W) to maps of all scales, in chunks of dates where that is faster."""
        dates, _, height, width = images.shape
        size = max(1, CHUNK // (self.stem_width * height * width))
        if torch.is_grad_enabled() or not chunks.is_faster(images) or dates <= size:
            return self._encode_chunk(images)
        maps: list[Tensor] = []
        for start in range(0, dates, size):
            pieces = self._encode_chunk(images[start : start + size])
            maps = maps or [torch.empty((dates, *p.shape[1:]), dtype=p.dtype, memory_format=LAST) for p in pieces]
            for target, piece in zip(maps, pieces, strict=True):
                target[start : start + size] = piece
        return maps

    def _encode_chunk(self, images: Tensor) -> list[Tensor]:
        maps = [self.stem(images)]
        for down in self.down:
            maps.append(down(maps[-1]))
        return maps

    def _check_image(self, height: int, width: int) -> None:
        check_image(NAME, height, width, self.size_multiple, least=self.size_multiple)


_RULES = (
    (r"in_conv\.conv\.conv\.(\d\.\w+)", r"backbone.stem.\1"),
    (r"down_blocks\.(\d+)\.(down|conv1|conv2)\.conv\.(\d\.\w+)", r"backbone.down.\1.\2.\3"),
    (r"up_blocks\.(\d+)\.skip_conv\.(\d\.\w+)", r"backbone.up.\1.skip.\2"),
    (r"up_blocks\.(\d+)\.up\.(\d\.\w+)", r"backbone.up.\1.up.\2"),
    (r"up_blocks\.(\d+)\.(conv1|conv2)\.conv\.(\d\.\w+)", r"backbone.up.\1.\2.\3"),
    (r"temporal_encoder\.(in_norm|out_norm)\.(weight|bias)", r"backbone.over_time.\1.\2"),
    (r"temporal_encoder\.inconv\.(weight|bias)", r"backbone.over_time.value.\1"),
    (r"temporal_encoder\.attention_heads\.Q", r"backbone.over_time.query"),
    (r"temporal_encoder\.attention_heads\.fc1_k\.(weight|bias)", r"backbone.over_time.key.\1"),
    (r"temporal_encoder\.mlp\.0\.(weight|bias)", r"backbone.over_time.mix.\1"),
    (r"temporal_encoder\.mlp\.1\.(\w+)", r"backbone.over_time.mix_norm.\1"),
    (r"out_conv\.conv\.conv\.(\d\.\w+)", r"head.\1"),
)


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a published U-TAE state dict to the keys of `Model`; keys of a contrastive head are dropped.

    Load it into a model with `padding="published"` to reproduce the published results for padded series.

    Args:
        state_dict: Parameters of the published U-TAE for semantic segmentation.

    Raises:
        CropzooError: If a key does not belong to a published U-TAE.

    Source: Parameter names of VSainteuf/utae-paps.
    """
    converted = rename_keys(state_dict, _RULES, NAME)
    value = "backbone.over_time.value.weight"
    if value in converted:
        converted[value] = converted[value].flatten(1)
    return converted


def _check_widths(
    encoder_widths: Sequence[int], decoder_widths: Sequence[int], heads: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Check both lists of widths and return them as tuples."""
    scales = max(2, len(encoder_widths)) if isinstance(encoder_widths, (list, tuple)) else 2
    encoder = check_widths(NAME, "encoder_widths", encoder_widths, scales, math.lcm(GROUPS, heads))
    decoder = check_widths(NAME, "decoder_widths", decoder_widths, scales, 1)
    if encoder[-1] != decoder[-1]:
        raise UsageError(
            f"encoder_widths={encoder_widths!r} and decoder_widths={decoder_widths!r} for 'utae'; the decoder "
            f"starts with the lowest maps, so the last widths must be equal; end decoder_widths with {encoder[-1]}"
        )
    return encoder, decoder
