"""The convolutions of U-TAE: blocks padded by reflection, the way down in single dates and the way up in their sum."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 4
"""Groups of the encoder's norms."""


class ReflectConv2d(nn.Conv2d):
    """A convolution whose input is padded by one pixel of reflection; a side of a single pixel repeats itself.

    A kernel of 3 keeps the size, one of 4 with a stride of 2 halves it.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out_channels, H / stride, W / stride)."""
        height, width = images.shape[-2:]
        if min(height, width) > 1:
            return super().forward(F.pad(images, (1, 1, 1, 1), mode="reflect"))
        images = F.pad(images, (1, 1, 0, 0), mode="reflect" if width > 1 else "replicate")
        return super().forward(F.pad(images, (0, 0, 1, 1), mode="reflect" if height > 1 else "replicate"))


def conv_block(in_channels: int, out_channels: int, norm: str, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A new convolution, padded by reflection, with norm ("group" of single dates or "batch") and ReLU."""
    return nn.Sequential(
        ReflectConv2d(in_channels, out_channels, kernel, stride),
        nn.GroupNorm(GROUPS, out_channels) if norm == "group" else nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class DownBlock(nn.Module):
    """Images at half their size, (N, in, H, W) to (N, out, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.down = conv_block(in_channels, in_channels, "group", kernel=4, stride=2)
        self.conv1 = conv_block(in_channels, out_channels, "group")
        self.conv2 = conv_block(out_channels, out_channels, "group")

    def forward(self, images: Tensor) -> Tensor:
        """The images, seen from further away."""
        halved = self.conv1(self.down(images))
        return cast(Tensor, halved + self.conv2(halved))


class UpBlock(nn.Module):
    """Images at twice their size with the details of a skip, (B, in, H, W) to (B, out, 2 H, 2 W).

    Args:
        in_channels: of the images.
        out_channels: of the result.
        skip_channels: of the skip.
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
        """The images with a skip (B, skip_channels, 2 H, 2 W)."""
        doubled = self.conv1(torch.cat([self.up(images), self.skip(skip)], dim=1))
        return cast(Tensor, doubled + self.conv2(doubled))
