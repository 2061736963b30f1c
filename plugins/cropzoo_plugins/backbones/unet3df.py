"""UNet3Df: UNet3D with a dense embedding for contrastive pre-training."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cropzoo import Backbone
from cropzoo_plugins.layers.padding import Padding
from cropzoo_plugins.layers.published import rename_keys
from cropzoo_plugins.layers.resampling import resample_weight
from cropzoo_plugins.layers.unet3d import (
    MULTIPLE,
    SeriesUNet,
    check_options,
    check_series,
    convolve_sums,
    last_convolution,
    rename_rules,
    sum_over_time,
)

NAME = "unet3df"


class UNet3Df(Backbone):
    """3D U-Net. The features are an embedding of the series of each pixel, (B, 2 * width, H, W).

    In the published network, the embedding is a weighted sum over time of the output of a 3D convolution. Here the sum
    is computed first, once for each temporal position of the kernel, and the convolution becomes a 2D convolution. The
    embedding is the same.

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Side of the images in pixels, a multiple of 4; other multiples are supported after building.
        length: Number of dates of each series, a multiple of 4; shorter series are padded with invalid dates.
        width: Number of channels at full resolution, an even number; the other widths, including that of the embedding,
            are proportional.
        padding: Both "masked" and "published" set invalid dates to zero. The network has a fixed number of dates and
            treats these zeros as data.

    Raises:
        UsageError: If an option is out of range, or the length or a side of the image is not a multiple of 4.

    Source: Tarasiou et al. 2022, arXiv:2104.04310, and its code.
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
        padding: Padding = "masked",
    ) -> None:
        super().__init__()
        self.length = check_options(
            NAME,
            in_channels=in_channels,
            classes=classes,
            image_size=image_size,
            length=length,
            width=width,
            padding=padding,
        )
        self.out_channels = 2 * width
        self.unet = SeriesUNet(in_channels, width, (self.out_channels, self.out_channels))
        self.final = last_convolution(self.out_channels, self.out_channels)
        self.over_time = nn.Linear(self.length, 1)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute the embedding.

        Args:
            series: Normalized series, (B, length, C, H, W), float32; H and W are multiples of 4.
            dates: Unused, (B, length), int64; only the order of the dates matters.
            valid: Mask of valid dates, (B, length), bool; False marks padding.

        Returns:
            Features, (B, 2 * width, H, W).

        Raises:
            UsageError: If the number of dates differs from `length`, or a side of the image is not a multiple of 4.
        """
        check_series(NAME, series, self.length)
        sums = sum_over_time(self.unet(series, valid), self.over_time.weight)
        # the bias of the convolution is also summed over time
        bias: Tensor = self.over_time.bias
        if self.final.bias is not None:
            bias = bias + self.final.bias * self.over_time.weight.sum()
        return convolve_sums(sums, self.final, bias)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Interpolate the weights of the dates to the length of this network."""
        return resample_weight(state, "over_time.weight", self.length, axis=1)


_RULES = [
    *rename_rules(r"backbone\."),
    (r"backbone\.final\.(weight|bias)", r"backbone.final.\1"),
    (r"backbone\.fn\.(weight|bias)", r"backbone.over_time.\1"),
    (r"linear_out\.(weight|bias)", r"head.\1"),
]


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a published UNet3Df state dict to the keys of `Model`; keys of a contrastive head are dropped.

    Args:
        state_dict: Published parameters and buffers, with or without the "module." prefix of data parallelism.

    Raises:
        CropzooError: If a key does not belong to the published network.

    Source: Parameter names of michaeltrs/DeepSatModels.
    """
    converted = rename_keys(state_dict, _RULES, NAME)
    if "head.weight" in converted:
        converted["head.weight"] = converted["head.weight"][:, :, None, None]
    return converted
