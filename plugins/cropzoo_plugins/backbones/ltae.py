"""L-TAE on every pixel alone: the baseline that looks at time and never at neighbors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo import Backbone
from cropzoo_plugins.layers.checks import check_image, check_multiple, check_sizes
from cropzoo_plugins.layers.ltae import TemporalAttention
from cropzoo_plugins.layers.padding import Frames

NAME = "ltae"


class LTAE(Backbone):
    """Dense features of lightweight temporal attention over the dates of each pixel; neighbors have no influence.

    Args:
        in_channels: bands of the series.
        classes: unused, the head alone knows classes.
        image_size: unused, any image will do.
        length: unused, any number of dates will do.
        width: of the bands' embedding and of the features, a multiple of `heads`.
        heads: of the attention.
        model_dim: width of the attention's values, a multiple of `heads`.
        key_dim: width of a head's query and keys.
        dropout: rate on the output of the attention.
        attention_dropout: rate on the weights of the dates.

    Raises:
        UsageError: for an option out of its range.

    Source: Garnot and Landrieu 2020, arXiv:2007.00586, with its sizes. Differs from it: a linear layer with batch norm
        and ReLU stands in for its encoder of sets of pixels; the attention is the one of U-TAE, arXiv:2107.07933, with
        group norms and with padded dates left out.
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
        """Dense features.

        Args:
            series: (B, T, C, H, W), float32, normalized.
            dates: (B, T), int64, days since 1 September before the first date.
            valid: (B, T), bool, False = padding; what stands there has no influence.

        Returns:
            (B, width, H, W).
        """
        batch, length, _, height, width = series.shape
        # dates of a pixel lie side by side from here on, as the attention wants them
        frames = Frames.of(valid[:, None, None].expand(-1, height, width, -1).flatten(0, 2))
        pixels = frames.gather(series.permute(0, 3, 4, 1, 2).flatten(0, 2))
        embedded = frames.scatter(F.relu(self.embed_norm(self.embed(pixels))))
        maps = embedded.reshape(batch, height, width, length, -1).permute(0, 3, 4, 1, 2)
        features: Tensor = self.over_time(maps, dates, valid)[0]
        return features

    def make_head(self, classes: int) -> nn.Module:
        """The paper's classifier: two more layers on every pixel, a half and a quarter as wide, then the logits."""
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
