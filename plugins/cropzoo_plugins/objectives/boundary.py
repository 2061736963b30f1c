"""Predicts where the boundaries are: a plain way to make features tell neighbors apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cropzoo import IGNORE, Backbone, Batch, Losses, Objective, UnknownName, UsageError
from cropzoo_plugins.objectives.cscl import same_class, windows_of
from cropzoo_plugins.objectives.labels import labels_for

OF = ("classes", "parcels")


class Boundary(Objective):
    """A 1x1 convolution says of every pixel whether its 3x3 window holds another class, or another parcel.

    The loss is the weighted mean of the binary cross-entropy over the pixels that are not ignored.

    Args:
        backbone: gives the features.
        classes: number of classes; unused, labels are only compared.
        of: "classes" or "parcels": whose boundaries.
        positive_weight: of a pixel at a boundary, another pixel weighs 1. None lets both kinds count alike in each
            batch, however few pixels lie at a boundary there: it is the mean of the two kinds' means.

    Raises:
        UnknownName: for another `of`.
        UsageError: for a weight that cannot be; in `forward`, where parcels are wanted and the batch has none.

    Source: the boundary of Tarasiou et al. 2022, arXiv:2104.04310, section 4, which scores it; here it is learnt.
    """

    def __init__(
        self, backbone: Backbone, classes: int, *, of: str = "classes", positive_weight: float | None = None
    ) -> None:
        super().__init__(backbone)
        if of not in OF:
            raise UnknownName("boundaries to learn: of", of, OF)
        if positive_weight is not None and not 0 < positive_weight < float("inf"):
            raise UsageError(
                f"boundary with positive_weight {positive_weight!r}; it weighs pixels; use a number above 0"
            )
        self.of, self.positive_weight = of, positive_weight
        self.edge = nn.Conv2d(backbone.out_channels, 1, kernel_size=1)

    def forward(self, batch: Batch) -> Losses:
        """The loss of one batch; `parts` are the accuracies at and off boundaries, and their share."""
        features = self.backbone(batch.series, batch.dates, batch.valid)
        labels = labels_for(features, batch.labels, "boundary")
        edges = self.boundaries(labels, batch.parcels)
        known = labels != IGNORE
        logits = self.edge(features)[:, 0].float()
        loss = F.binary_cross_entropy_with_logits(logits, edges.float(), reduction="none")
        kinds = torch.stack((edges & known, ~edges & known)).flatten(1)
        pixels = kinds.sum(1)
        weights = self.weigh(pixels)
        total = ((loss.flatten() * kinds).sum(1) * weights).sum() / (pixels * weights).sum().clamp(min=1e-6)
        right = ((logits > 0) == edges).flatten()
        accuracy = (right & kinds).sum(1) / pixels.clamp(min=1)
        share = pixels[0] / pixels.sum().clamp(min=1)
        return Losses(total, {"boundary_accuracy": accuracy[0], "interior_accuracy": accuracy[1], "share": share})

    def weigh(self, pixels: Tensor) -> Tensor:
        """Weights of a pixel at a boundary and of another, (2,), where there are so many of each, (2,)."""
        if self.positive_weight is None:
            return 1 / pixels.clamp(min=1)
        return torch.tensor((self.positive_weight, 1.0), device=pixels.device)

    def boundaries(self, labels: Tensor, parcels: Tensor | None) -> Tensor:
        """Which pixels lie at a boundary, (B, H, W), bool, for maps of that shape.

        As `cropzoo.data.boundary.boundary_bits` has it for pixels that are not ignored, but what is ignored and in no
        parcel makes no boundary of parcels either: crops are padded with it.
        """
        known = labels != IGNORE
        if self.of == "parcels":
            if parcels is None:
                raise UsageError(
                    "training with 'boundary' of parcels; the dataset has no parcel ids; choose a dataset that has, or "
                    "boundary.of=classes"
                )
            return other_near(parcels, known | (parcels != 0))
        return other_near(labels, known)


def other_near(maps: Tensor, known: Tensor) -> Tensor:
    """Whether the 3x3 window of each pixel holds a known pixel with another value than its own, (B, H, W), bool.

    Args:
        maps: (B, H, W), integer.
        known: (B, H, W), bool.
    """
    same, _ = same_class(maps, window=3, dilation=1)
    return (windows_of(known, 3, 1) & ~same).flatten(3).any(3)
