"""Any image encoder of timm on each date, with temporal attention shared by its scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn

from cropzoo import Backbone, UnknownName, UsageError
from cropzoo_plugins.backbones.encoder_weights import NONE, load_initial_weights
from cropzoo_plugins.layers import image_encoder
from cropzoo_plugins.layers.aggregation import aggregate
from cropzoo_plugins.layers.checks import check_image, check_multiple, check_sizes
from cropzoo_plugins.layers.ltae import TemporalAttention
from cropzoo_plugins.layers.padding import Frames
from cropzoo_plugins.layers.skip_decoder import ConvNorm, SkipDecoder

_LISTING = "list them with `cropzoo list 'timm/*'`"


def list_encoders() -> list[str]:
    """Names of the encoders of the installed timm that provide feature maps."""
    return [name for name in timm.list_models() if image_encoder.has_feature_maps(name)]


class TimmEncoder(Backbone):
    """Image encoder of timm on each date, followed by temporal attention and a light decoder.

    The attention is computed on the deepest feature map. Its weights are resized to sum the finer maps, and a
    convolution of the bands at full resolution, over the dates. A decoder joins the sums.

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Side of the images in pixels; encoders with fixed position embeddings support no other size.
        length: Unused; any number of dates is supported.
        encoder: Name of the encoder in timm.
        encoder_weights: Initial weights of the encoder: "none", a tag of timm such as `a1_in1k`, weights of torchgeo
            such as `ResNet18_Weights.SENTINEL2_ALL_MOCO`, or a .safetensors file. The first layer of RGB weights of
            timm is repeated over the bands. All weights receive bands normalized by the statistics of the data.
        levels: Number of times that the resolution is halved; the encoder is truncated after stride 2**levels.
        decoder_width: Number of feature channels, a multiple of `heads`.
        heads: Number of heads of the temporal attention.
        key_dim: Number of key channels of a head.
        model_dim: Number of value channels of the attention, a multiple of `heads`.
        bands: Names of the bands; only needed for weights of torchgeo, which are matched by name.

    Raises:
        UnknownName: If the encoder or the weights do not exist.
        UsageError: If an option is out of range, or the encoder does not support the image size.
        CropzooError: If the weights cannot be downloaded or do not fit.

    Source: Encoders of timm (Wightman 2019); temporal attention as in U-TAE, Garnot and Landrieu 2021,
        arXiv:2107.07933. Differs from U-TAE: any encoder; maps are projected to one width before they are summed; each
        decoder step is a bilinear interpolation and one convolution; padded dates are excluded.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        encoder: str = "resnet18",
        encoder_weights: str | None = NONE,
        levels: int = 3,
        decoder_width: int = 64,
        heads: int = 16,
        key_dim: int = 4,
        model_dim: int = 256,
        bands: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        check_sizes("timm", in_channels=in_channels, image_size=image_size, levels=levels, heads=heads, key_dim=key_dim)
        check_multiple("timm", heads, decoder_width=decoder_width, model_dim=model_dim)
        _check_bands(bands, in_channels)
        _check_encoder(encoder)
        layout = image_encoder.find_layout(encoder, levels)
        self.name, self.fixed_size = encoder, 0
        self.size_multiple, self.out_channels = math.lcm(*layout.strides), decoder_width
        self._check_image(image_size, image_size)
        weights = load_initial_weights(encoder, layout, str(encoder_weights or NONE), in_channels, bands)
        built = image_encoder.build_encoder(
            encoder, layout, in_channels=in_channels, image_size=image_size, weights=weights
        )
        self.encoder, self.indices = built.model, built.indices
        self.fixed_size = 0 if built.any_size else image_size
        self.pixels = ConvNorm(in_channels, decoder_width)
        self.project = nn.ModuleList(nn.Conv2d(width, decoder_width, kernel_size=1) for width in built.widths)
        self.over_time = TemporalAttention(
            decoder_width, heads=heads, model_dim=model_dim, key_dim=key_dim, backbone="timm"
        )
        self.decoder = SkipDecoder(decoder_width, steps=len(built.widths))

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute dense features.

        Args:
            series: Normalized series, (B, T, C, H, W), float32; H and W are multiples of `size_multiple`.
            dates: Days since any origin, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; padding does not affect the features and is not computed.

        Returns:
            Features, (B, decoder_width, H, W).

        Raises:
            UsageError: If the encoder does not support the image size.
        """
        self._check_image(*series.shape[-2:])
        frames = Frames.of(valid)
        # channels last takes a sixth less time for resnet18 on a CPU, and not more for any other encoder tried
        images = frames.gather(series).contiguous(memory_format=torch.channels_last)
        maps = image_encoder.compute_maps(self.encoder, self.indices, images)
        maps = [project(each) for project, each in zip(self.project, maps, strict=True)]
        deepest, weights = self.over_time(frames.scatter(maps[-1]), dates, valid)
        finer = [aggregate(weights, each, frames) for each in (*maps[-2::-1], self.pixels(images))]
        features: Tensor = self.decoder(deepest, finer)
        return features

    def _check_image(self, height: int, width: int) -> None:
        name, side = f"timm/{self.name}", self.fixed_size
        check_image(name, height, width, self.size_multiple, self.size_multiple)
        if side and (height, width) != (side, side):
            raise UsageError(
                f"an image of {height} x {width} pixels for {name!r}; this encoder supports only the size that it "
                f"was built for, {side} x {side}; split the image into such windows, or choose another encoder"
            )


def _check_encoder(encoder: str) -> None:
    """Raise an error unless timm has an encoder of that name with feature maps."""
    known = timm.list_models()
    name, dot, tag = str(encoder).partition(".")
    if dot and name in known:
        raise UsageError(
            f"encoder={encoder!r} for 'timm'; it includes a tag of weights; use encoder={name} encoder_weights={tag}"
        )
    if encoder not in known:
        raise UnknownName("encoder of 'timm':", str(encoder), known, _LISTING)
    if not image_encoder.has_feature_maps(encoder):
        raise UsageError(
            f"encoder={encoder!r} for 'timm'; timm {timm.__version__} provides no feature maps for it; "
            f"choose another encoder, {_LISTING}, or install a newer timm"
        )


def _check_bands(bands: Sequence[str] | None, in_channels: int) -> None:
    if bands is None:
        return
    if not isinstance(bands, (list, tuple)) or not all(isinstance(name, str) for name in bands):
        raise UsageError(
            f"bands={bands!r} for 'timm'; it must be a list of names; use a list such as [B02, B03, B04, B08]"
        )
    if len(bands) != in_channels or len(set(bands)) != len(bands):
        raise UsageError(
            f"bands={list(bands)} for 'timm'; the data has {in_channels} bands; "
            "give one name for each, all different, in the data's order"
        )
