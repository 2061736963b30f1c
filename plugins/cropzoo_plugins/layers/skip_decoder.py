"""Lightweight decoder from feature maps of several strides to pixel resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """3x3 convolution with zero padding, batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class SkipDecoder(nn.Module):
    """Decoder whose steps resize the features to the next finer map and concatenate it.

    Args:
        width: Number of channels of the maps and of the features.
        steps: Number of finer maps.

    Source: Decoder of Ronneberger et al. 2015, arXiv:1505.04597, with one convolution per step and bilinear resizing.
    """

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(ConvNorm(2 * width, width) for _ in range(steps))

    def forward(self, deepest: Tensor, finer: Sequence[Tensor]) -> Tensor:
        """Compute features at the finest resolution.

        Args:
            deepest: Coarsest map, (B, width, h, w).
            finer: One map (B, width, H, W) per step, the finest last.

        Returns:
            Features, (B, width, H, W), with the size of the last map.
        """
        features = deepest
        for step, skip in zip(self.steps, finer, strict=True):
            if features.shape[-2:] != skip.shape[-2:]:
                features = F.interpolate(features, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            features = step(torch.cat([features, skip], dim=1))
        return features
