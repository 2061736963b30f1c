"""Exchanger: latent tokens collect from the dates of each pixel and distribute back, followed by a U-Net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cropzoo import Backbone, UsageError
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.checks import check_image, check_multiple, check_rates, check_sizes, check_widths
from cropzoo_plugins.layers.conv_unet import ConvUNet
from cropzoo_plugins.layers.exchanger import Exchange, StageOptions, date_table, drop_path_rates
from cropzoo_plugins.layers.padding import is_exporting
from cropzoo_plugins.layers.published import rename_keys

NAME = "exchanger"

DAYS = 3660
"""Largest encoded date: no series is longer than ten years."""

TOKENS = 2**18
"""Dates of pixels in a chunk on a GPU; at width 128 the largest intermediate result has 0.5 GiB."""

RECOMPUTED = 2**15
"""Dates of pixels in a chunk that is computed again; at width 128 its intermediate results have about 0.3 GiB."""


class Exchanger(Backbone):
    """Temporal encoder of linear cost on each pixel, then a U-Net on its mean over the dates.

    Latent tokens collect from the dates of a pixel by attention, mix by MLPs, and distribute what they learned back to
    each date. The features are those of the U-Net, (B, unet_width, H, W).

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Side of the images in pixels, a multiple of 2 ** (unet_levels - 1); other multiples are supported
            after building.
        length: Unused; any number of dates is supported.
        embed_dims: Number of channels of a date in each stage of the temporal encoder.
        tokens: Number of latent tokens of each stage.
        heads: Number of attention heads of each stage.
        mlp_ratio: Hidden width of the MLP of each date as a multiple of the width of the stage.
        mixer_depth: Number of mixer layers of a stage.
        token_expansion: Hidden width of the MLP over the tokens as a multiple of the width of the stage.
        channel_expansion: Hidden width of the MLP of each token as a multiple of the width of the stage.
        date_dim: Number of channels of the encoding of a date, an even number.
        date_base: Base of the wavelengths of the encoding.
        unet_width: Number of channels of the U-Net at full resolution, and of the features.
        unet_levels: Number of resolutions of the U-Net.
        dropout: Dropout rate in the temporal encoder.
        drop_path: Rate of stochastic depth of the last stage.
        recompute: Whether to compute the temporal encoder again in the backward pass, in chunks of pixels, instead of
            storing its intermediate results. A series of 60 images of 48 px needs half the memory, larger images less;
            training takes up to twice the time.

    Raises:
        UsageError: If an option is out of range, or `image_size` is not a multiple of 2 ** (unet_levels - 1).

    Source: Cai et al. 2023, arXiv:2305.02086, and its code. Differs from the published code: padded dates are excluded
        from the statistics of the batch norms; stochastic depth drops the branches of single pixels; the bias of the
        head starts at the default of PyTorch, because the constant of the paper does not change a softmax.
    """

    table: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        embed_dims: Sequence[int] = (128, 128),
        tokens: Sequence[int] = (8, 8),
        heads: Sequence[int] = (8, 8),
        mlp_ratio: int = 4,
        mixer_depth: int = 1,
        token_expansion: float = 0.5,
        channel_expansion: float = 4.0,
        date_dim: int = 128,
        date_base: float = 1000.0,
        unet_width: int = 64,
        unet_levels: int = 4,
        dropout: float = 0.1,
        drop_path: float = 0.1,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(NAME, in_channels=in_channels, mlp_ratio=mlp_ratio, mixer_depth=mixer_depth, unet_width=unet_width)
        check_sizes(NAME, unet_levels=unet_levels)
        check_multiple(NAME, 2, date_dim=date_dim)
        check_rates(NAME, dropout=dropout, drop_path=drop_path)
        stages = _check_stages(embed_dims, tokens, heads)
        _check_expansions(min(dim for dim, _, _ in stages), token_expansion, channel_expansion)
        if isinstance(date_base, bool) or not (isinstance(date_base, (int, float)) and 1 < date_base < 1e9):
            raise UsageError(
                f"date_base={date_base!r} for {NAME!r}; it must be a number above 1 and below 1e9; give another value"
            )
        self.recompute = recompute
        self.out_channels, self.size_multiple = unet_width, 2 ** (unet_levels - 1)
        check_image(NAME, image_size, image_size, self.size_multiple, self.size_multiple)
        options = StageOptions(mlp_ratio, mixer_depth, token_expansion, channel_expansion, date_dim, dropout)
        self.stages, inside = nn.ModuleList(), in_channels
        for (dim, count, parts), rate in zip(stages, drop_path_rates(drop_path, len(stages)), strict=True):
            self.stages.append(Exchange(inside, dim, count, parts, options, rate))
            inside = dim
        self.unet = ConvUNet(inside, unet_width, unet_levels)
        self.register_buffer("table", date_table(DAYS, date_dim, date_base), persistent=False)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor, *, padded: bool = True) -> Tensor:
        """Compute dense features.

        Args:
            series: Normalized series, (B, T, C, H, W), float32; H and W are multiples of `size_multiple`.
            dates: Days since 1 September before the first date, 0..3660, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; padding does not affect the features.
            padded: Whether any date may be invalid.

        Returns:
            Features, (B, unet_width, H, W).

        Raises:
            UsageError: If a side of the image is not a multiple of `size_multiple`.
        """
        size = series.shape[-2:]
        check_image(NAME, size[0], size[1], self.size_multiple, self.size_multiple)
        pixels = series.flatten(3).permute(0, 3, 1, 2)
        codes = nn.functional.embedding((dates + 1).masked_fill(~valid, 0), self.table)
        temporal = self._encode_pixels(pixels, codes, valid if padded else None).transpose(1, 2)
        features: Tensor = self.unet(torch.unflatten(temporal, 2, size))
        return features

    def _encode_pixels(self, pixels: Tensor, codes: Tensor, valid: Tensor | None) -> Tensor:
        """Encode pixels (B, P, T, C) with encodings of dates (B, T, E) and mask (B, T) to (B, P, D)."""
        eager = chunks.is_faster(pixels)
        if valid is not None and eager and not self.training:
            # each sample with its valid dates only: exact, and without computation for padding
            each = [(pixels[i : i + 1, :, valid[i]], codes[i : i + 1, valid[i]]) for i in range(len(valid))]
            return torch.cat([self._encode_in_chunks(*one) for one in each])
        mask = None if valid is None else valid[:, None]
        if mask is not None:
            pixels = pixels.masked_fill(~mask[..., None], 0)
        if self.training:  # batch norms need all pixels
            return self.encode(pixels, codes, mask)
        return self._encode_in_chunks(pixels, codes, mask)

    def _encode_in_chunks(self, pixels: Tensor, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """`encode` in chunks of pixels that fit the cache of a CPU, or the memory of a GPU."""
        if is_exporting():  # the number of pixels is symbolic
            return self.encode(pixels, codes, mask)
        dates = len(pixels) * pixels.shape[2]
        if chunks.is_faster(pixels):
            encode = partial(self.encode, codes=codes, mask=mask)
            return chunks.apply_in_chunks(encode, pixels, length=dates, dim=1)
        parts = torch.split(pixels, max(1, TOKENS // dates), dim=1)
        return torch.cat([self.encode(some, codes, mask) for some in parts], dim=1)

    def encode(self, pixels: Tensor, codes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode the series of pixels.

        Args:
            pixels: Normalized values, (B, P, T, C), float32.
            codes: Encodings of the dates, (B, T, date_dim).
            mask: Dates to read, (B, P or 1, T), bool; all if None.

        Returns:
            Mean over the dates that are read, (B, P, D); zero for pixels without any.
        """
        for stage in self.stages:
            assert isinstance(stage, Exchange)
            pixels = stage.project(pixels, mask)
            if self.recompute and self.training and torch.is_grad_enabled():
                pixels = self._recompute_in_chunks(stage, pixels, codes, mask)
            else:
                pixels = stage(pixels, codes, mask)
        if mask is None:
            return pixels.sum(2) / (pixels.shape[2] + 1e-6)
        read = mask[..., None].to(pixels.dtype)
        return (pixels * read).sum(2) / (read.sum(2) + 1e-6)

    def _recompute_in_chunks(self, stage: Exchange, pixels: Tensor, codes: Tensor, mask: Tensor | None) -> Tensor:
        size = max(1, RECOMPUTED // (len(pixels) * pixels.shape[2]))
        parts = torch.split(pixels, size, dim=1)
        return torch.cat([checkpoint(stage, some, codes, mask, use_reentrant=False) for some in parts], dim=1)


_BLOCK = r"temp_encoder\.temp_encoder_blocks\.(\d+)\."
_STAGE = r"backbone.stages.\1."
_VALUE = r"\.norm_layer\.(weight|bias)"
_MIXER = _BLOCK + r"mixer\.layers\.(\d+)\."
_UNET = r"(conv|norm)\.(\w+)"
_RULES = (
    (r"temp_encoder\.mlp_layers\.(\d+)\.fc\.weight", r"backbone.stages.\1.embed.weight"),
    (r"temp_encoder\.mlp_layers\.(\d+)\.norm_layer\.norm_layer\.(\w+)", r"backbone.stages.\1.embed_norm.\2"),
    (_BLOCK + r"group_token_feat_nwd", _STAGE + "tokens"),
    (_BLOCK + r"group_token_pos_nwd", _STAGE + "positions"),
    (_BLOCK + r"pos_q_norm" + _VALUE, _STAGE + r"position_norm.\2"),
    (_BLOCK + r"pos_k_norm" + _VALUE, _STAGE + r"date_norm.\2"),
    (_BLOCK + r"pos_k_proj\.(\w+)", _STAGE + r"date_key.\2"),
    (_BLOCK + r"group_layer\.multihead_attn\.k_proj\.(\w+)", _STAGE + r"collect.key.\2"),
    (_BLOCK + r"group_layer\.norm_query" + _VALUE, _STAGE + r"collect.token_norm.\2"),
    (_BLOCK + r"group_layer\.norm_key" + _VALUE, _STAGE + r"collect.date_norm.\2"),
    (_MIXER + r"(token|channel)_mixer\.(\d)\.(\w+)", _STAGE + r"mixers.\2.\3_mlp.\4.\5"),
    (_MIXER + r"norm1" + _VALUE, _STAGE + r"mixers.\2.token_norm.\3"),
    (_MIXER + r"norm2" + _VALUE, _STAGE + r"mixers.\2.channel_norm.\3"),
    *(
        (_BLOCK + rf"ungroup_layer\.multihead_attn\.{theirs}\.(\w+)", _STAGE + rf"distribute.{ours}.\2")
        for theirs, ours in {"q_proj": "query", "k_proj": "key", "v_proj": "value", r"proj\.0": "out"}.items()
    ),
    (_BLOCK + r"ungroup_layer\.norm_query" + _VALUE, _STAGE + r"distribute.date_norm.\2"),
    (_BLOCK + r"ungroup_layer\.norm_key" + _VALUE, _STAGE + r"distribute.token_norm.\2"),
    (_BLOCK + r"ungroup_layer\.proj\.(\w+)", _STAGE + r"distribute.join.\2"),
    (_BLOCK + r"ungroup_layer\.ffn\.norm" + _VALUE, _STAGE + r"distribute.mlp_norm.\2"),
    (_BLOCK + r"ungroup_layer\.ffn\.layers\.0\.0\.(\w+)", _STAGE + r"distribute.mlp.0.\2"),
    (_BLOCK + r"ungroup_layer\.ffn\.layers\.1\.(\w+)", _STAGE + r"distribute.mlp.3.\2"),
    (r"space_encoder\.encoder\.(\d+)\.[01]\.convs\.(\d)\." + _UNET, r"backbone.unet.down.\1.\2.\3.\4"),
    (r"space_encoder\.decoder\.(\d+)\.conv_block\.convs\.(\d)\." + _UNET, r"backbone.unet.up.\1.join.\2.\3.\4"),
    (
        r"space_encoder\.decoder\.(\d+)\.upsample\.interp_upsample\.1\.conv\.weight",
        r"backbone.unet.up.\1.reduce.weight",
    ),
    (r"space_encoder\.decoder\.(\d+)\.upsample\.interp_upsample\.1\.norm\.(\w+)", r"backbone.unet.up.\1.norm.\2"),
    (r"cls_head\.(weight|bias)", r"head.\1"),
)


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a published Exchanger with U-Net to the keys of `Model`; the fixed table of dates is dropped.

    Args:
        state_dict: Parameters of the published network for semantic segmentation.

    Raises:
        CropzooError: If a key does not belong to the published network.

    Source: Parameter names of TotalVariation/Exchanger4SITS.
    """
    return rename_keys(state_dict, _RULES, NAME, dropped=r"temp_pos_encode\.sin_table\.weight")


def _check_stages(embed_dims: Sequence[int], tokens: Sequence[int], heads: Sequence[int]) -> list[tuple[int, int, int]]:
    """(channels, tokens, heads) of each stage."""
    count = max(1, len(embed_dims)) if isinstance(embed_dims, (list, tuple)) else 2
    lists = {"embed_dims": embed_dims, "tokens": tokens, "heads": heads}
    dims, numbers, parts = (check_widths(NAME, name, values, count, 1) for name, values in lists.items())
    if any(dim % part for dim, part in zip(dims, parts, strict=True)):
        raise UsageError(
            f"heads={heads!r} for {NAME!r}; each must divide its stage's channels, {embed_dims!r}; "
            "give other heads or embed_dims"
        )
    return list(zip(dims, numbers, parts, strict=True))


def _check_expansions(dim: int, token_expansion: float, channel_expansion: float) -> None:
    for name, value in {"token_expansion": token_expansion, "channel_expansion": channel_expansion}.items():
        known = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not known or not 1 <= value * dim <= 2**20:
            raise UsageError(
                f"{name}={value!r} for {NAME!r}; it times the smallest width, {dim}, must be at least 1; "
                "give another value"
            )
