"""Semantic segmentation: cross-entropy, focal or dice loss, or sums of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cropzoo import Backbone, Batch, Losses, Objective, UnknownName, UsageError
from cropzoo_plugins.objectives.labels import require_labels
from cropzoo_plugins.objectives.losses import cross_entropy, dice, focal

LOSSES = ("cross_entropy", "focal", "dice")
CLASS_WEIGHTS = ("none", "inverse", "sqrt", "effective")


class Segmentation(Objective):
    """Supervised training of backbone and head with a class for each pixel.

    Args:
        backbone: Backbone to train; provides the head through `make_head`.
        classes: Number of classes, K.
        loss: "cross_entropy", "focal" or "dice", or a sum such as "cross_entropy+dice".
        class_weights: Class weighting scheme of cross-entropy and focal loss; see `weigh_classes`.
        label_smoothing: Share of the target that cross-entropy distributes evenly over the classes, at least 0 and
            below 1.
        focal_gamma: Focusing parameter of the focal loss, at least 0; 0 equals cross-entropy.
        effective_beta: Parameter beta of class_weights="effective", at least 0 and below 1.

    Attributes:
        head: Head from features (B, D, H, W) to logits (B, K, H, W).
        class_weight: Weight of each class, (K,), float32; ones until `set_class_counts` is called.

    Raises:
        UnknownName: If the loss or the weighting scheme does not exist.
        UsageError: If a number is out of range.
    """

    head: nn.Module
    class_weight: Tensor

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        loss: str = "cross_entropy",
        class_weights: str = "none",
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
        effective_beta: float = 0.9999,
    ) -> None:
        super().__init__(backbone)
        self.losses = _loss_names(loss)
        if class_weights not in CLASS_WEIGHTS:
            raise UnknownName("class weights", class_weights, CLASS_WEIGHTS)
        _check("label_smoothing", label_smoothing, 0 <= label_smoothing < 1, "of at least 0 and less than 1")
        _check("focal_gamma", focal_gamma, 0 <= focal_gamma < float("inf"), "of at least 0")
        _check("effective_beta", effective_beta, 0 <= effective_beta < 1, "of at least 0 and less than 1")
        self.class_weights = class_weights
        self.label_smoothing, self.focal_gamma, self.effective_beta = label_smoothing, focal_gamma, effective_beta
        self.head = backbone.make_head(classes)
        self.register_buffer("class_weight", torch.ones(classes))

    def set_class_counts(self, counts: Tensor) -> None:
        """Set the class weights from the numbers of training pixels, (K,)."""
        if counts.shape != self.class_weight.shape:
            raise UsageError(
                f"weighing {len(self.class_weight)} classes by pixel counts of shape {tuple(counts.shape)!r}; "
                "one count per class is needed; count the pixels of the classes of the model"
            )
        self.class_weight.copy_(weigh_classes(counts, self.class_weights, self.effective_beta))

    def forward(self, batch: Batch) -> Losses:
        """Sum of the losses of a batch; `parts` contains each loss by name."""
        logits = self.head(self.features(batch))
        labels = require_labels(logits, batch.labels, "segmentation")
        terms = {name: self._loss(name, logits, labels) for name in self.losses}
        parts = {name: term.detach() for name, term in terms.items()}
        return Losses(torch.stack(list(terms.values())).sum(), parts, logits)

    def _loss(self, name: str, logits: Tensor, labels: Tensor) -> Tensor:
        if name == "dice":
            return dice(logits, labels, self.class_weight)
        if name == "focal":
            return focal(logits, labels, self.class_weight, self.focal_gamma)
        return cross_entropy(logits, labels, self.class_weight, self.label_smoothing)


def weigh_classes(counts: Tensor, scheme: str, beta: float = 0.9999) -> Tensor:
    """Class weights, (K,), float32, whose mean over the training pixels is 1.

    The weight of a class with n pixels is proportional to 1 ("none"), 1 / n ("inverse"), 1 / sqrt(n) ("sqrt") or
    (1 - beta) / (1 - beta^n) ("effective"). The weight of a class without pixels is 0, or 1 with "none".

    Args:
        counts: Number of pixels of each class, (K,), integer.
        scheme: One of `CLASS_WEIGHTS`.
        beta: Parameter of "effective".

    Source: "effective" is Cui et al. 2019, arXiv:1901.05555, eq. 4, where weights are normalized to a sum of K.
    """
    n = counts.double()
    if scheme == "none" or not n.sum() > 0:
        return torch.ones_like(n, dtype=torch.float32)
    known = n.clamp(min=1)
    raw = {"inverse": 1 / known, "sqrt": known.rsqrt(), "effective": (1 - beta) / (1 - beta**known)}[scheme]
    raw = torch.where(n > 0, raw, 0)
    return (raw * n.sum() / (raw * n).sum()).float()


def _loss_names(loss: str) -> tuple[str, ...]:
    """Split a sum such as "cross_entropy+dice" into its terms."""
    names = tuple(name.strip() for name in str(loss).split("+"))
    for name in names:
        if name not in LOSSES:
            raise UnknownName("loss", name, LOSSES, "join several losses with '+'")
    if len(set(names)) < len(names):
        raise UsageError(f"segmentation with loss={loss!r}; a term occurs twice; use each once")
    return names


def _check(name: str, value: float, holds: bool, allowed: str) -> None:
    if not holds:
        raise UsageError(f"segmentation with {name}={value!r}; it is out of range; use a number {allowed}")
