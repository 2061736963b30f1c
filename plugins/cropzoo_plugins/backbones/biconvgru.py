"""BiConvGRU: convolutional GRUs over the dates, forwards and backwards."""

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
    """Dense features: the last states of two convolutional GRUs, (B, 2 * hidden_dim, H, W).

    One reads the dates of each sample forwards, the other backwards; the first `hidden_dim` channels are the former's.

    Args:
        in_channels: bands of the series.
        classes: unused, the features are the same for any number of classes.
        image_size: unused, any size will do.
        length: unused, any number of dates will do.
        conv_dim: channels of the convolution on each date that feeds both.
        hidden_dim: channels of each one's state.
        padding: "masked" leaves out invalid dates; "published" also leaves out dates whose values are all 0.

    Raises:
        UsageError: for an option out of its range.

    Source: Russwurm and Koerner 2018, arXiv:1802.02080, as in the code of Tarasiou et al. 2022, arXiv:2104.04310.
        Differs: padding is what `valid` says, anywhere in the series, not dates of zeros at its end.
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
        """The last states.

        Args:
            series: (B, T, C, H, W), float32, normalized.
            dates: (B, T), int64; not read, their order counts alone.
            valid: (B, T), bool, False = padding.

        Returns:
            (B, 2 * hidden_dim, H, W): forwards, then backwards.
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
        """The published one: a convolution of kernel 3 and the log-softmax over classes."""
        return nn.Sequential(conv3x3(self.out_channels, classes), nn.LogSoftmax(1))


_RULES = [
    (r"inconv\.(weight|bias)", r"backbone.embed.\1"),
    (r"forward_model\.cell_list\.0\.(\w+_gate)\.(weight|bias)", r"backbone.forwards.\1.\2"),
    (r"backward_model\.cell_list\.0\.(\w+_gate)\.(weight|bias)", r"backbone.backwards.\1.\2"),
    (r"outconv\.(weight|bias)", r"head.0.\1"),
]


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published BiConvGRU state dict by the names of our `Model`; keys of a contrastive head are dropped.

    Args:
        state_dict: parameters, with or without the "module." of data parallelism.

    Raises:
        CropzooError: for a key that the published network does not have.

    Source: names of michaeltrs/DeepSatModels.
    """
    converted = rename_keys(state_dict, _RULES, NAME)
    embed = converted.get("backbone.embed.weight")
    if embed is not None and embed.ndim == 5:  # published with a third dimension, of one date
        converted["backbone.embed.weight"] = embed[:, :, 0]
    return converted
