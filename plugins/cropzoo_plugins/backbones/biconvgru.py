"""BiConvGRU: bidirectional convolutional GRU over the dates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cropzoo import Backbone
from cropzoo_plugins.layers.checks import check_image, check_sizes
from cropzoo_plugins.layers.convolutional_cells import ConvGRU, conv3x3
from cropzoo_plugins.layers.padding import Padding, check_padding, find_nonzero_dates, zero_invalid
from cropzoo_plugins.layers.published import rename_keys
from cropzoo_plugins.layers.recurrent import Steps

NAME = "biconvgru"


class BiConvGRU(Backbone):
    """Bidirectional convolutional GRU. The features are the last states, (B, 2 * hidden_dim, H, W).

    The first `hidden_dim` channels are from the forward direction.

    Args:
        in_channels: Number of bands.
        classes: Unused; the features do not depend on the number of classes.
        image_size: Unused; any image size is supported.
        length: Unused; any number of dates is supported.
        conv_dim: Number of channels of the convolution on each date.
        hidden_dim: Number of state channels of each direction.
        padding: "masked" skips invalid dates; "published" also skips dates whose values are all zero.

    Raises:
        UsageError: If an option is out of range.

    Source: Russwurm and Koerner 2018, arXiv:1802.02080, as in the code of Tarasiou et al. 2022, arXiv:2104.04310.
        Differs: padding is defined by `valid` and can be anywhere in the series; the published code treats zeros at the
        end as padding.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        conv_dim: int = 64,
        hidden_dim: int = 256,
        padding: Padding = "masked",
    ) -> None:
        super().__init__()
        check_sizes(NAME, in_channels=in_channels, classes=classes, conv_dim=conv_dim, hidden_dim=hidden_dim)
        check_padding(padding, NAME)
        check_image(NAME, image_size, image_size, least=1)
        self.padding, self.out_channels = padding, 2 * hidden_dim
        self.embed = conv3x3(in_channels, conv_dim)
        self.forwards = ConvGRU(conv_dim, hidden_dim)
        self.backwards = ConvGRU(conv_dim, hidden_dim)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute the last states.

        Args:
            series: Normalized series, (B, T, C, H, W), float32.
            dates: Unused, (B, T), int64; only the order of the dates matters.
            valid: Mask of valid dates, (B, T), bool; False marks padding.

        Returns:
            Features, (B, 2 * hidden_dim, H, W): forward, then backward.
        """
        if self.padding == "published":
            valid = find_nonzero_dates(zero_invalid(series, valid))
        steps = Steps.of(valid)
        frames = self.embed(steps.gather(series).contiguous(memory_format=torch.channels_last))
        start = steps.create_state(series, self.out_channels // 2)
        states = (
            self.forwards(frames, steps, start),
            self.backwards(steps.reverse_frames(frames), steps.reverse(), start),
        )
        return torch.cat(states, 1)

    def make_head(self, classes: int) -> nn.Module:
        """Build the published head: a convolution of kernel 3 and a log-softmax over classes."""
        return nn.Sequential(conv3x3(self.out_channels, classes), nn.LogSoftmax(1))


_RULES = [
    (r"inconv\.(weight|bias)", r"backbone.embed.\1"),
    (r"forward_model\.cell_list\.0\.(\w+_gate)\.(weight|bias)", r"backbone.forwards.\1.\2"),
    (r"backward_model\.cell_list\.0\.(\w+_gate)\.(weight|bias)", r"backbone.backwards.\1.\2"),
    (r"outconv\.(weight|bias)", r"head.0.\1"),
]


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a published BiConvGRU state dict to the keys of `Model`; keys of a contrastive head are dropped.

    Args:
        state_dict: Published parameters, with or without the "module." prefix of data parallelism.

    Raises:
        CropzooError: If a key does not belong to the published network.

    Source: Parameter names of michaeltrs/DeepSatModels.
    """
    converted = rename_keys(state_dict, _RULES, NAME)
    embed = converted.get("backbone.embed.weight")
    if embed is not None and embed.ndim == 5:  # published as a 3D convolution over one date
        converted["backbone.embed.weight"] = embed[:, :, 0]
    return converted
