"""UNet2D-CLSTM: a U-Net on each date, then a convolutional LSTM over the dates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cropzoo import Backbone
from cropzoo_plugins.layers.checks import check_image, check_multiple, check_sizes
from cropzoo_plugins.layers.convolutional_cells import NormedConvLSTM, conv3x3
from cropzoo_plugins.layers.padding import Padding, check_padding, zero_invalid
from cropzoo_plugins.layers.published import rename_keys
from cropzoo_plugins.layers.recurrent import Steps
from cropzoo_plugins.layers.step_norm import resize_statistics, stack_statistics

NAME, STEPS = "unet2d-clstm", 60


class UNet2DCLSTM(Backbone):
    """U-Net on each date, followed by a convolutional LSTM.

    The features are the mean of the hidden state over the dates, (B, 2 * width, H, W).

    Args:
        in_channels: Number of bands.
        classes: Unused; the features do not depend on the number of classes.
        image_size: Side of the images in pixels, a multiple of 4; other multiples are supported after building.
        length: Number of dates with separate batch statistics in the recurrence, 60 if None; later dates use the last
            ones.
        width: Number of channels at full resolution; the other widths, such as 2 * width in the recurrence, are
            proportional.
        padding: "masked" reads only the valid dates of each sample; "published" reads all dates, sets invalid ones to
            zero, and averages over all of them.

    Raises:
        UsageError: If an option is out of range, or a side of the image is not a multiple of 4.

    Source: Tarasiou et al. 2022, arXiv:2104.04310, and its code. Differs: padded dates are excluded from the
        recurrence, its mean and all batch statistics; running statistics are updated once per training step instead of
        twice.
    """

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
        check_sizes(NAME, in_channels=in_channels, classes=classes, length=STEPS if length is None else length)
        check_multiple(NAME, 4, width=width)
        check_padding(padding, NAME)
        self.padding, self.size_multiple, self.out_channels = padding, 4, 2 * width
        check_image(NAME, image_size, image_size, self.size_multiple)
        self.unet = FrameUNet(in_channels, width)
        self.lstm = NormedConvLSTM(2 * width, 2 * width, STEPS if length is None else length)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute the mean state of the recurrence.

        Args:
            series: Normalized series, (B, T, C, H, W), float32; H and W are multiples of 4.
            dates: Unused, (B, T), int64; only the order of the dates matters.
            valid: Mask of valid dates, (B, T), bool; False marks padding.

        Returns:
            Features, (B, 2 * width, H, W).

        Raises:
            UsageError: If a side of the image is not a multiple of 4.
        """
        height, width = series.shape[-2:]
        check_image(NAME, height, width, self.size_multiple)
        if self.padding == "published":
            series, valid = zero_invalid(series, valid), torch.ones_like(valid)
        steps = Steps.of(valid)
        frames = self.unet(steps.gather(series).contiguous(memory_format=torch.channels_last))
        total: Tensor = self.lstm(frames, steps, steps.create_state(series, self.out_channels))
        return total / steps.dates.clamp(min=1)[:, None, None, None]

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Truncate the batch statistics to the dates of this network, or extend them by repeating the last ones."""
        own = self.state_dict()
        return {
            key: resize_statistics(value, len(own[key]))
            if key.startswith("lstm.") and "_norm.running_" in key and key in own and value.ndim == 2 and len(value)
            else value
            for key, value in state.items()
        }

    def make_head(self, classes: int) -> nn.Module:
        """Build the published head: a convolution of kernel 3."""
        return conv3x3(self.out_channels, classes)


class FrameUNet(nn.Module):
    """U-Net on single dates, (N, C, H, W) to (N, 2 * width, H, W); H and W are multiples of 4.

    The encoder has group norm, the decoder batch norm; all widths are proportional to `width` as published.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        w = width
        self.down1 = nn.Sequential(*_group_norm_block(in_channels, w, 4), *_group_norm_block(w, w, 4))
        self.down2 = nn.Sequential(*_group_norm_block(w, 2 * w, 8), *_group_norm_block(2 * w, 2 * w, 8))
        self.down3 = nn.Sequential(*_group_norm_block(2 * w, 4 * w, 16))
        self.up3 = nn.Sequential(*_group_norm_block(4 * w, 4 * w, 16), _upsample(4 * w, 2 * w))
        self.up2 = nn.Sequential(
            *_batch_norm_block(4 * w, 2 * w), *_batch_norm_block(2 * w, 2 * w), _upsample(2 * w, w)
        )
        self.up1 = nn.Sequential(*_batch_norm_block(2 * w, w), *_batch_norm_block(w, w // 2), conv3x3(w // 2, 2 * w))
        self.pool = nn.MaxPool2d(2)

    def forward(self, frames: Tensor) -> Tensor:
        fine = self.down1(frames)
        middle = self.down2(self.pool(fine))
        coarse = self.up3(self.down3(self.pool(middle)))
        mixed = self.up2(torch.cat([coarse, middle], 1))
        features: Tensor = self.up1(torch.cat([mixed, fine], 1))
        return features


def _group_norm_block(channels: int, filters: int, groups: int) -> list[nn.Module]:
    return [conv3x3(channels, filters), nn.GroupNorm(groups, filters), nn.LeakyReLU(inplace=True)]


def _batch_norm_block(channels: int, filters: int) -> list[nn.Module]:
    return [conv3x3(channels, filters), nn.BatchNorm2d(filters), nn.LeakyReLU(inplace=True)]


def _upsample(channels: int, filters: int) -> nn.Module:
    return nn.ConvTranspose2d(channels, filters, kernel_size=2, stride=2)


_UNET = {
    "unet_encode.enc3.encode": "down1",
    "unet_encode.enc4.encode": "down2",
    "unet_encode.center": "down3",
    "unet_decode.center_decode": "up3",
    "unet_decode.dec4.decode": "up2",
    "unet_decode.final": "up1",
}
_NORMED = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_CELL = r"crnn_main\.clstm\.cell_list\.0\."
_RULES = [
    *((rf"fcn\.{published}\.(\d)\.{_NORMED}", rf"backbone.unet.{ours}.\1.\2") for published, ours in _UNET.items()),
    (rf"{_CELL}(h_conv|input_conv)\.(weight|bias)", r"backbone.lstm.\1.\2"),
    (rf"{_CELL}(h_norm|input_norm|cell_norm)\.weight", r"backbone.lstm.\1.weight"),
    (rf"{_CELL}(h_norm|input_norm|cell_norm)\.(running_mean|running_var)_(\d+)", r"backbone.lstm.\1.\2.\3"),
    (r"main_finalconv\.(weight|bias)", r"head.\1"),
]


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a published UNet2D-CLSTM state dict to the keys of `Model`; keys of a contrastive head are dropped.

    Build the model with `length` equal to the published `max_seq_len`.

    Args:
        state_dict: Published parameters and buffers, with or without the "module." prefix of data parallelism.

    Raises:
        CropzooError: If a key does not belong to the published network.

    Source: Parameter names of michaeltrs/DeepSatModels.
    """
    return stack_statistics(rename_keys(state_dict, _RULES, NAME))
