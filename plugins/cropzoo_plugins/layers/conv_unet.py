"""U-Net of single images: max pooling, pairs of convolutions with GELU, bilinear upsampling."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo_plugins.layers.exchanger import truncated_normal


class ConvUNet(nn.Module):
    """U-Net from a map (B, in_channels, H, W) to features (B, width, H, W).

    Args:
        in_channels: Number of input channels.
        width: Number of channels at full resolution, doubled at each level.
        levels: Number of resolutions; H and W are multiples of 2 ** (levels - 1).
    """

    def __init__(self, in_channels: int, width: int, levels: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.down = nn.ModuleList(
            conv_pair(inside, outside) for inside, outside in zip([in_channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(UpStep(each) for each in widths[:-1])

    def forward(self, images: Tensor) -> Tensor:
        """Compute features at full resolution."""
        maps: list[Tensor] = []
        for level, convolutions in enumerate(self.down):
            images = convolutions(F.max_pool2d(images, 2) if level else images)
            maps.append(images)
        features = maps.pop()
        for up in reversed(self.up):
            features = up(features, maps.pop())
        return features


class UpStep(nn.Module):
    """Step that doubles the resolution and joins the map of the encoder, (B, 2 width, h, w) to (B, width, 2 h, 2 w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(2 * width, width, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.join = conv_pair(2 * width, width)
        truncated_normal(self.reduce.weight)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Upsample features and join `skip`, (B, width, 2 h, 2 w)."""
        # the convolution commutes with the interpolation, and needs a quarter of the operations before it
        reduced = F.interpolate(self.reduce(features), scale_factor=2.0, mode="bilinear", align_corners=False)
        return cast(Tensor, self.join(torch.cat([skip, F.gelu(self.norm(reduced))], dim=1)))


class ConvUnit(nn.Module):
    """3x3 convolution with zero padding, batch norm and GELU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        truncated_normal(self.conv.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve (B, in_channels, H, W) to (B, out_channels, H, W)."""
        return F.gelu(self.norm(self.conv(images)))


def conv_pair(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build two convolutions with batch norm and GELU."""
    return nn.Sequential(ConvUnit(in_channels, out_channels), ConvUnit(out_channels, out_channels))
