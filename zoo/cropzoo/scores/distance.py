"""Accuracy by the distance of a pixel to the nearest boundary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from cropzoo.boundary import DISTANCE_SHIFT, MOST_DISTANCE, OF_PARCELS


class DistanceAccuracy(Metric):
    """Pixels, and right ones among them, by their distance to a boundary of parcels or of classes.

    State: two tables (kind of boundary, distance), of which distance 0 is unknown and not told.
    """

    full_state_update = False
    pixels: Tensor
    correct: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("pixels", "correct"):
            self.add_state(name, torch.zeros(2, MOST_DISTANCE + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, bits: Tensor, correct: Tensor) -> None:
        """Add pixels: `bits` (N,) uint8 as `cropzoo.boundary.boundary_bits` makes them, `correct` (N,) bool."""
        distance = (bits >> DISTANCE_SHIFT).long().clamp_(max=MOST_DISTANCE)
        place = distance + (MOST_DISTANCE + 1) * ((bits & OF_PARCELS) != 0).long()
        self.pixels.view(-1).scatter_add_(0, place, torch.ones_like(place))
        self.correct.view(-1).scatter_add_(0, place, correct.long())

    def compute(self) -> dict[str, Any] | None:
        """`of` "parcels" or "classes", and `pixels` and `correct`, counts at 1, 2, ... px, the last that far or more.

        Where some samples have parcels and others don't, those with parcels are told alone. None without a pixel whose
        distance is known.
        """
        for kind, name in ((1, "parcels"), (0, "classes")):
            pixels, correct = self.pixels[kind, 1:].tolist(), self.correct[kind, 1:].tolist()
            if any(pixels):
                return {"of": name, "pixels": pixels, "correct": correct}
        return None
