"""Logistic regression on frozen features."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from cropzoo import Backbone, CropzooError, UsageError
from cropzoo.models.fitted import FittedHead, FittedObjective, distinct_columns, precise
from cropzoo_plugins.objectives.options import require_class_weight, require_count

UNKNOWN = -1e9
"""Bias of a class without training pixels, whose probability is 0."""


class Linear(FittedHead):
    """Softmax of a linear function of the standardized features."""

    types: ClassVar = {
        "columns": (torch.int64, 1),
        "mean": (torch.float32, 1),
        "scale": (torch.float32, 1),
        "weight": (torch.float32, 2),
        "bias": (torch.float32, 1),
    }
    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def check(self) -> None:
        """One mean and scale for each feature, and one weight for each feature and class."""
        features = len(self.columns)
        sizes = len(self.mean) == len(self.scale) == features and len(self.bias) == self.classes
        self.expect(sizes and self.weight.shape == (self.classes, features), "tensors of different sizes")
        self.expect(bool((self.scale > 0).all()), "a scale is not above 0")

    @property
    def values_per_pixel(self) -> int:
        """The features."""
        return 2 * len(self.columns)

    def probabilities(self, rows: Tensor) -> Tensor:
        """Probabilities, (N, K)."""
        mean, scale, weight, bias = (precise(tensor) for tensor in (self.mean, self.scale, self.weight, self.bias))
        return (((precise(rows) - mean) / scale) @ weight.T + bias).softmax(dim=1)


class Logistic(FittedObjective):
    """Logistic regression on frozen features, which are standardized.

    Args:
        backbone: Backbone that computes the features.
        classes: Number of classes.
        c: Inverse of the strength of the L2 penalty on the weights, above 0. The default is far below that of
            scikit-learn: the pixels of a parcel are alike, so that a weak penalty fits parcels instead of crops.
        class_weight: "balanced" weighs each class by the inverse of its number of training pixels, "none" does not.
        max_iterations: Largest number of iterations of the solver (L-BFGS), at least 1.
        max_pixels: Largest number of training pixels; more are sampled evenly from the classes.

    Raises:
        UsageError: If an option is out of range.
    """

    head_type = Linear

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        c: float = 0.01,
        class_weight: str = "balanced",
        max_iterations: int = 1000,
        max_pixels: int = 100_000,
    ) -> None:
        super().__init__(backbone, classes)
        if isinstance(c, bool) or not isinstance(c, int | float) or not 0 < c < float("inf"):
            raise UsageError(f"logistic with c={c!r}; it must be a number above 0")
        self.c = c
        self.class_weight = require_class_weight("logistic", class_weight)
        self.max_iterations = require_count("logistic", "max_iterations", max_iterations)
        self.max_pixels = require_count("logistic", "max_pixels", max_pixels)

    def fit(self, features: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> FittedHead:
        """Fit the regression; errors and arguments as in `FittedObjective.fit`."""
        if len(np.unique(labels)) < 2:
            raise CropzooError("logistic regression; all training pixels are of one class; label pixels of another one")
        columns = distinct_columns(features)
        used = features[:, columns].astype(np.float64)
        # Rounded before they are used, so that the head standardizes by the same numbers.
        mean, scale = used.mean(axis=0).astype(np.float32), used.std(axis=0).astype(np.float32)
        scale[scale == 0] = 1
        model = LogisticRegression(C=self.c, class_weight=self.class_weight, max_iter=self.max_iterations)
        with warnings.catch_warnings():  # stopping early is a regularization here, not a mistake of the user
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit((used - mean) / scale, labels)
        weight, bias = class_weights(model, self.classes)
        arrays = {"columns": columns, "mean": mean, "scale": scale, "weight": weight, "bias": bias}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Linear(features.shape[1], self.classes, tensors)


def class_weights(model: Any, classes: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (K, D) and biases (K) of all classes, of a fitted regression that may know only some of them."""
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one row, of the second class
        weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([np.zeros_like(bias), bias])
    weights = np.zeros((classes, weight.shape[1]), np.float32)
    biases = np.full(classes, UNKNOWN, np.float32)
    weights[model.classes_], biases[model.classes_] = weight, bias
    return weights, biases
