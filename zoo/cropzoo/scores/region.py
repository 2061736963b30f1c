"""Classification scores over one set of pixels, all from torchmetrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

_BY_CLASS = ("precision", "recall", "f1", "iou")


def region_metrics(classes: int) -> MetricCollection:
    """Metrics that take predictions and labels, both (1, N) class indices without ignored ones.

    The compute groups are given, not found at the first update: every process of a distributed run has the same ones.
    """
    per_class: dict[str, Any] = {"num_classes": classes, "average": "none", "validate_args": False}
    return MetricCollection(
        {
            "oa": MulticlassAccuracy(num_classes=classes, average="micro", validate_args=False),
            "confusion": MulticlassConfusionMatrix(num_classes=classes, validate_args=False),
            "iou": MulticlassJaccardIndex(**per_class),
            "precision": MulticlassPrecision(**per_class),
            "recall": MulticlassRecall(**per_class),
            "f1": MulticlassF1Score(**per_class),
        },
        compute_groups=[["oa"], ["confusion", "iou"], ["precision", "recall", "f1"]],
    )


def region_scores(computed: dict[str, Tensor], classes: Sequence[str]) -> dict[str, Any] | None:
    """What the metrics of one region came to, as plain Python; None for a region without a pixel.

    A class without support has None for each of its scores and is left out of the means; pixels that were wrongly given
    to it count against their true classes.

    Args:
        computed: what `region_metrics(len(classes)).compute()` returned.
        classes: names, by index.

    Returns:
        oa, miou, macro_f1 (0..1), per_class {name: {precision, recall, f1, iou, support}}, without_support [names],
        confusion (rows are the truth, columns the prediction; pixels), pixels.
    """
    confusion: list[list[int]] = computed["confusion"].tolist()
    support = [sum(row) for row in confusion]
    if not any(support):
        return None
    values = {name: computed[name].tolist() for name in _BY_CLASS}
    per_class = {
        name: {**{key: values[key][i] if support[i] else None for key in _BY_CLASS}, "support": support[i]}
        for i, name in enumerate(classes)
    }
    return {
        "oa": computed["oa"].item(),
        "miou": _mean(values["iou"], support),
        "macro_f1": _mean(values["f1"], support),
        "per_class": per_class,
        "without_support": [name for i, name in enumerate(classes) if not support[i]],
        "confusion": confusion,
        "pixels": sum(support),
    }


def _mean(values: list[float], support: list[int]) -> float:
    """The mean over classes with support."""
    present = [value for value, pixels in zip(values, support, strict=True) if pixels]
    return sum(present) / len(present)
