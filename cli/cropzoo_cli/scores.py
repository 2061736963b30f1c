"""Scores formatted as lines of text."""

from __future__ import annotations

from typing import Any

from cropzoo.data.model_scores import ModelScores, baseline_of, read_model_scores
from cropzoo_cli.output import note, warn


def print_model(scores: ModelScores) -> None:
    """Print a model's stored scores to stderr in one line, and a warning if it is below its baseline."""
    note(scores.line)
    if scores.warning:
        warn(scores.warning)


def percent(value: float | None) -> str:
    """Format a fraction as percent with one decimal, aligned; a dash for None."""
    return "    -" if value is None else f"{100 * value:5.1f}"


def score_lines(split: str, scores: dict[str, Any]) -> list[str]:
    """Format the scores of a split: overall, boundary, interior, by distance to the boundary, parcels, and by class.

    Scores of a baseline are included, and the last line says where the model is below it.
    """
    lines = [f"{split:<20}    OA   mIoU  macro F1      pixels"]
    regions = [("all pixels", scores), ("boundary", scores["boundary"]), ("interior", scores["interior"])]
    parcels, baseline = scores["parcels"], baseline_of(scores)
    if parcels:
        regions += [("parcel boundary", parcels["boundary"]), ("parcel interior", parcels["interior"])]
    if baseline:
        by_region = {"all pixels": baseline, "boundary": baseline["boundary"], "interior": baseline["interior"]}
        regions += [(f"{baseline['name']}, {name}", region) for name, region in by_region.items()]
    for name, region in regions:
        if region:
            lines.append(
                f"{name:<20} {percent(region['oa'])}  {percent(region['miou'])}     {percent(region['macro_f1'])}"
                f"  {region['pixels']:>10,}"
            )
    lines += _distance_line(
        scores.get("distance"), scores.get("label_scale", 1)
    )  # files of earlier versions have neither
    if parcels:
        lines.append(f"{'parcels (majority)':<20} {percent(parcels['accuracy'])}  {parcels['count']:>30,} parcels")
    if scores["ece"] is not None:
        before = scores.get("ece_uncalibrated")
        uncalibrated = "" if before is None else f"  ({percent(before).strip()} before calibration)"
        lines.append(f"{'calibration error':<20} {percent(scores['ece'])}{uncalibrated}")
    width = max(len(name) for name in scores["per_class"])
    lines += ["", f"{'class':<{width}}  precision  recall     F1    IoU     pixels"]
    for name, values in scores["per_class"].items():
        precision, recall, f1, iou = (percent(values[key]) for key in ("precision", "recall", "f1", "iou"))
        lines.append(f"{name:<{width}}      {precision}   {recall}  {f1}  {iou}  {values['support']:>9,}")
    if scores["without_support"]:
        lines.append(f"classes without a pixel, left out of the means: {', '.join(scores['without_support'])}")
    below = read_model_scores(scores)
    return [*lines, "", below.warning] if below.warning else lines


def _distance_line(distance: dict[str, Any] | None, finer: int) -> list[str]:
    """Accuracy by distance to the boundary, in one line; no line if it is unknown."""
    if not distance:
        return []
    counts = zip(distance["correct"], distance["pixels"], strict=True)
    shares = "".join(f" {percent(right / pixels if pixels else None)} " for right, pixels in counts)
    kind = {"parcels": "parcel", "classes": "class"}[distance["of"]]
    unit = "px" if finer == 1 else f"px of the labels, which are {finer} x finer than the images"
    return [f"{'OA by distance':<20}{shares} at 1, 2, ... {len(distance['pixels'])}+ {unit}, 1 = {kind} boundary"]
