"""Segmentation losses. Ignored pixels are excluded; a loss is zero if all pixels are ignored."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cropzoo import IGNORE


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Weighted mean of `-log p` of the true class over pixels that are not ignored.

    Args:
        logits: Logits, (B, K, H, W), floating point.
        labels: Labels, (B, H, W), int64, 0..K-1 or 255.
        weight: Weight of each class, (K,); the mean is divided by the sum of the weights of the pixels.
        label_smoothing: Share of the target that is distributed evenly over the classes.
    """
    total = F.cross_entropy(
        logits.float(), labels, weight, ignore_index=IGNORE, reduction="sum", label_smoothing=label_smoothing
    )
    return _divide(total, _pixel_weights(labels, weight).sum())


def focal(logits: Tensor, labels: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Weighted mean of `-(1 - p)^gamma log p` of the true class; arguments as in `cross_entropy`.

    Source: Lin et al. 2017, arXiv:1708.02002, eq. 5 with class weights as alpha; divided by the sum of the weights, so
        that gamma=0 equals cross-entropy.
    """
    minus_log = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="none")
    weights = _pixel_weights(labels, weight)
    # 1 - p; clamped, because powers below 1 have no finite gradient at 0
    miss = (-torch.expm1(-minus_log)).clamp(min=torch.finfo(minus_log.dtype).eps)
    return _divide((weights * miss**gamma * minus_log).sum(), weights.sum())


def dice(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Mean of `1 - 2 sum(p y) / (sum(p^2) + sum(y))` over the classes of a batch; arguments as in `cross_entropy`.

    Sums run over the pixels of the batch that are not ignored. All classes that occur have the same weight; classes of
    weight zero are excluded.

    Source: Milletari et al. 2016, arXiv:1606.04797, section 3, applied to each class instead of one foreground.
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
    """Weight of the class of each pixel, (B, H, W); zero for ignored pixels."""
    known = labels != IGNORE
    return weight[torch.where(known, labels, 0)] * known


def _divide(total: Tensor, by: Tensor) -> Tensor:
    """`total / by`, with value and gradient zero if `by` is zero."""
    return total * torch.where(by > 0, 1 / by.clamp(min=torch.finfo(total.dtype).tiny), 0)
