"""Supervised classes per pixel: cross-entropy, focal, dice, or sums of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cropzoo import Backbone, Batch, Losses, Objective, UnknownName, UsageError
from cropzoo_plugins.objectives.labels import labels_for
from cropzoo_plugins.objectives.losses import cross_entropy, dice, focal

LOSSES = ("cross_entropy", "focal", "dice")
CLASS_WEIGHTS = ("none", "inverse", "sqrt", "effective")


class Segmentation(Objective):
    """Trains backbone and head on a class for every pixel.

    Args:
        backbone: gives the features, and the head through `make_head`.
        classes: K, number of classes.
        loss: "cross_entropy", "focal", "dice", or a sum such as "cross_entropy+dice".
        class_weights: how cross-entropy and focal weigh classes; see `weigh_classes`.
        label_smoothing: share of a pixel's target that cross-entropy spreads evenly over the classes, 0 to below 1.
        focal_gamma: how little focal counts pixels that are right already, from 0, which is cross-entropy.
        effective_beta: of class_weights "effective", 0 to below 1.

    Attributes:
        head: features (B, D, H, W) to logits (B, K, H, W).
        class_weight: (K,), float32; ones until `set_class_counts` is called.

    Raises:
        UnknownName: for a loss or class weights that there are not.
        UsageError: for a number out of its range.
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
        _check("label_smoothing", label_smoothing, 0 <= label_smoothing < 1, "from 0 to below 1")
        _check("focal_gamma", focal_gamma, 0 <= focal_gamma < float("inf"), "from 0 up")
        _check("effective_beta", effective_beta, 0 <= effective_beta < 1, "from 0 to below 1")
        self.class_weights = class_weights
        self.label_smoothing, self.focal_gamma, self.effective_beta = label_smoothing, focal_gamma, effective_beta
        self.head = backbone.make_head(classes)
        self.register_buffer("class_weight", torch.ones(classes))

    def set_class_counts(self, counts: Tensor) -> None:
        """Weigh the classes by their pixels in the training split, (K,)."""
        if counts.shape != self.class_weight.shape:
            raise UsageError(
                f"weighing {len(self.class_weight)} classes by pixel counts of shape {tuple(counts.shape)!r}; "
                "there must be one count a class; count over the classes that the model was made for"
            )
        self.class_weight.copy_(weigh_classes(counts, self.class_weights, self.effective_beta))

    def forward(self, batch: Batch) -> Losses:
        """The sum of the losses of one batch; `parts` holds each by its name."""
        logits = self.head(self.backbone(batch.series, batch.dates, batch.valid))
        labels = labels_for(logits, batch.labels, "segmentation")
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
    """Weights of classes, (K,), float32, whose mean over the training pixels is 1.

    With n pixels of a class, its weight is in proportion to 1 ("none"), 1 / n ("inverse"), 1 / sqrt(n) ("sqrt") or
    (1 - beta) / (1 - beta^n) ("effective"). A class without a pixel gets weight 0, but with "none" 1 like all.

    Args:
        counts: n of each class, (K,), integer.
        scheme: one of `CLASS_WEIGHTS`.
        beta: of "effective".

    Source: "effective": Cui et al. 2019, arXiv:1901.05555, eq. 4, there normalized to a sum of K.
    """
    n = counts.double()
    if scheme == "none" or not n.sum() > 0:
        return torch.ones_like(n, dtype=torch.float32)
    known = n.clamp(min=1)
    raw = {"inverse": 1 / known, "sqrt": known.rsqrt(), "effective": (1 - beta) / (1 - beta**known)}[scheme]
    raw = torch.where(n > 0, raw, 0)
    return (raw * n.sum() / (raw * n).sum()).float()


def _loss_names(loss: str) -> tuple[str, ...]:
    """The terms of a sum such as "cross_entropy+dice"."""
    names = tuple(name.strip() for name in str(loss).split("+"))
    for name in names:
        if name not in LOSSES:
            raise UnknownName("loss", name, LOSSES, "join several by '+'")
    if len(set(names)) < len(names):
        raise UsageError(f"segmentation with loss {loss!r}; a term stands twice; name each once")
    return names


def _check(name: str, value: float, holds: bool, allowed: str) -> None:
    if not holds:
        raise UsageError(f"segmentation with {name} {value!r}; that is out of range; use a number {allowed}")
