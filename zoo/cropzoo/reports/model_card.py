"""The model card: what a checkpoint's metadata say, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from cropzoo.reports.metrics_table import regions, with_all_keys
from cropzoo.reports.render import make_environment, markdown_text

_DATES = {
    "doy": "day of the year, 1 to 366",
    "days": "days since 1 September before the first date of the series",
    "none": "not used",
}


def model_card(metadata: dict[str, Any]) -> str:
    """A model card in Markdown.

    Args:
        metadata: of a checkpoint; what is missing is left out of the card. Needed are `backbone` (name, options),
            `classes` (name, code, color) and `bands`.

    Returns:
        The text, which states nothing that the metadata do not.
    """
    scores = with_all_keys(metadata.get("scores"))
    dataset = metadata.get("dataset") or {}
    templates = make_environment()
    templates.filters["text"] = markdown_text
    return templates.get_template("card.md.j2").render(
        meta=_with_defaults(metadata),
        scores=scores,
        dataset=dataset,
        title=_title(metadata["backbone"]["name"], dataset.get("name")),
        dates=_DATES.get(str(metadata.get("dates")), str(metadata.get("dates") or "")),
        per_class=scores.get("per_class") or {},
        regions=regions(scores) if scores else [],
        limits=_limits(metadata, scores, dataset),
        recipe=_yaml(metadata.get("recipe")),
        options=_yaml(metadata["backbone"].get("options")),
    )


def _with_defaults(metadata: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("format", "in_channels", "image_size", "length", "scale", "seed", "license", "citation")
    absent: dict[str, Any] = dict.fromkeys(keys)
    return absent | {"mean": (), "std": (), "versions": {}, "upsample": 1, "temperature": 1} | dict(metadata)


def _title(backbone: str, dataset: Any) -> str:
    return f"{backbone} trained on {dataset}" if dataset else backbone


def _limits(metadata: Mapping[str, Any], scores: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[str]:
    """Sentences that follow from the metadata alone."""
    found = []
    if metadata["bands"]:
        found.append("It reads exactly the bands above, in that order and scaled and normalized as stated.")
    if metadata.get("length"):
        found.append(f"It was built for series of {metadata['length']} dates.")
    if not scores:
        found.append("Its metadata hold no scores: nothing is known of its accuracy.")
        return found
    where = f"the test split of {dataset['name']}" if dataset.get("name") else "one test split"
    pixels = f" ({scores['pixels']} pixels)" if scores["pixels"] else ""
    found.append(f"The scores hold for {where}{pixels}; the metadata know of no other place or year.")
    if scores.get("without_support"):
        names = ", ".join(scores["without_support"])
        found.append(f"There was no test pixel of these classes, so nothing is known of their accuracy: {names}.")
    if metadata.get("seed") is not None:
        found.append(f"It is one run with seed {metadata['seed']}; other seeds give other numbers.")
    boundary, interior = scores.get("boundary"), scores.get("interior")
    if boundary and interior and boundary["oa"] < interior["oa"]:
        gap = 100 * (interior["oa"] - boundary["oa"])
        found.append(f"Pixels at class boundaries are {gap:.1f} points less often right than the others.")
    return found


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).strip() if value else ""
