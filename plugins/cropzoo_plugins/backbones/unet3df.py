"""UNet3Df: UNet3D with a dense embedding before the classes, made for contrastive pre-training."""

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
    """Dense features: an embedding of the whole series at every pixel, (B, 2 * width, H, W).

    Published, the embedding is a weighted sum over time of a 3-d convolution. Here the sum comes first, once for each
    of the kernel's three places in time, and the convolution is one of images: the same embedding.

    Args:
        in_channels: bands of the series.
        classes: unused, the head alone knows them.
        image_size: side in pixels; any multiple of 4 will do.
        length: dates of every series, a multiple of 4; shorter ones come padded with invalid dates.
        width: channels at full resolution, an even number; all others are in proportion, the embedding too.
        padding: both "masked" and "published" see zeros at invalid dates: what stands there has no influence, but the
            network, which works at one length, takes the zeros for dates like any other.

    Raises:
        UsageError: for an option out of its range, or a length or side of the image that is no multiple of 4.

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
        """The embedding.

        Args:
            series: (B, length, C, H, W), float32, normalized; H and W multiples of 4.
            dates: (B, length), int64; not read, their order counts alone.
            valid: (B, length), bool, False = padding.

        Returns:
            (B, 2 * width, H, W).

        Raises:
            UsageError: for another number of dates, or an image whose sides are no multiples of 4.
        """
        check_series(NAME, series, self.length)
        sums = sum_over_time(self.unet(series, valid), self.over_time.weight)
        # the convolution's bias is summed up over time too
        bias: Tensor = self.over_time.bias
        if self.final.bias is not None:
            bias = bias + self.final.bias * self.over_time.weight.sum()
        return convolve_sums(sums, self.final, bias)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with those of the dates interpolated to the number that this network was built for."""
        return resample_weight(state, "over_time.weight", self.length, axis=1)


_RULES = [
    *rename_rules(r"backbone\."),
    (r"backbone\.final\.(weight|bias)", r"backbone.final.\1"),
    (r"backbone\.fn\.(weight|bias)", r"backbone.over_time.\1"),
    (r"linear_out\.(weight|bias)", r"head.\1"),
]


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published UNet3Df state dict by the names of our `Model`; keys of a contrastive head are dropped.

    Args:
        state_dict: parameters and buffers, with or without the "module." of data parallelism.

    Raises:
        CropzooError: for a key that the published network does not have.

    Source: names of michaeltrs/DeepSatModels.
    """
    converted = rename_keys(state_dict, _RULES, NAME)
    if "head.weight" in converted:
        converted["head.weight"] = converted["head.weight"][:, :, None, None]
    return converted
