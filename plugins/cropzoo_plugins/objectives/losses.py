"""Losses of logits against labels. Ignored pixels count nowhere; without any other pixel a loss is zero."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cropzoo import IGNORE


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Weighted mean of `-log p` of the true class over pixels that are not ignored.

    Args:
        logits: (B, K, H, W), floating.
        labels: (B, H, W), int64, 0..K-1 or 255.
        weight: (K,), of each class; the mean divides by the sum of the pixels' weights.
        label_smoothing: share of each pixel's target that is spread evenly over the classes.
    """
    total = F.cross_entropy(
        logits.float(), labels, weight, ignore_index=IGNORE, reduction="sum", label_smoothing=label_smoothing
    )
    return _divide(total, _pixel_weights(labels, weight).sum())


def focal(logits: Tensor, labels: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Weighted mean of `-(1 - p)^gamma log p` of the true class; arguments as in `cross_entropy`.

    Source: Lin et al. 2017, arXiv:1708.02002, eq. 5 with classes' weights as alpha; divided by the sum of the weights,
        so that gamma 0 is cross-entropy.
    """
    minus_log = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="none")
    weights = _pixel_weights(labels, weight)
    # 1 - p; a power below 1 has no finite slope at 0, where the loss itself is zero.
    miss = (-torch.expm1(-minus_log)).clamp(min=torch.finfo(minus_log.dtype).eps)
    return _divide((weights * miss**gamma * minus_log).sum(), weights.sum())


def dice(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Mean over the batch's classes of `1 - 2 sum(p y) / (sum(p^2) + sum(y))`; arguments as in `cross_entropy`.

    Sums run over the batch's pixels that are not ignored. Every class that is among them counts alike; a weight does
    nothing but leave out a class where it is zero.

    Source: Milletari et al. 2016, arXiv:1606.04797, section 3, for each class instead of one foreground.
    """
    known = labels != IGNORE
    probabilities = logits.float().softmax(1) * known[:, None]
    target = F.one_hot(torch.where(known, labels, 0), logits.shape[1]).movedim(-1, 1) * known[:, None]
    over = (0, 2, 3)
    pixels = target.sum(over)
    overlap = (probabilities * target).sum(over)
    size = probabilities.square().sum(over) + pixels
    counted = (pixels > 0) & (weight > 0)
    return _divide(((1 - 2 * overlap / size.clamp(min=1e-6)) * counted).sum(), counted.sum())


def _pixel_weights(labels: Tensor, weight: Tensor) -> Tensor:
    """The weight of each pixel's class, (B, H, W); zero where it is ignored."""
    known = labels != IGNORE
    return weight[torch.where(known, labels, 0)] * known


def _divide(total: Tensor, by: Tensor) -> Tensor:
    """`total / by`; zero, with a gradient of zero, where `by` is zero."""
    return total * torch.where(by > 0, 1 / by.clamp(min=torch.finfo(total.dtype).tiny), 0)
