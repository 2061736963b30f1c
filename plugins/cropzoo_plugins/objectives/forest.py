"""Random forest on frozen features."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cropzoo import Backbone
from cropzoo.models.fitted import MAX_DEPTH, FittedHead, FittedObjective, distinct_columns, in_range, make_forest
from cropzoo_plugins.objectives.options import require_class_weight, require_count

MAX_BYTES = 48_000_000
"""Size of the tensors of a forest, from which the largest number of leaves of a tree follows."""


class Trees(FittedHead):
    """Mean of the class shares in the leaves that a pixel falls into.

    A node has the numbers of its children `left`, where its feature is at most the threshold, and `right`. A leaf has
    itself as both children, and -1 - r as its feature, where r is its row in `leaves`.
    """

    types: ClassVar = {
        "columns": (torch.int64, 1),
        "roots": (torch.int32, 1),
        "left": (torch.int32, 1),
        "right": (torch.int32, 1),
        "feature": (torch.int32, 1),
        "threshold": (torch.float32, 1),
        "leaves": (torch.float32, 2),
    }
    roots: Tensor
    left: Tensor
    right: Tensor
    feature: Tensor
    threshold: Tensor
    leaves: Tensor

    def check(self) -> None:
        """Children come after their parents, so that every path ends; and all numbers are in range."""
        nodes, own = len(self.feature), torch.arange(len(self.feature), device=self.feature.device)
        same = all(len(tensor) == nodes for tensor in (self.left, self.right, self.threshold))
        self.expect(same and self.leaves.shape[1] == self.classes, "tensors of different sizes")
        leaf = self.feature < 0
        after = (self.left > own) & (self.right > own)
        ends = torch.where(leaf, (self.left == own) & (self.right == own), after)
        self.expect(bool(ends.all()), "a path does not end")
        numbers = (self.roots, 0, nodes), (self.left, 0, nodes), (self.right, 0, nodes)
        features = (self.feature, -len(self.leaves), len(self.columns))
        self.expect(all(in_range(*each) for each in (*numbers, features)), "a number is out of range")
        self.expect(bool((self.leaves >= 0).all()), "a probability is below 0")
        self.depth, reached = 0, torch.unique(self.roots.long())
        while len(reached := reached[~leaf[reached]]):
            reached = torch.unique(torch.cat([self.left[reached], self.right[reached]]).long())
            self.depth += 1
            self.expect(self.depth <= MAX_DEPTH, f"trees are deeper than {MAX_DEPTH}")

    @property
    def values_per_pixel(self) -> int:
        """A node of each tree, and the classes of its leaf."""
        return len(self.roots) * (4 + self.classes)

    def probabilities(self, rows: Tensor) -> Tensor:
        """Probabilities, (N, K)."""
        feature = self.feature.long()
        split, leaf = feature.clamp(min=0), (-1 - feature).clamp(min=0)
        children = torch.stack([self.right, self.left], dim=1).long().flatten()
        node = self.roots.long().repeat(rows.shape[0])  # flat, since index_select is three times faster than indexing
        for _ in range(self.depth):
            values = rows.gather(1, split.index_select(0, node).view(rows.shape[0], -1)).view(-1)
            node = children.index_select(0, 2 * node + (values <= self.threshold.index_select(0, node)))
        shares = self.leaves.index_select(0, leaf.index_select(0, node))
        return shares.view(rows.shape[0], -1, self.classes).mean(dim=1)


class Forest(FittedObjective):
    """Random forest on frozen features.

    Args:
        backbone: Backbone that computes the features.
        classes: Number of classes.
        trees: Number of trees, at least 1.
        min_leaf: Smallest number of training pixels in a leaf, at least 1.
        class_weight: "balanced" weighs each class by the inverse of its number of training pixels, "none" does not.
        max_pixels: Largest number of training pixels; more are sampled evenly from the classes.

    Raises:
        UsageError: If an option is out of range.

    Source: Breiman 2001, doi:10.1023/A:1010933404324, as implemented by scikit-learn.
    """

    head_type = Trees

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        trees: int = 300,
        min_leaf: int = 5,
        class_weight: str = "balanced",
        max_pixels: int = 100_000,
    ) -> None:
        super().__init__(backbone, classes)
        self.trees = require_count("forest", "trees", trees)
        self.min_leaf = require_count("forest", "min_leaf", min_leaf)
        self.max_pixels = require_count("forest", "max_pixels", max_pixels)
        self.class_weight = require_class_weight("forest", class_weight)

    def fit(self, features: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> FittedHead:
        """Fit the forest; errors and arguments as in `FittedObjective.fit`."""
        columns = distinct_columns(features)
        leaves = max(MAX_BYTES // self.trees // (2 * 16 + 4 * self.classes), 2)
        model = make_forest(
            seed,
            trees=self.trees,
            min_leaf=self.min_leaf,
            class_weight=self.class_weight,
            max_leaves=leaves if len(labels) > leaves else None,
        )
        model.fit(features[:, columns], labels)
        return Trees(features.shape[1], self.classes, forest_tensors(model, columns, self.classes))


def forest_tensors(model: Any, columns: NDArray[np.int64], classes: int) -> dict[str, Tensor]:
    """Tensors of `Trees` of a fitted forest of scikit-learn.

    Args:
        model: The forest.
        columns: Features that it was fitted to.
        classes: Number of classes, of which the forest may know only some.
    """
    trees = [each.tree_ for each in model.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    own = np.arange(sum(tree.node_count for tree in trees))
    left, right = (
        np.concatenate([getattr(tree, side) + root for tree, root in zip(trees, roots, strict=True)])
        for side in ("children_left", "children_right")
    )
    leaf = np.concatenate([tree.children_left < 0 for tree in trees])
    shares = np.concatenate([tree.value[:, 0] for tree in trees])[leaf]
    known = np.zeros((len(shares), classes), np.float32)
    known[:, model.classes_] = shares / shares.sum(axis=1, keepdims=True)
    feature = np.concatenate([tree.feature for tree in trees])
    arrays = {
        "roots": roots,
        "left": np.where(leaf, own, left),
        "right": np.where(leaf, own, right),
        "feature": np.where(leaf, -np.cumsum(leaf), feature),
    }
    tensors = {name: torch.from_numpy(array.astype(np.int32)) for name, array in arrays.items()}
    threshold = np.where(leaf, 0, np.concatenate([tree.threshold for tree in trees]))
    return {
        "columns": torch.from_numpy(columns),
        **tensors,
        "threshold": torch.from_numpy(round_down(threshold)),
        "leaves": torch.from_numpy(known),
    }


def round_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 numbers that are not above the values: comparisons of float32 numbers with both agree."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
