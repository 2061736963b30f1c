"""Context-self contrastive loss: compares each pixel with the pixels of a window around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cropzoo import IGNORE, Backbone, Batch, Losses, Objective, UnknownName, UsageError
from cropzoo_plugins.objectives.labels import require_labels
from cropzoo_plugins.objectives.window_similarity import window_similarity

PAIRS = ("clean", "published")


class ContextSelfSimilarity(nn.Module):
    """Similarity between the query of each pixel and the keys of a window around it.

    Args:
        in_channels: Number of feature channels, D.
        attention_channels: Number of query and key channels, A; an even number.
        window: Side of the window in cells, w; an odd number, at least 3.
        dilation: Distance between the cells of the window in pixels.
        normalize: Whether to scale queries and keys to unit length, so that similarities are cosines.

    Raises:
        UsageError: If the window, the dilation or the number of channels is out of range.

    Source: Tarasiou et al. 2022, arXiv:2104.04310. Differs: a vector of length zero has similarity 0 and no gradient;
        in the published code its gradient is of order 1e12.
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
            raise UsageError(f"cscl with window={window!r}; it must be odd and at least 3; use 3, 5, 7, ...")
        if dilation < 1:
            raise UsageError(f"cscl with dilation={dilation!r}; it must be at least 1; use 1 or more")
        if attention_channels < 2 or attention_channels % 2:
            raise UsageError(
                f"cscl with attention_channels={attention_channels!r}; half of the channels encode the row, half the "
                "column; use an even number"
            )
        self.dilation = dilation
        self.normalize = normalize
        half = attention_channels // 2
        self.query_conv = nn.Conv2d(in_channels, attention_channels, kernel_size=1, bias=False)
        self.key_conv = nn.Conv2d(in_channels, attention_channels, kernel_size=1, bias=False)
        self.rel_h = nn.Parameter(torch.randn(half, 1, 1, window, 1))
        self.rel_w = nn.Parameter(torch.randn(half, 1, 1, 1, window))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the similarity of each pixel to the cells of its window.

        Args:
            features: Dense features, (B, D, H, W), floating point.

        Returns:
            Similarity, (B, H, W, w, w), float32 (float64 for float64 features), in [-1, 1] if normalized. The key of a
            cell outside the image is the position vector of the cell.
        """
        window = self.rel_h.shape[3]
        shape = (-1, window, window)
        positions = torch.cat([self.rel_h[:, 0, 0].expand(shape), self.rel_w[:, 0, 0].expand(shape)])
        query, key = self.query_conv.weight[:, :, 0, 0], self.key_conv.weight[:, :, 0, 0]
        return window_similarity(features, query, key, positions, self.dilation, self.normalize)


def compare_labels(labels: Tensor, window: int, dilation: int) -> tuple[Tensor, Tensor]:
    """Find the cells of the window of each pixel that have the label of the pixel, and those inside the image.

    Args:
        labels: Labels, (B, H, W), integer; 255 is compared like any other label.
        window: Side of the window in cells.
        dilation: Distance between the cells of the window in pixels.

    Returns:
        `same`, (B, H, W, w, w), and `inside`, (1, H, W, w, w), both bool. `same` is False outside the image.
    """
    inside = extract_windows(torch.ones_like(labels[:1], dtype=torch.bool), window, dilation)
    return (extract_windows(labels, window, dilation) == labels[..., None, None]) & inside, inside


def extract_windows(maps: Tensor, window: int, dilation: int) -> Tensor:
    """Windows around each pixel of maps (B, H, W), as a view (B, H, W, w, w); zero outside the image."""
    reach = window // 2 * dilation
    padded = F.pad(maps, (reach, reach, reach, reach))
    span = 2 * reach + 1
    return padded.unfold(1, span, 1).unfold(2, span, 1)[..., ::dilation, ::dilation]


class CSCL(Objective):
    """Contrastive loss that attracts neighboring pixels of the same class and repels those of different classes.

    The loss is the mean of `(1 - y) * s - positive_weight * y * s` over pairs of a pixel and a cell of its window,
    where s is their similarity and y is 1 if their classes are equal, else 0.

    Args:
        backbone: Backbone to train.
        classes: Number of classes; unused, because labels are only compared.
        window: Side of the window in cells; see `ContextSelfSimilarity`.
        dilation: Distance between the cells of the window in pixels.
        attention_channels: Number of query and key channels.
        normalize: Whether to use cosine similarity.
        positive_weight: Weight of pairs of the same class; 1 / (window * window - 1) if None.
        pairs: "clean" excludes cells outside the image and the pixel itself; "published" counts the former as different
            and the latter as same. Pairs with an ignored label are excluded in both cases.

    Raises:
        UnknownName: If `pairs` is not a valid choice.
        UsageError: If a number is out of range.

    Source: Tarasiou et al. 2022, arXiv:2104.04310, and its code; "published" equals it if no label is ignored.
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
            raise UnknownName("value of cscl.pairs:", pairs, PAIRS)
        self.similarity = ContextSelfSimilarity(backbone.out_channels, attention_channels, window, dilation, normalize)
        if positive_weight is not None and not 0 <= positive_weight < float("inf"):
            raise UsageError(f"cscl with positive_weight={positive_weight!r}; it must not be negative; use 0 or more")
        self.positive_weight = 1 / (window * window - 1) if positive_weight is None else positive_weight
        self.window, self.dilation, self.pairs = window, dilation, pairs

    def forward(self, batch: Batch) -> Losses:
        """Loss of a batch; `parts` are the mean similarities of pairs of the same class and of different classes."""
        features = self.features(batch)
        labels = require_labels(features, batch.labels, "cscl")
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
        """Masks of the pairs of the same class and of different classes, (B, H, W, w, w), from labels (B, H, W)."""
        same, inside = compare_labels(labels, self.window, self.dilation)
        # cells outside the image count as known; `pairs` decides whether they are used
        used = (extract_windows(labels, self.window, self.dilation) != IGNORE) & (labels != IGNORE)[..., None, None]
        if self.pairs == "clean":
            used &= inside
            used[..., self.window // 2, self.window // 2] = False
        return same & used, ~same & used
