"""Supervised contrastive loss over pixels sampled equally from the classes of a batch."""

from __future__ import annotations

import torch
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor, nn
from torch.nn import functional as F

from cropzoo import IGNORE, Backbone, Batch, Losses, Objective, UsageError
from cropzoo_plugins.objectives.generators import get_generator
from cropzoo_plugins.objectives.labels import require_labels


class SupCon(Objective):
    """Contrastive loss that attracts pixels of the same class and repels pixels of different classes.

    Each step samples pixels from the batch, as many of each class as available. The loss of a sampled pixel is the mean
    of `-log(exp(s_p / temperature) / sum_a exp(s_a / temperature))` over the other pixels p of its class, where a runs
    over all other sampled pixels and s is the cosine of two projected features. A pixel that is the only one of its
    class serves only as a negative.

    Args:
        backbone: Backbone to train; the projection of its features is discarded after training.
        classes: Number of classes; unused, because labels are only compared.
        projection_channels: Number of channels of the projection, which has two layers.
        temperature: Temperature of the softmax.
        pixels: Number of pixels to sample in each step, at least 2; time and memory are quadratic in it.

    Raises:
        UsageError: If a number is out of range.

    Source: Loss L_out of Khosla et al. 2020, arXiv:2004.11362, as implemented by pytorch-metric-learning. Differs:
        pixels replace images and there are no augmented views, so that the positives of a pixel are other pixels; the
        hidden layer of the projection is as wide as the features. The mean is over pixels with a loss other than zero,
        which excludes pixels that are the only one of their class. If all pixels have the same class, the loss is zero.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        projection_channels: int = 128,
        temperature: float = 0.1,
        pixels: int = 1024,
    ) -> None:
        super().__init__(backbone)
        if projection_channels < 1:
            raise UsageError(
                f"supcon with projection_channels={projection_channels!r}; it must be at least 1; use 1 or more"
            )
        if not 0 < temperature < float("inf"):
            raise UsageError(f"supcon with temperature={temperature!r}; it must be positive; use a number above 0")
        if pixels < 2:
            raise UsageError(f"supcon with pixels={pixels!r}; pixels are compared with each other; use 2 or more")
        width = backbone.out_channels
        self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection_channels))
        self.contrast = SupConLoss(temperature=temperature)
        self.pixels = pixels

    def forward(self, batch: Batch) -> Losses:
        """Loss of a batch; `parts` are the mean cosines of pairs of the same class and of different classes."""
        features = self.features(batch)
        labels = require_labels(features, batch.labels, "supcon").flatten()
        chosen = sample_by_class(labels, self.pixels, get_generator(self, labels.device))
        rows = features.movedim(1, -1).flatten(0, 2)[chosen]
        projected = self.projection(rows)
        with torch.autocast(
            features.device.type, enabled=False
        ):  # cosines divided by 0.1 need more than 8 bits of precision
            embeddings = projected.float()
            total: Tensor = self.contrast(embeddings, labels[chosen])
            positive, negative = mean_cosines(embeddings.detach(), labels[chosen])
        return Losses(total, {"positive_similarity": positive, "negative_similarity": negative})


def sample_by_class(labels: Tensor, count: int, draws: torch.Generator | None = None) -> Tensor:
    """Sample the indices of at most `count` labels that are not ignored, as many of each class as available.

    Args:
        labels: Labels, (N,), integer, 255 = ignore.
        count: Number of indices.
        draws: Random number generator; the global one if None.

    Returns:
        Indices, (count,) or fewer, int64: one of each class in random order, then a second one of each class, etc.
    """
    known = (labels != IGNORE).nonzero().squeeze(1)
    shuffled = known[torch.randperm(len(known), generator=draws, device=labels.device)]
    classes, by_class = labels[shuffled].sort(stable=True)
    turn = torch.arange(len(known), device=labels.device) - torch.searchsorted(classes, classes)
    # random order within a turn, because the last turn may not include all classes
    scores = torch.rand(len(known), generator=draws, device=labels.device)
    return shuffled[by_class[(turn + scores).argsort()[:count]]]


def mean_cosines(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cosines of pairs of different rows of the same class, and of different classes; zero without pairs.

    The cosines of all pairs of unit vectors sum to the squared norm of the sum of the vectors, so that no single cosine
    is computed.

    Args:
        embeddings: Embeddings, (N, P), float32.
        labels: Labels, (N,), integer from 0.
    """
    unit = F.normalize(embeddings)
    pixels = labels.bincount()
    sums = unit.new_zeros(len(pixels), unit.shape[1]).index_add(0, labels, unit)
    own = unit.square().sum()
    same = sums.square().sum() - own
    different = sums.sum(0).square().sum() - own - same
    alike = pixels.square().sum() - len(unit)
    others = len(unit) ** 2 - len(unit) - alike
    return same / alike.clamp(min=1), different / others.clamp(min=1)
