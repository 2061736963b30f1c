"""FPN-ConvLSTM: a pyramid of dilated convolutions on each date, then a convolutional LSTM over the dates."""

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
    """Convolutional LSTM over the features of a pyramid of dilated convolutions and a global maximum.

    The features are the last cell state, (B, hidden_dim, H, W).

    Args:
        in_channels: Number of bands.
        classes: Unused; the features do not depend on the number of classes.
        image_size: Side of the images in pixels; must exceed the largest dilation.
        length: Unused; any number of dates is supported.
        stem_widths: Numbers of channels of the two convolutions before the pyramid, multiples of 4.
        levels: Number of pyramid levels: dilations 1, 2, 4, ..., and the global maximum as the last level.
        channels: Number of channels of each level.
        mid_conv: Whether to apply a convolution after the pyramid that halves the number of channels.
        hidden_dim: Number of state channels of the LSTM.
        padding: "masked" reads only the valid dates of each sample; "published" reads all dates, with zero features for
            dates whose values are all zero.

    Raises:
        UsageError: If an option is out of range, or the image is too small for the dilations.

    Source: Martinez et al. 2021, as in Garnot and Landrieu 2021, arXiv:2107.07933, and its code. Differs: padded dates
        are skipped by the recurrence.
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
        # reflection padding must be smaller than the image
        self.least_side = 2 ** (levels - 2) + 1
        check_image(NAME, image_size, image_size, least=self.least_side)
        self.stem = nn.Sequential(
            *_add_norm(reflect_conv3x3(in_channels, first)), *_add_norm(reflect_conv3x3(first, second))
        )
        self.pyramid = Pyramid(second, channels, levels)
        self.middle = Middle(levels * channels) if mid_conv else None
        self.lstm = ConvLSTM(levels * channels // 2 if mid_conv else levels * channels, hidden_dim)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute the last cell state.

        Args:
            series: Normalized series, (B, T, C, H, W), float32.
            dates: Unused, (B, T), int64; only the order of the dates matters.
            valid: Mask of valid dates, (B, T), bool; False marks padding.

        Returns:
            Features, (B, hidden_dim, H, W).

        Raises:
            UsageError: If the image is too small for the dilations.
        """
        height, width = series.shape[-2:]
        check_image(NAME, height, width, least=self.least_side)
        each: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor] = _apply
        if self.padding == "published":
            series, valid, each = zero_invalid(series, valid), torch.ones_like(valid), _apply_to_nonzero
        steps = Steps.of(valid)
        frames = each(self.stem, steps.gather(series).contiguous(memory_format=torch.channels_last))
        frames = each(self.pyramid, frames)
        if self.middle is not None:
            frames = each(self.middle, frames)
        memory: Tensor = self.lstm(frames, steps, steps.create_state(series, self.out_channels))
        return memory


class Pyramid(nn.Module):
    """Parallel dilated convolutions and a global maximum, (N, C, H, W) to (N, levels * channels, H, W)."""

    def __init__(self, in_channels: int, channels: int, levels: int) -> None:
        super().__init__()
        self.project = conv3x3(in_channels, channels)
        self.dilated = nn.ModuleList(reflect_conv3x3(channels, channels, 2**level) for level in range(levels - 1))

    def forward(self, frames: Tensor) -> Tensor:
        base = self.project(frames)
        largest = base.amax((2, 3), keepdim=True).expand_as(base)
        return torch.cat([*(dilated(base) for dilated in self.dilated), largest], 1)


class Middle(nn.Sequential):
    """Convolution that halves the number of channels, group norm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__(*_add_norm(reflect_conv3x3(channels, channels // 2)))


def reflect_conv3x3(channels: int, filters: int, dilation: int = 1) -> nn.Conv2d:
    """Build a convolution of kernel 3 with reflection padding that preserves the image size."""
    return nn.Conv2d(channels, filters, 3, padding=dilation, dilation=dilation, padding_mode="reflect")


def _add_norm(conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.GroupNorm(GROUPS, conv.out_channels), nn.ReLU(inplace=True)]


def _apply(step: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    return step(frames)


def _apply_to_nonzero(step: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """Apply a step to each frame; the result is zero for frames that are all zero."""
    empty = frames.flatten(1).eq(0).all(1)
    return step(frames).masked_fill(empty[:, None, None, None], 0)


def _check_pyramid(levels: int, channels: int, mid_conv: object) -> None:
    if levels < 2:
        raise UsageError(f"levels={levels!r} for {NAME!r}; the last level is the global maximum; give 2 or more")
    if not isinstance(mid_conv, bool):
        raise UsageError(f"mid_conv={mid_conv!r} for {NAME!r}; it must be true or false; give one of them")
    if mid_conv and levels * channels // 2 % GROUPS:
        raise UsageError(
            f"channels={channels!r} at levels={levels!r} for {NAME!r}; half of their product must be a multiple of "
            f"{GROUPS} for the group norm; give channels that are a multiple of 8"
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
    """Convert a published FPN-ConvLSTM state dict to the keys of `Model`; keys of a contrastive head are dropped.

    Args:
        state_dict: Published parameters, with or without the "module." prefix of data parallelism.

    Raises:
        CropzooError: If a key does not belong to the published network.

    Source: Parameter names of VSainteuf/utae-paps.
    """
    return rename_keys(state_dict, _RULES, NAME)
