"""Scores in the order and with the words in which a page shows them."""

from __future__ import annotations

from typing import Any

from cropzoo.reports.charts import line_chart

_KEYS = (
    *("oa", "miou", "macro_f1", "per_class", "without_support", "confusion", "pixels"),
    *("boundary", "interior", "distance", "parcels", "ece", "label_scale"),
)

_TILES = (
    ("oa", "Overall accuracy", "Share of the labeled pixels whose class is right. Large classes weigh most."),
    (
        "miou",
        "Mean IoU",
        "Pixels that labels and map agree on, of all that either gives to a class; mean over classes.",
    ),
    ("macro_f1", "Macro F1", "Balance of precision and recall in each class; mean over classes, each counting once."),
    (
        "boundary.miou",
        "Boundary IoU",
        "Mean IoU where a neighboring pixel has another class: mixed pixels, the hard part.",
    ),
    ("interior.miou", "Interior IoU", "Mean IoU over all other pixels, inside fields."),
    ("parcels.accuracy", "Parcel accuracy", "Share of parcels whose most predicted class is right. Each counts once."),
    ("ece", "Calibration error", "How far confidence lies from accuracy on average. 0 is perfect, lower is better."),
)

_REGIONS = (
    ("All pixels", ()),
    ("Class boundary", ("boundary",)),
    ("Class interior", ("interior",)),
    ("Parcel boundary", ("parcels", "boundary")),
    ("Parcel interior", ("parcels", "interior")),
)


def with_all_keys(scores: dict[str, Any] | None) -> dict[str, Any]:
    """Scores with None for what is missing, as those of imported weights may; empty where there are none."""
    return dict.fromkeys(_KEYS) | scores if scores else {}


def tiles(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """The big numbers: name, value (0..1 or None) and a sentence that explains it."""
    return [{"name": name, "value": _dig(scores, key.split(".")), "words": words} for key, name, words in _TILES]


def regions(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """The regions that have scores: name, oa, miou, macro_f1, pixels and share of all pixels, None if unknown."""
    rows = []
    for name, path in _REGIONS:
        found = _dig(scores, path)
        if isinstance(found, dict) and found.get("oa") is not None:
            row: dict[str, Any] = {key: found.get(key) for key in ("oa", "miou", "macro_f1", "pixels")}
            share = row["pixels"] / scores["pixels"] if row["pixels"] and scores.get("pixels") else None
            rows.append({"name": name, "share": share} | row)
    return rows


def by_distance(scores: dict[str, Any]) -> dict[str, Any] | None:
    """Accuracy by distance to the boundary: `of` "parcel" or "class", a chart, rows of px, share right and pixels."""
    found = scores.get("distance")
    if not found:
        return None
    kind = {"parcels": "parcel", "classes": "class"}[found["of"]]
    counts = list(zip(found["pixels"], found["correct"], strict=True))
    shares = [right / pixels if pixels else None for pixels, right in counts]
    steps = range(1, len(counts) + 1)
    percents = [None if share is None else 100 * share for share in shares]
    title = f"Right pixels by distance to the {kind} boundary, %"
    chart = line_chart(title, steps, {"overall accuracy": percents}, axis="px")
    rows = [
        {"px": f"{step}{' or more' if step == len(counts) else ''}", "share": share, "pixels": pixels}
        for step, share, (pixels, _) in zip(steps, shares, counts, strict=True)
    ]
    return {"of": kind, "chart": chart, "rows": rows}


def confusion_rows(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each true class: name, support and cells of count and share of the row."""
    rows = []
    for name, counts in zip(scores["per_class"] or {}, scores["confusion"] or (), strict=True):
        total = sum(counts)
        cells = [{"count": count, "share": count / total if total else None} for count in counts]
        rows.append({"name": name, "support": total, "cells": cells})
    return rows


def _dig(scores: Any, path: Any) -> Any:
    for key in path:
        scores = scores.get(key) if isinstance(scores, dict) else None
    return scores
