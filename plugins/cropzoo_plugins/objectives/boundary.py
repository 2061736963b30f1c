"""Boundary detection: predicts which pixels lie on a boundary between classes or parcels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cropzoo import IGNORE, Backbone, Batch, Losses, Objective, UnknownName, UsageError
from cropzoo_plugins.objectives.cscl import compare_labels, extract_windows
from cropzoo_plugins.objectives.labels import require_labels

OF = ("classes", "parcels")


class Boundary(Objective):
    """Binary classification of each pixel: whether its 3x3 window contains another class or another parcel.

    A 1x1 convolution predicts the boundary from the features. The loss is the weighted mean of the binary
    cross-entropy over the pixels that are not ignored.

    Args:
        backbone: Backbone to train.
        classes: Number of classes; unused, because labels are only compared.
        of: Type of boundary, "classes" or "parcels".
        positive_weight: Weight of a boundary pixel relative to an interior pixel. If None, both kinds have the same
            total weight in each batch.

    Raises:
        UnknownName: If `of` is not a valid type of boundary.
        UsageError: If the weight is out of range; in `forward`, if parcels are needed and the batch has none.

    Source: Definition of the boundary in Tarasiou et al. 2022, arXiv:2104.04310, section 4, where it is used for
        evaluation only.
    """

    def __init__(
        self, backbone: Backbone, classes: int, *, of: str = "classes", positive_weight: float | None = None
    ) -> None:
        super().__init__(backbone)
        if of not in OF:
            raise UnknownName("value of boundary.of:", of, OF)
        if positive_weight is not None and not 0 < positive_weight < float("inf"):
            raise UsageError(
                f"boundary with positive_weight={positive_weight!r}; it must be positive; use a number above 0"
            )
        self.of, self.positive_weight = of, positive_weight
        self.edge = nn.Conv2d(backbone.out_channels, 1, kernel_size=1)

    def forward(self, batch: Batch) -> Losses:
        """Loss of a batch; `parts` are the accuracies of boundary and interior pixels, and the boundary share."""
        features = self.features(batch)
        labels = require_labels(features, batch.labels, "boundary")
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
        """Weights of boundary and interior pixels, (2,), from their numbers, (2,)."""
        if self.positive_weight is None:
            return 1 / pixels.clamp(min=1)
        return torch.tensor((self.positive_weight, 1.0), device=pixels.device)

    def boundaries(self, labels: Tensor, parcels: Tensor | None) -> Tensor:
        """Mask of boundary pixels, (B, H, W), bool, from labels and parcels of that shape.

        The definition is that of `cropzoo.data.boundary.boundary_bits`. In addition, ignored pixels outside all
        parcels form no boundary with parcels, because crops are padded with them.
        """
        known = labels != IGNORE
        if self.of == "parcels":
            if parcels is None:
                raise UsageError(
                    "training with 'boundary' of parcels; the dataset has no parcel ids; use a dataset with parcels, "
                    "or set boundary.of=classes"
                )
            return find_boundaries(parcels, known | (parcels != 0))
        return find_boundaries(labels, known)


def find_boundaries(maps: Tensor, known: Tensor) -> Tensor:
    """Whether the 3x3 window of each pixel contains a known pixel with another value, (B, H, W), bool.

    Args:
        maps: Class or parcel maps, (B, H, W), integer.
        known: Mask of the pixels to compare with, (B, H, W), bool.
    """
    same, _ = compare_labels(maps, window=3, dilation=1)
    return (extract_windows(known, 3, 1) & ~same).flatten(3).any(3)
