"""Scores of confusion matrices, many at once."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Score = Literal["oa", "miou", "macro_f1"]


def score(confusion: NDArray[Any], name: Score) -> NDArray[np.float64]:
    """A score of each matrix, as `cropzoo.scores.Scorer` has it: means are over the classes with support.

    Args:
        confusion: pixels, or weighted sums of them, (..., classes, classes); rows are the truth.
        name: overall accuracy, mean IoU or macro F1.

    Returns:
        0..1, (...); NaN for a matrix without a pixel.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    truth, predicted = confusion.sum(-1).astype(np.float64), confusion.sum(-2).astype(np.float64)
    if name == "oa":
        return _share(right.sum(-1), truth.sum(-1))
    present = truth > 0
    whole = truth + predicted - right if name == "miou" else truth + predicted
    by_class = _share(right if name == "miou" else 2 * right, np.where(present, whole, 1))
    return _share(by_class.sum(-1), present.sum(-1))  # a class without support has nothing right


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return found
