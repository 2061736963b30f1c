"""UNet3D: a U-Net of three-dimensional convolutions over time and space."""

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
    """Dense features: three weighted sums over time of each map that a 3-d U-Net decodes, (B, 3 * width / 2, H, W).

    Published, a 3-d convolution to the classes is summed up over time. Here the sum comes first, once for each of the
    kernel's three places in time, and the convolution, of images then, is the head: the same logits.

    Args:
        in_channels: bands of the series.
        classes: unused, the head alone knows them.
        image_size: side in pixels; any multiple of 4 will do.
        length: dates of every series, a multiple of 4; shorter ones come padded with invalid dates.
        width: channels at full resolution, an even number; all others are in proportion.
        dropout: rate on the decoded maps before the sums over time.
        padding: both "masked" and "published" see zeros at invalid dates: what stands there has no influence, but the
            network, which works at one length, takes the zeros for dates like any other.

    Raises:
        UsageError: for an option out of its range, or a length or side of the image that is no multiple of 4.

    Source: Rustowicz et al. 2019, as in Tarasiou et al. 2022, arXiv:2104.04310, and its code. Differs: dropout stands
        before the last convolution, not after it; the bias of the sum over time is part of the convolution's.
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
        """The sums over time.

        Args:
            series: (B, length, C, H, W), float32, normalized; H and W multiples of 4.
            dates: (B, length), int64; not read, their order counts alone.
            valid: (B, length), bool, False = padding.

        Returns:
            (B, 3 * width / 2, H, W); channel 3 * d + a is map d as place a of the head's kernel sees it.

        Raises:
            UsageError: for another number of dates, or an image whose sides are no multiples of 4.
        """
        check_series(NAME, series, self.length)
        return sum_over_time(self.dropout(self.unet(series, valid)), self.over_time.weight)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with those of the dates interpolated to the number that this network was built for."""
        return resample_weight(state, "over_time.weight", self.length, axis=1)

    def make_head(self, classes: int) -> nn.Module:
        """The published last convolution, applied to sums over time."""
        return SummedConvolution(self.decoded, classes)


class SummedConvolution(nn.Module):
    """Logits, (B, classes, H, W), from sums over time, (B, 3 * channels, H, W), by a kernel that also spans time."""

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
    """A published UNet3D state dict by the names of our `Model`; keys of a contrastive head are dropped.

    Summing up over time multiplies the convolution's bias by the sum of the weights and adds a bias of its own: the
    head's bias is the result.

    Args:
        state_dict: parameters and buffers, with or without the "module." of data parallelism.

    Raises:
        CropzooError: for a key that the published network does not have, or one of the last layers that is missing.

    Source: names of michaeltrs/DeepSatModels.
    """
    converted = rename_keys(state_dict, _RULES, NAME)
    needed = {"final.bias": "head.final.bias", "fn.weight": "backbone.over_time.weight", "fn.bias": _SHIFT}
    missing = [published for published, ours in needed.items() if ours not in converted]
    if missing:
        raise CropzooError(
            f"published weights of {NAME!r}; {', '.join(missing)} missing; check that the file holds the whole network"
        )
    shift, bias = converted.pop(_SHIFT), converted["head.final.bias"]
    converted["head.final.bias"] = bias * converted["backbone.over_time.weight"].sum() + shift
    return converted
