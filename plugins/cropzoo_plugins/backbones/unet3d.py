"""UNet3D: a U-Net with 3D convolutions over time and space."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cropzoo import Backbone, CropzooError
from cropzoo_plugins.layers.checks import check_rates
from cropzoo_plugins.layers.padding import Padding
from cropzoo_plugins.layers.published import rename_keys
from cropzoo_plugins.layers.resampling import resample_weight
from cropzoo_plugins.layers.unet3d import (
    MULTIPLE,
    TAPS,
    SeriesUNet,
    check_options,
    check_series,
    convolve_sums,
    last_convolution,
    rename_rules,
    sum_over_time,
)

NAME = "unet3d"


class UNet3D(Backbone):
    """3D U-Net. The features are three weighted sums over time of each decoded map, (B, 3 * width / 2, H, W).

    In the published network, the output of a 3D convolution to the classes is summed over time. Here the sum is
    computed first, once for each temporal position of the kernel, and the convolution becomes a 2D convolution in the
    head. The logits are the same.

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Side of the images in pixels, a multiple of 4; other multiples are supported after building.
        length: Number of dates of each series, a multiple of 4; shorter series are padded with invalid dates.
        width: Number of channels at full resolution, an even number; the other widths are proportional.
        dropout: Dropout rate of the decoded maps before the sums over time.
        padding: Both "masked" and "published" set invalid dates to zero. The network has a fixed number of dates and
            treats these zeros as data.

    Raises:
        UsageError: If an option is out of range, or the length or a side of the image is not a multiple of 4.

    Source: Rustowicz et al. 2019, as in Tarasiou et al. 2022, arXiv:2104.04310, and its code. Differs: dropout is
        applied before the last convolution instead of after it; the bias of the sum over time is part of the bias of
        the convolution.
    """

    size_multiple = MULTIPLE

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        width: int = 64,
        dropout: float = 0.0,
        padding: Padding = "masked",
    ) -> None:
        super().__init__()
        check_rates(NAME, dropout=dropout)
        self.length = check_options(
            NAME,
            in_channels=in_channels,
            classes=classes,
            image_size=image_size,
            length=length,
            width=width,
            padding=padding,
        )
        self.decoded, self.out_channels = width // 2, TAPS * width // 2
        self.unet = SeriesUNet(in_channels, width, (width, self.decoded))
        self.dropout = nn.Dropout(dropout)
        self.over_time = nn.Linear(self.length, 1, bias=False)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute the sums over time.

        Args:
            series: Normalized series, (B, length, C, H, W), float32; H and W are multiples of 4.
            dates: Unused, (B, length), int64; only the order of the dates matters.
            valid: Mask of valid dates, (B, length), bool; False marks padding.

        Returns:
            Features, (B, 3 * width / 2, H, W); channel 3 * d + a is map d for position a of the kernel of the head.

        Raises:
            UsageError: If the number of dates differs from `length`, or a side of the image is not a multiple of 4.
        """
        check_series(NAME, series, self.length)
        return sum_over_time(self.dropout(self.unet(series, valid)), self.over_time.weight)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Interpolate the weights of the dates to the length of this network."""
        return resample_weight(state, "over_time.weight", self.length, axis=1)

    def make_head(self, classes: int) -> nn.Module:
        """Build the published last convolution, applied to the sums over time."""
        return SummedConvolution(self.decoded, classes)


class SummedConvolution(nn.Module):
    """3D convolution of sums over time, (B, 3 * channels, H, W), to logits, (B, classes, H, W)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.final = last_convolution(channels, classes)

    def forward(self, features: Tensor) -> Tensor:
        return convolve_sums(features, self.final, self.final.bias)


_SHIFT = "fn.bias"
_RULES = [
    *rename_rules(""),
    (r"final\.(weight|bias)", r"head.final.\1"),
    (r"fn\.weight", "backbone.over_time.weight"),
    (r"fn\.bias", _SHIFT),
]


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a published UNet3D state dict to the keys of `Model`; keys of a contrastive head are dropped.

    The bias of the head combines the bias of the convolution, multiplied by the sum of the weights of the dates, and
    the bias of the sum over time.

    Args:
        state_dict: Published parameters and buffers, with or without the "module." prefix of data parallelism.

    Raises:
        CropzooError: If a key does not belong to the published network, or a parameter of the last layers is missing.

    Source: Parameter names of michaeltrs/DeepSatModels.
    """
    converted = rename_keys(state_dict, _RULES, NAME)
    needed = {"final.bias": "head.final.bias", "fn.weight": "backbone.over_time.weight", "fn.bias": _SHIFT}
    missing = [published for published, ours in needed.items() if ours not in converted]
    if missing:
        raise CropzooError(
            f"published weights of {NAME!r}; {', '.join(missing)} missing; check that the file is complete"
        )
    shift, bias = converted.pop(_SHIFT), converted["head.final.bias"]
    converted["head.final.bias"] = bias * converted["backbone.over_time.weight"].sum() + shift
    return converted
