"""Supervised contrastive loss over sampled pixels: pixels of one class together, of different classes apart."""

from __future__ import annotations

import torch
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor, nn
from torch.nn import functional as F

from cropzoo import IGNORE, Backbone, Batch, Losses, Objective, UsageError
from cropzoo_plugins.objectives.draws import draws_for
from cropzoo_plugins.objectives.labels import labels_for


class SupCon(Objective):
    """Pixels of one class are drawn together, wherever in the batch they lie, pixels of other classes apart.

    A step samples pixels of the batch, as many of each class as far as there are. Of each sampled pixel it lowers
    `-log(exp(s_p / temperature) / sum_a exp(s_a / temperature))`, the mean over the other pixels p of its class, a over
    all other pixels, s the cosine of two projected features. A pixel alone in its class is only one of the others.

    Args:
        backbone: its features are projected; the projection is not kept.
        classes: number of classes; unused, labels are only compared.
        projection_channels: width of the projection, two layers with a hidden one as wide as the features.
        temperature: how sharply near pixels outweigh far ones.
        pixels: how many a step samples, at least 2; time and memory grow with its square.

    Raises:
        UsageError: for a number that cannot be.

    Source: Khosla et al. 2020, arXiv:2004.11362, the loss L_out, by pytorch-metric-learning. Pixels take the place of
        images and there are no second views: a pixel's positives are other pixels. The temperature is that of the
        paper; the projection is as in it but for the width of its hidden layer. The mean is over pixels whose loss is
        not zero, so one alone in its class does not count. Where all are of one class the loss is zero.
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
            raise UsageError(f"supcon with projection_channels {projection_channels!r}; it is a width; use 1 or more")
        if not 0 < temperature < float("inf"):
            raise UsageError(f"supcon with temperature {temperature!r}; it divides a cosine; use a number above 0")
        if pixels < 2:
            raise UsageError(f"supcon with pixels {pixels!r}; it compares pixels with each other; use 2 or more")
        width = backbone.out_channels
        self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection_channels))
        self.contrast = SupConLoss(temperature=temperature)
        self.pixels = pixels

    def forward(self, batch: Batch) -> Losses:
        """The loss of one batch; `parts` are the mean cosine of pairs of one class and of different classes."""
        features = self.backbone(batch.series, batch.dates, batch.valid)
        labels = labels_for(features, batch.labels, "supcon").flatten()
        chosen = sample_by_class(labels, self.pixels, draws_for(self, labels.device))
        rows = features.movedim(1, -1).flatten(0, 2)[chosen]
        projected = self.projection(rows)
        with torch.autocast(features.device.type, enabled=False):  # cosines over 0.1 need more than 8 bits
            embeddings = projected.float()
            total: Tensor = self.contrast(embeddings, labels[chosen])
            positive, negative = mean_cosines(embeddings.detach(), labels[chosen])
        return Losses(total, {"positive_similarity": positive, "negative_similarity": negative})


def sample_by_class(labels: Tensor, count: int, draws: torch.Generator | None = None) -> Tensor:
    """Indices of at most `count` labels that are not ignored, as many of each class as far as there are.

    Args:
        labels: (N,), integer, 255 = ignore.
        count: how many are wanted.
        draws: what chance comes from; None is torch's own state.

    Returns:
        (count,) or all that there are, int64: the first of every class in a random order, then the second, and so on.
    """
    known = (labels != IGNORE).nonzero().squeeze(1)
    shuffled = known[torch.randperm(len(known), generator=draws, device=labels.device)]
    classes, by_class = labels[shuffled].sort(stable=True)
    turn = torch.arange(len(known), device=labels.device) - torch.searchsorted(classes, classes)
    # Within a turn chance decides too: the last one may not reach all classes.
    luck = torch.rand(len(known), generator=draws, device=labels.device)
    return shuffled[by_class[(turn + luck).argsort()[:count]]]


def mean_cosines(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cosine of pairs (of two different rows) of one class, and of different classes; zero where there are none.

    The cosines of all pairs of some unit vectors add up to the square of the vectors' sum, so none is computed alone.

    Args:
        embeddings: (N, P), float32.
        labels: (N,), integer from 0.
    """
    unit = F.normalize(embeddings)
    pixels = labels.bincount()
    sums = unit.new_zeros(len(pixels), unit.shape[1]).index_add(0, labels, unit)
    alone = unit.square().sum()
    same = sums.square().sum() - alone
    different = sums.sum(0).square().sum() - alone - same
    alike = pixels.square().sum() - len(unit)
    others = len(unit) ** 2 - len(unit) - alike
    return same / alike.clamp(min=1), different / others.clamp(min=1)
