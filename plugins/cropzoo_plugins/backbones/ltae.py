"""L-TAE on individual pixels: a baseline without spatial context."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo import Backbone
from cropzoo_plugins.layers.checks import check_image, check_multiple, check_sizes
from cropzoo_plugins.layers.ltae import TemporalAttention
from cropzoo_plugins.layers.padding import Frames

NAME = "ltae"


class LTAE(Backbone):
    """Lightweight temporal attention over the dates of each pixel, without spatial context.

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Unused; any image size is supported.
        length: Unused; any number of dates is supported.
        width: Number of channels of the embedding and of the features, a multiple of `heads`.
        heads: Number of attention heads.
        model_dim: Number of value channels of the attention, a multiple of `heads`.
        key_dim: Number of query and key channels of a head.
        dropout: Dropout rate of the output of the attention.
        attention_dropout: Dropout rate of the attention weights.

    Raises:
        UsageError: If an option is out of range.

    Source: Garnot and Landrieu 2020, arXiv:2007.00586, with the sizes of the paper. Differs: a linear layer with
        batch norm and ReLU replaces the pixel-set encoder; the attention is that of U-TAE, arXiv:2107.07933, with group
        norms, and excludes padded dates.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        width: int = 128,
        heads: int = 16,
        model_dim: int = 256,
        key_dim: int = 8,
        dropout: float = 0.2,
        attention_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_sizes(NAME, in_channels=in_channels, classes=classes, heads=heads)
        check_multiple(NAME, heads, width=width)
        check_image(NAME, image_size, image_size, least=1)
        self.out_channels = width
        self.embed = nn.Linear(in_channels, width)
        self.embed_norm = nn.BatchNorm1d(width)
        self.over_time = TemporalAttention(
            width,
            heads=heads,
            model_dim=model_dim,
            key_dim=key_dim,
            dropout=dropout,
            attention_dropout=attention_dropout,
            backbone=NAME,
        )

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute dense features.

        Args:
            series: Normalized series, (B, T, C, H, W), float32.
            dates: Days since 1 September before the first date, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; padding does not affect the features.

        Returns:
            Features, (B, width, H, W).
        """
        batch, length, _, height, width = series.shape
        # the dates of a pixel are contiguous from here on, as the attention requires
        frames = Frames.of(valid[:, None, None].expand(-1, height, width, -1).flatten(0, 2))
        pixels = frames.gather(series.permute(0, 3, 4, 1, 2).flatten(0, 2))
        embedded = frames.scatter(F.relu(self.embed_norm(self.embed(pixels))))
        maps = embedded.reshape(batch, height, width, length, -1).permute(0, 3, 4, 1, 2)
        features: Tensor = self.over_time(maps, dates, valid)[0]
        return features

    def make_head(self, classes: int) -> nn.Module:
        """Build the classifier of the paper: two layers of half and a quarter of the width, then the logits."""
        half, quarter = max(1, self.out_channels // 2), max(1, self.out_channels // 4)
        return nn.Sequential(
            nn.Conv2d(self.out_channels, half, kernel_size=1),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, quarter, kernel_size=1),
            nn.BatchNorm2d(quarter),
            nn.ReLU(inplace=True),
            nn.Conv2d(quarter, classes, kernel_size=1),
        )
