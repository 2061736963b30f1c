"""Model cards in Markdown, from the metadata of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cropzoo.config.schema import format_yaml
from cropzoo.data.model_scores import read_model_scores
from cropzoo.reports.metrics_table import regions, with_all_keys
from cropzoo.reports.render import make_environment, markdown_text

_DATES = {
    "doy": "day of year, 1 to 366",
    "days": "days since 1 September before the first date of the series",
    "none": "not used",
}


def model_card(metadata: dict[str, Any]) -> str:
    """A model card in Markdown.

    Args:
        metadata: Metadata of a checkpoint. Required are `backbone` (name, options), `classes` (name, code, color) and
            `bands`; other missing keys are left out of the card.

    Returns:
        Text that states only what the metadata say.
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
        limitations=_limitations(metadata, scores, dataset),
        recipe=_yaml(metadata.get("recipe")),
        options=_yaml(metadata["backbone"].get("options")),
    )


def _with_defaults(metadata: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("format", "in_channels", "image_size", "length", "scale", "seed", "license", "citation")
    absent: dict[str, Any] = dict.fromkeys(keys)
    return (
        absent
        | {"mean": (), "std": (), "versions": {}, "initial_weights": (), "upsample": 1, "temperature": 1}
        | dict(metadata)
    )


def _title(backbone: str, dataset: Any) -> str:
    return f"{backbone} trained on {dataset}" if dataset else backbone


def _limitations(metadata: Mapping[str, Any], scores: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[str]:
    """Limitations that follow from the metadata, as sentences."""
    found = []
    if metadata["bands"]:
        found.append("The model needs exactly these bands, in this order, scaled and normalized as stated.")
    if metadata.get("length"):
        found.append(f"The model was built for series of {metadata['length']} dates.")
    found.append(
        "Areas counted in maps of this model are mapped, not estimated: they contain its errors. `cropzoo sample` and "
        "`cropzoo assess` estimate areas with confidence intervals."
    )
    if not scores:
        found.append("The model has not been evaluated; its accuracy is unknown.")
        return found
    if metadata.get("initial_weights"):
        names = ", ".join(str(origin["name"]) for origin in metadata["initial_weights"])
        found.append(f"Scores on data that the initial weights ({names}) were trained on are too high.")
    below = read_model_scores(scores)
    if below.deficit:
        found.append(f"The model scores below its {below.baseline} baseline in {below.deficit}.")
    where = f"the test split of {dataset['name']}" if dataset.get("name") else "one test split"
    pixels = f" ({scores['pixels']} pixels)" if scores["pixels"] else ""
    found.append(f"The scores are for {where}{pixels}. Accuracy at other places and in other years is unknown.")
    if scores.get("without_support"):
        names = ", ".join(scores["without_support"])
        found.append(f"These classes have no test pixels, so their accuracy is unknown: {names}.")
    if metadata.get("seed") is not None:
        found.append(f"The scores are of one run with seed {metadata['seed']}; other seeds give different scores.")
    boundary, interior = scores.get("boundary"), scores.get("interior")
    if boundary and interior and boundary["oa"] < interior["oa"]:
        gap = 100 * (interior["oa"] - boundary["oa"])
        found.append(f"Overall accuracy at class boundaries is {gap:.1f} percentage points lower than inside.")
    return found


def _yaml(value: Any) -> str:
    return format_yaml(value).strip() if value else ""
