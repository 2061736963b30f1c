"""Scores in the form in which pages show them."""

from __future__ import annotations

from typing import Any

from cropzoo.data.model_scores import baseline_of
from cropzoo.reports.charts import line_chart

_KEYS = (
    *("oa", "miou", "macro_f1", "per_class", "without_support", "confusion", "pixels"),
    *("boundary", "interior", "distance", "parcels", "ece", "label_scale"),
)

_TILES = (
    ("oa", "Overall accuracy", "Share of correct pixels. Large classes have the largest weight."),
    (
        "miou",
        "Mean IoU (mIoU)",
        "Intersection over union of labels and prediction, averaged over classes.",
    ),
    ("macro_f1", "Macro F1", "Harmonic mean of precision and recall, averaged over classes."),
    (
        "boundary.miou",
        "Boundary mIoU",
        "Mean IoU of pixels with a neighbor of another class; many of them are mixed.",
    ),
    ("interior.miou", "Interior mIoU", "Mean IoU of all other pixels."),
    ("parcels.accuracy", "Parcel accuracy", "Share of parcels whose majority class is correct."),
    (
        "ece",
        "Calibration error",
        "Mean gap between confidence and accuracy. Lower is better.",
    ),
)

_REGIONS = (
    ("All pixels", ()),
    ("Class boundary", ("boundary",)),
    ("Class interior", ("interior",)),
    ("Parcel boundary", ("parcels", "boundary")),
    ("Parcel interior", ("parcels", "interior")),
)


def with_all_keys(scores: dict[str, Any] | None) -> dict[str, Any]:
    """Scores with None for missing keys, as in imported weights; empty without scores."""
    return dict.fromkeys(_KEYS) | scores if scores else {}


def tiles(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Headline scores: name, value (in [0, 1] or None) and explanation."""
    return [{"name": name, "value": _lookup(scores, key.split(".")), "words": words} for key, name, words in _TILES]


def regions(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Regions with scores: name, oa, miou, macro_f1, pixels and share of all pixels; None if unknown.

    Those of the baseline follow, if there are any.
    """
    rows = []
    baseline = baseline_of(scores)
    regions_of = [(name, _lookup(scores, path)) for name, path in _REGIONS]
    if baseline:
        regions_of += [
            (f"{name} of the {baseline['name']} baseline", _lookup(baseline, path)) for name, path in _REGIONS
        ]
    for name, found in regions_of:
        if isinstance(found, dict) and found.get("oa") is not None:
            row: dict[str, Any] = {key: found.get(key) for key in ("oa", "miou", "macro_f1", "pixels")}
            share = row["pixels"] / scores["pixels"] if row["pixels"] and scores.get("pixels") else None
            rows.append({"name": name, "share": share} | row)
    return rows


def by_distance(scores: dict[str, Any]) -> dict[str, Any] | None:
    """Accuracy by distance to the boundary: `of` "parcel" or "class", a chart, and rows of px, share and pixels."""
    found = scores.get("distance")
    if not found:
        return None
    kind = {"parcels": "parcel", "classes": "class"}[found["of"]]
    counts = list(zip(found["pixels"], found["correct"], strict=True))
    shares = [correct / pixels if pixels else None for pixels, correct in counts]
    steps = range(1, len(counts) + 1)
    percents = [None if share is None else 100 * share for share in shares]
    title = f"Correct pixels by distance to the {kind} boundary, %"
    chart = line_chart(title, steps, {"overall accuracy": percents}, axis="px")
    rows = [
        {"px": f"{step}{' or more' if step == len(counts) else ''}", "share": share, "pixels": pixels}
        for step, share, (pixels, _) in zip(steps, shares, counts, strict=True)
    ]
    return {"of": kind, "chart": chart, "rows": rows}


def confusion_rows(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each true class: name, support, and cells with count and share of the row."""
    rows = []
    for name, counts in zip(scores["per_class"] or {}, scores["confusion"] or (), strict=True):
        total = sum(counts)
        cells = [{"count": count, "share": count / total if total else None} for count in counts]
        rows.append({"name": name, "support": total, "cells": cells})
    return rows


def _lookup(scores: Any, path: Any) -> Any:
    for key in path:
        scores = scores.get(key) if isinstance(scores, dict) else None
    return scores
