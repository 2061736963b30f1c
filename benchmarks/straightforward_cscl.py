"""Straightforward CSCL with unfolded keys, the reference for speed, memory and results."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StraightforwardSimilarity(nn.Module):
    """Counterpart of `ContextSelfSimilarity` with the same parameters and results, (B, D, H, W) to (B, H, W, w, w)."""

    def __init__(
        self,
        in_channels: int,
        attention_channels: int = 128,
        window: int = 3,
        dilation: int = 1,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        half = attention_channels // 2
        self.window, self.dilation, self.normalize = window, dilation, normalize
        self.query_conv = nn.Conv2d(in_channels, attention_channels, kernel_size=1, bias=False)
        self.key_conv = nn.Conv2d(in_channels, attention_channels, kernel_size=1, bias=False)
        self.rel_h = nn.Parameter(torch.randn(half, 1, 1, window, 1))
        self.rel_w = nn.Parameter(torch.randn(half, 1, 1, 1, window))

    def forward(self, features: Tensor) -> Tensor:
        images, _, height, width = features.shape
        window = self.window
        query = self.query_conv(features).unsqueeze(2)
        keys = F.unfold(
            self.key_conv(features), window, dilation=self.dilation, padding=self.dilation * (window // 2)
        ).view(images, -1, window * window, height, width)
        shape = (-1, window, window)
        positions = torch.cat([self.rel_h[:, 0, 0].expand(shape), self.rel_w[:, 0, 0].expand(shape)])
        keys = keys + positions.flatten(1)[None, :, :, None, None]
        if self.normalize:
            query, keys = F.normalize(query, dim=1), F.normalize(keys, dim=1)
        similarity = (query * keys).sum(dim=1)
        return similarity.permute(0, 2, 3, 1).unflatten(3, (window, window))


def straightforward_loss(similarity: Tensor, labels: Tensor, window: int, dilation: int) -> Tensor:
    """Mean over pairs inside the image, without the pixel itself, for labels (B, H, W) without ignored pixels."""
    images, height, width = labels.shape
    windows = F.unfold(labels[:, None].float() + 1, window, dilation=dilation, padding=dilation * (window // 2)).view(
        images, window * window, height, width
    )
    windows = windows.permute(0, 2, 3, 1).unflatten(3, (window, window))
    same = (windows == labels[..., None, None] + 1).float()
    counted = (windows > 0).float()
    counted[..., window // 2, window // 2] = 0
    losses = (1 - same) * similarity - same * similarity / (window * window - 1)
    return (losses * counted).sum() / counted.sum()
