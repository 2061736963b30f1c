"""A light decoder from maps of several strides to pixel resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """A 3 x 3 convolution with zeros around, batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class SkipDecoder(nn.Module):
    """Features of the finest map's size: each step resizes to the next finer map and joins it.

    Args:
        width: channels of every map, and of the features.
        steps: finer maps to join.

    Source: the decoder of Ronneberger et al. 2015, arXiv:1505.04597, with one convolution a step and bilinear resizing.
    """

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(ConvNorm(2 * width, width) for _ in range(steps))

    def forward(self, deepest: Tensor, finer: Sequence[Tensor]) -> Tensor:
        """Features at the finest resolution.

        Args:
            deepest: (B, width, h, w).
            finer: maps (B, width, H, W) of any larger sizes, the finest last; as many as there are steps.

        Returns:
            (B, width, H, W) of the last map.
        """
        features = deepest
        for step, skip in zip(self.steps, finer, strict=True):
            if features.shape[-2:] != skip.shape[-2:]:
                features = F.interpolate(features, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            features = step(torch.cat([features, skip], dim=1))
        return features
