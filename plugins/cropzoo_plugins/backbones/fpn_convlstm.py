"""FPN-ConvLSTM: a pyramid of dilated convolutions on every date, then a convolutional LSTM over the dates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from cropzoo import Backbone, UsageError
from cropzoo_plugins.layers.checks import check_image, check_sizes, check_widths
from cropzoo_plugins.layers.convolutional_cells import ConvLSTM, conv3x3
from cropzoo_plugins.layers.padding import Padding, check_padding, zero_invalid
from cropzoo_plugins.layers.published import rename_keys
from cropzoo_plugins.layers.recurrent import Steps

NAME, GROUPS = "fpn-convlstm", 4


class FPNConvLSTM(Backbone):
    """Dense features: the last memory of a convolutional LSTM, (B, hidden_dim, H, W).

    It reads what a pyramid of dilated convolutions, and the largest value over the image, tell of each date alone.

    Args:
        in_channels: bands of the series.
        classes: unused, the features are the same for any number of classes.
        image_size: side in pixels; any that the widest dilation can be reflected in will do.
        length: unused, any number of dates will do.
        stem_widths: channels of the two convolutions before the pyramid, multiples of 4.
        levels: of the pyramid: dilations 1, 2, 4, ... on all but the last, which is the largest value over the image.
        channels: of each level.
        mid_conv: a convolution after the pyramid that halves its channels.
        hidden_dim: channels of the recurrence.
        padding: "masked" reads the valid dates of each sample alone, without gaps; "published" reads all dates, with
            zeros for those whose values are all 0.

    Raises:
        UsageError: for an option out of its range, or an image that is too small for the dilations.

    Source: Martinez et al. 2021, as in Garnot and Landrieu 2021, arXiv:2107.07933, and its code. Differs: padded dates
        are left out of the recurrence.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        stem_widths: Sequence[int] = (32, 64),
        levels: int = 4,
        channels: int = 64,
        mid_conv: bool = True,
        hidden_dim: int = 88,
        padding: Padding = "masked",
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "classes": classes, "channels": channels, "hidden_dim": hidden_dim}
        check_sizes(NAME, levels=levels, **sizes)
        check_padding(padding, NAME)
        first, second = check_widths(NAME, "stem_widths", stem_widths, 2, GROUPS)
        _check_pyramid(levels, channels, mid_conv)
        self.padding, self.out_channels = padding, hidden_dim
        # a reflected margin is narrower than the image
        self.least_side = 2 ** (levels - 2) + 1
        check_image(NAME, image_size, image_size, least=self.least_side)
        self.stem = nn.Sequential(*_normed(reflecting(in_channels, first)), *_normed(reflecting(first, second)))
        self.pyramid = Pyramid(second, channels, levels)
        self.middle = Middle(levels * channels) if mid_conv else None
        self.lstm = ConvLSTM(levels * channels // 2 if mid_conv else levels * channels, hidden_dim)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """The last memory.

        Args:
            series: (B, T, C, H, W), float32, normalized.
            dates: (B, T), int64; not read, their order counts alone.
            valid: (B, T), bool, False = padding.

        Returns:
            (B, hidden_dim, H, W).

        Raises:
            UsageError: for an image that is too small for the dilations.
        """
        height, width = series.shape[-2:]
        check_image(NAME, height, width, least=self.least_side)
        each: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor] = _applied
        if self.padding == "published":
            series, valid, each = zero_invalid(series, valid), torch.ones_like(valid), _unless_zero
        steps = Steps.of(valid)
        frames = each(self.stem, steps.gather(series).contiguous(memory_format=torch.channels_last))
        frames = each(self.pyramid, frames)
        if self.middle is not None:
            frames = each(self.middle, frames)
        memory: Tensor = self.lstm(frames, steps, steps.create_state(series, self.out_channels))
        return memory


class Pyramid(nn.Module):
    """Dilated convolutions of one map side by side, and its largest value spread over the image.

    (N, C, H, W) to (N, levels * channels, H, W).
    """

    def __init__(self, in_channels: int, channels: int, levels: int) -> None:
        super().__init__()
        self.project = conv3x3(in_channels, channels)
        self.dilated = nn.ModuleList(reflecting(channels, channels, 2**level) for level in range(levels - 1))

    def forward(self, frames: Tensor) -> Tensor:
        base = self.project(frames)
        largest = base.amax((2, 3), keepdim=True).expand_as(base)
        return torch.cat([*(dilated(base) for dilated in self.dilated), largest], 1)


class Middle(nn.Sequential):
    """A convolution that halves the channels, group norm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__(*_normed(reflecting(channels, channels // 2)))


def reflecting(channels: int, filters: int, dilation: int = 1) -> nn.Conv2d:
    """A convolution of kernel 3 that keeps the size of the image and continues it by its reflection."""
    return nn.Conv2d(channels, filters, 3, padding=dilation, dilation=dilation, padding_mode="reflect")


def _normed(conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.GroupNorm(GROUPS, conv.out_channels), nn.ReLU(inplace=True)]


def _applied(step: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    return step(frames)


def _unless_zero(step: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """The step on each frame; zeros for frames that are all zero."""
    empty = frames.flatten(1).eq(0).all(1)
    return step(frames).masked_fill(empty[:, None, None, None], 0)


def _check_pyramid(levels: int, channels: int, mid_conv: object) -> None:
    if levels < 2:
        raise UsageError(f"levels={levels!r} for {NAME!r}; the last is the largest value alone; give 2 or more")
    if not isinstance(mid_conv, bool):
        raise UsageError(f"mid_conv={mid_conv!r} for {NAME!r}; it must be true or false; give one of them")
    if mid_conv and levels * channels // 2 % GROUPS:
        raise UsageError(
            f"channels={channels!r} at levels={levels!r} for {NAME!r}; half of all must be a multiple of {GROUPS}, for "
            "the group norm; give channels that are a multiple of 8"
        )


_RULES = [
    (r"inconv\.conv\.conv\.(\d)\.(weight|bias)", r"backbone.stem.\1.\2"),
    (r"pyramid\.inconv\.(weight|bias)", r"backbone.pyramid.project.\1"),
    (r"pyramid\.convs\.(\d+)\.(weight|bias)", r"backbone.pyramid.dilated.\1.\2"),
    (r"mid_conv\.conv\.conv\.(\d)\.(weight|bias)", r"backbone.middle.\1.\2"),
    (r"convlstm\.cell_list\.0\.conv\.(weight|bias)", r"backbone.lstm.gates.\1"),
    (r"outconv\.(weight|bias)", r"head.\1"),
]


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published FPN-ConvLSTM state dict by the names of our `Model`; keys of a contrastive head are dropped.

    Args:
        state_dict: parameters, with or without the "module." of data parallelism.

    Raises:
        CropzooError: for a key that the published network does not have.

    Source: names of VSainteuf/utae-paps.
    """
    return rename_keys(state_dict, _RULES, NAME)
