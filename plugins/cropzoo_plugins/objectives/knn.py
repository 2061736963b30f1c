"""Nearest neighbors in the space of frozen features."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cropzoo import Backbone
from cropzoo.models.fitted import FittedHead, FittedObjective, distinct_columns, in_range, precise
from cropzoo_plugins.objectives.options import require_class_weight, require_count


class Neighbors(FittedHead):
    """Weighted share of each class among the nearest training pixels, by Euclidean distance."""

    types: ClassVar = {
        "columns": (torch.int64, 1),
        "points": (torch.float32, 2),
        "labels": (torch.int64, 1),
        "votes": (torch.float32, 1),
        "neighbors": (torch.int64, 1),
    }
    points: Tensor
    labels: Tensor
    votes: Tensor
    neighbors: Tensor

    def check(self) -> None:
        """One label for each point, one vote for each class, and at least as many points as neighbors."""
        sizes = self.points.shape == (len(self.labels), len(self.columns)) and len(self.votes) == self.classes
        self.expect(sizes and len(self.neighbors) == 1, "tensors of different sizes")
        self.expect(in_range(self.labels, 0, self.classes), "a label is not a class")
        self.expect(bool((self.votes[self.labels] > 0).all()), "a class of a point has no vote")
        self.expect(in_range(self.neighbors, 1, len(self.points) + 1), "more neighbors than points")
        self.count = int(self.neighbors)

    @property
    def values_per_pixel(self) -> int:
        """The distances to all points."""
        return len(self.points)

    def probabilities(self, rows: Tensor) -> Tensor:
        """Probabilities, (N, K)."""
        points = precise(self.points)
        # Without the squared length of the pixel itself, which changes no order.
        distance = points.square().sum(dim=1) - 2 * precise(rows) @ points.T
        nearest = self.labels[distance.topk(self.count, dim=1, largest=False).indices]
        classes = torch.arange(self.classes, device=rows.device)
        votes = (nearest[:, :, None] == classes).sum(dim=1) * self.votes
        return votes / votes.sum(dim=1, keepdim=True)


class KNN(FittedObjective):
    """Vote of the nearest training pixels in the space of frozen features.

    Args:
        backbone: Backbone that computes the features.
        classes: Number of classes.
        neighbors: Number of neighbors that vote, at least 1; all pixels if there are fewer. If None, a third of the
            median number of training pixels of a class, from 3 to 15. Too many neighbors reach into other classes, and
            too few follow mislabeled and mixed pixels.
        class_weight: "balanced" weighs the vote of each class by the inverse of its number of training pixels, "none"
            does not.
        max_pixels: Largest number of training pixels; more are sampled evenly from the classes.

    Raises:
        UsageError: If an option is out of range.
    """

    head_type = Neighbors

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        neighbors: int | None = None,
        class_weight: str = "none",
        max_pixels: int = 20_000,
    ) -> None:
        super().__init__(backbone, classes)
        self.neighbors = None if neighbors is None else require_count("knn", "neighbors", neighbors)
        self.class_weight = require_class_weight("knn", class_weight)
        self.max_pixels = require_count("knn", "max_pixels", max_pixels)

    def fit(self, features: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> FittedHead:
        """Store the pixels; errors and arguments as in `FittedObjective.fit`."""
        columns = distinct_columns(features)
        counts = np.bincount(labels, minlength=self.classes)
        votes = np.ones(self.classes) if self.class_weight is None else 1 / np.maximum(counts, 1)
        tensors = {
            "columns": torch.from_numpy(columns),
            "points": torch.from_numpy(np.ascontiguousarray(features[:, columns])),
            "labels": torch.from_numpy(labels),
            "votes": torch.from_numpy(votes.astype(np.float32)),
            "neighbors": torch.tensor([min(self.neighbors or _choose_neighbors(counts), len(labels))]),
        }
        return Neighbors(features.shape[1], self.classes, tensors)


def _choose_neighbors(counts: NDArray[np.int64]) -> int:
    """Number of neighbors for classes with so many training pixels."""
    return min(max(int(np.median(counts[counts > 0])) // 3, 3), 15)
