"""Context-self contrastive loss: each pixel against the pixels in a window around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cropzoo import IGNORE, Backbone, Batch, Losses, Objective, UnknownName, UsageError
from cropzoo_plugins.objectives.labels import labels_for
from cropzoo_plugins.objectives.window_similarity import window_similarity

PAIRS = ("clean", "published")


class ContextSelfSimilarity(nn.Module):
    """Similarity between every pixel's query and the keys in a window around it.

    Args:
        in_channels: D, width of the features.
        attention_channels: A, width of queries and keys; even.
        window: w, cells along a side of the window; odd, at least 3.
        dilation: pixels from one cell of the window to the next.
        normalize: scale queries and keys to unit length, so that a similarity is a cosine.

    Raises:
        UsageError: for a window, dilation or width that cannot be.

    Source: Tarasiou et al. 2022, arXiv:2104.04310. A vector of length zero has similarity 0 and, unlike there, no
        gradient (there it is of order 1e12).
    """

    def __init__(
        self,
        in_channels: int,
        attention_channels: int = 128,
        window: int = 3,
        dilation: int = 1,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        if window < 3 or window % 2 == 0:
            raise UsageError(f"cscl with window {window!r}; a window has a center and neighbors; use 3, 5, 7, ...")
        if dilation < 1:
            raise UsageError(f"cscl with dilation {dilation!r}; cells lie at least one pixel apart; use 1 or more")
        if attention_channels < 2 or attention_channels % 2:
            raise UsageError(
                f"cscl with attention_channels {attention_channels!r}; half of them tell the row, half the column; "
                "use an even number"
            )
        self.dilation = dilation
        self.normalize = normalize
        half = attention_channels // 2
        self.query_conv = nn.Conv2d(in_channels, attention_channels, kernel_size=1, bias=False)
        self.key_conv = nn.Conv2d(in_channels, attention_channels, kernel_size=1, bias=False)
        self.rel_h = nn.Parameter(torch.randn(half, 1, 1, window, 1))
        self.rel_w = nn.Parameter(torch.randn(half, 1, 1, 1, window))

    def forward(self, features: Tensor) -> Tensor:
        """Similarity of each pixel to the cells of its window.

        Args:
            features: (B, D, H, W), floating.

        Returns:
            (B, H, W, w, w), float32 (float64 for float64 features), in [-1, 1] if normalized. Outside the image the
            key is zero plus the cell's position.
        """
        window = self.rel_h.shape[3]
        shape = (-1, window, window)
        positions = torch.cat([self.rel_h[:, 0, 0].expand(shape), self.rel_w[:, 0, 0].expand(shape)])
        query, key = self.query_conv.weight[:, :, 0, 0], self.key_conv.weight[:, :, 0, 0]
        return window_similarity(features, query, key, positions, self.dilation, self.normalize)


def same_class(labels: Tensor, window: int, dilation: int) -> tuple[Tensor, Tensor]:
    """Which cells of each pixel's window have the pixel's own label, and which lie inside the image.

    Args:
        labels: (B, H, W), integer; 255 is a label like any other here.
        window: cells along a side of the window.
        dilation: pixels from one cell to the next.

    Returns:
        `same`, (B, H, W, w, w), and `inside`, (1, H, W, w, w), bool. `same` is False outside the image.
    """
    inside = windows_of(torch.ones_like(labels[:1], dtype=torch.bool), window, dilation)
    return (windows_of(labels, window, dilation) == labels[..., None, None]) & inside, inside


def windows_of(maps: Tensor, window: int, dilation: int) -> Tensor:
    """The window around every pixel of maps (B, H, W), zero outside the image: a view, (B, H, W, w, w)."""
    reach = window // 2 * dilation
    padded = F.pad(maps, (reach, reach, reach, reach))
    span = 2 * reach + 1
    return padded.unfold(1, span, 1).unfold(2, span, 1)[..., ::dilation, ::dilation]


class CSCL(Objective):
    """Neighbors of one class are drawn together, neighbors of different classes apart; a loss of boundaries.

    The loss is the mean of `(1 - y) * s - positive_weight * y * s` over pairs of a pixel and a cell of its window,
    s their similarity, y = 1 where their classes are the same.

    Args:
        backbone: its features are what the pairs compare.
        classes: number of classes; unused, labels are only compared.
        window, dilation, attention_channels, normalize: as in `ContextSelfSimilarity`.
        positive_weight: None is 1 / (w * w - 1).
        pairs: "clean" leaves out cells outside the image and the pixel itself; "published" counts them as different
            and as same. Neither takes a pair with an ignored label, and both divide by the number of pairs taken.

    Raises:
        UnknownName: for other `pairs`.
        UsageError: for a number that cannot be.

    Source: Tarasiou et al. 2022, arXiv:2104.04310, and its code, which "published" equals where no label is ignored.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        window: int = 3,
        dilation: int = 1,
        attention_channels: int = 128,
        normalize: bool = True,
        positive_weight: float | None = None,
        pairs: str = "clean",
    ) -> None:
        super().__init__(backbone)
        if pairs not in PAIRS:
            raise UnknownName("pairs of cscl", pairs, PAIRS)
        self.similarity = ContextSelfSimilarity(backbone.out_channels, attention_channels, window, dilation, normalize)
        if positive_weight is not None and not 0 <= positive_weight < float("inf"):
            raise UsageError(f"cscl with positive_weight {positive_weight!r}; it scales a loss; use a number from 0 up")
        self.positive_weight = 1 / (window * window - 1) if positive_weight is None else positive_weight
        self.window, self.dilation, self.pairs = window, dilation, pairs

    def forward(self, batch: Batch) -> Losses:
        """The loss of one batch; `parts` are the mean similarity of pairs of one class and of different classes."""
        features = self.backbone(batch.series, batch.dates, batch.valid)
        labels = labels_for(features, batch.labels, "cscl")
        similarity = self.similarity(features)
        same, different = self.select_pairs(labels)
        positives, negatives = same.sum(), different.sum()
        positive, negative = (similarity * same).sum(), (similarity * different).sum()
        total = (negative - self.positive_weight * positive) / (positives + negatives).clamp(min=1)
        parts = {
            "positive_similarity": positive.detach() / positives.clamp(min=1),
            "negative_similarity": negative.detach() / negatives.clamp(min=1),
        }
        return Losses(total, parts)

    def select_pairs(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs that count as same and as different, (B, H, W, w, w), bool, for labels (B, H, W)."""
        same, inside = same_class(labels, self.window, self.dilation)
        # A cell outside the image is known: whether such pairs are taken is for `pairs` to say.
        taken = (windows_of(labels, self.window, self.dilation) != IGNORE) & (labels != IGNORE)[..., None, None]
        if self.pairs == "clean":
            taken &= inside
            taken[..., self.window // 2, self.window // 2] = False
        return same & taken, ~same & taken
