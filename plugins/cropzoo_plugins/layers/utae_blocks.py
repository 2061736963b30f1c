"""Convolutional blocks of U-TAE: reflection padding, downsampling of single dates, upsampling of their sums."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 4
"""Number of groups of the group norms in the encoder."""


class ReflectConv2d(nn.Conv2d):
    """Convolution with reflection padding of one pixel; dimensions of size 1 are padded by replication.

    A kernel of 3 preserves the size; a kernel of 4 with stride 2 halves it.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Convolve (N, C, H, W) to (N, out_channels, H / stride, W / stride)."""
        height, width = images.shape[-2:]
        if min(height, width) > 1:
            return super().forward(F.pad(images, (1, 1, 1, 1), mode="reflect"))
        images = F.pad(images, (1, 1, 0, 0), mode="reflect" if width > 1 else "replicate")
        return super().forward(F.pad(images, (0, 0, 1, 1), mode="reflect" if height > 1 else "replicate"))


def conv_block(in_channels: int, out_channels: int, norm: str, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Build a convolution with reflection padding, a norm ("group" or "batch") and ReLU."""
    return nn.Sequential(
        ReflectConv2d(in_channels, out_channels, kernel, stride),
        nn.GroupNorm(GROUPS, out_channels) if norm == "group" else nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class DownBlock(nn.Module):
    """Block that halves the resolution, (N, in, H, W) to (N, out, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.down = conv_block(in_channels, in_channels, "group", kernel=4, stride=2)
        self.conv1 = conv_block(in_channels, out_channels, "group")
        self.conv2 = conv_block(out_channels, out_channels, "group")

    def forward(self, images: Tensor) -> Tensor:
        """Downsample images."""
        halved = self.conv1(self.down(images))
        return cast(Tensor, halved + self.conv2(halved))


class UpBlock(nn.Module):
    """Block that doubles the resolution and adds a skip connection, (B, in, H, W) to (B, out, 2 H, 2 W).

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        skip_channels: Number of channels of the skip connection.
    """

    def __init__(self, in_channels: int, out_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.up = nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )
        self.skip = nn.Sequential(
            nn.Conv2d(skip_channels, skip_channels, kernel_size=1), nn.BatchNorm2d(skip_channels), nn.ReLU(inplace=True)
        )
        self.conv1 = conv_block(out_channels + skip_channels, out_channels, "batch")
        self.conv2 = conv_block(out_channels, out_channels, "batch")

    def forward(self, images: Tensor, skip: Tensor) -> Tensor:
        """Upsample images and join a skip connection (B, skip_channels, 2 H, 2 W)."""
        doubled = self.conv1(torch.cat([self.up(images), self.skip(skip)], dim=1))
        return cast(Tensor, doubled + self.conv2(doubled))
