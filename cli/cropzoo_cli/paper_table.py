"""The table of `cropzoo list --table`: backbones with size, costs and published scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cropzoo.config.catalog import Catalog
from cropzoo.config.recipe import PluginChoice
from cropzoo.config.short_forms import expand_short_forms
from cropzoo.errors import describe_error
from cropzoo.parallel import Terminated, raise_on_interrupt
from cropzoo.plugins.registry import Zoo
from cropzoo_cli.costs import DEFAULT_SIZE, costs_of

COLUMNS = ("model", "parameters, M", "published, M", "GFLOPs")
ABSENT = "-"


def paper_table(zoo: Zoo, catalog: Catalog, chosen: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Records of backbones and of variants with scores in the catalog, such as tsvit-s; the best on PASTIS first.

    Costs are counted at `DEFAULT_SIZE`. A backbone that cannot be built has None for its costs and an error.

    Args:
        zoo: Zoo with the backbones.
        catalog: Catalog with the published scores.
        chosen: Whether a name is in the table.

    Returns:
        Records of model, parameters (count), gflops, error (text or None), published (millions) and scores (data, oa,
        miou, source).
    """
    entries = list(catalog.entries.items())
    scored = {name.partition(".")[0] for name, entry in entries if entry.scores}
    records = []
    for name in filter(chosen, sorted({*zoo.backbones, *scored})):
        own = {entry_name: entry for entry_name, entry in entries if entry_name.partition(".")[0] == name}
        choice, published = _find_backbone(zoo, name, own)
        records.append(
            {
                "model": name,
                **_count_costs(zoo, choice),
                "published": published,
                "scores": [score.model_dump() for entry in own.values() for score in entry.scores],
            }
        )
    return sorted(records, key=_rank)


def as_rows(records: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the records; scores are "OA / mIoU" in a column for each dataset.

    There is a last column "error" only if a record has an error.
    """
    data = sorted({score["data"] for record in records for score in record["scores"]})
    rows = [list(_cells(record, data)) for record in records]
    errors = [record["error"] for record in records]
    if not any(errors):
        return [*COLUMNS, *data], rows
    return [*COLUMNS, *data, "error"], [[*row, error or ABSENT] for row, error in zip(rows, errors, strict=True)]


def _cells(record: dict[str, Any], data: Sequence[str]) -> Iterator[str]:
    yield record["model"]
    yield ABSENT if record["parameters"] is None else f"{record['parameters'] / 1e6:.2f}"
    yield ABSENT if record["published"] is None else f"{record['published']:g}"
    yield ABSENT if record["gflops"] is None else f"{record['gflops']:.1f}"
    scores = {score["data"]: score for score in record["scores"]}
    for name in data:
        values = [scores[name][key] for key in ("oa", "miou")] if name in scores else []
        yield " / ".join(ABSENT if value is None else f"{value:g}" for value in values) or ABSENT


def _find_backbone(zoo: Zoo, name: str, own: dict[str, Any]) -> tuple[PluginChoice | None, float | None]:
    """Backbone of a name in the table, and its published size in millions."""
    if name in zoo.backbones:
        return PluginChoice(name=name), zoo.backbones[name].spec.parameters
    # a variant: its entry for PASTIS, else its first one
    for entry_name in sorted(own, key=lambda each: not each.endswith(".pastis")):
        section = dict(expand_short_forms(own[entry_name].recipe, entry_name).get("backbone", {}))
        if section.get("name") in zoo.backbones:
            return PluginChoice(name=section.pop("name"), options=section), own[entry_name].parameters
    return None, None


def _count_costs(zoo: Zoo, choice: PluginChoice | None) -> dict[str, Any]:
    if choice is None:
        return {"parameters": None, "gflops": None, "error": None}
    try:
        with raise_on_interrupt():
            costs = costs_of(zoo, choice, DEFAULT_SIZE)
    except Terminated:
        raise
    except BaseException as error:  # a plugin's network, or the library behind it, may raise anything
        reason = describe_error(error)
    else:
        return {"parameters": costs.parameters, "gflops": round(costs.gflops, 3), "error": None}
    return {"parameters": None, "gflops": None, "error": " ".join(f"cannot be built; {reason}".split())}


def _rank(record: dict[str, Any]) -> tuple[float, str]:
    best = [score["miou"] or 0 for score in record["scores"] if "PASTIS" in score["data"]]
    return -max(best, default=0), record["model"]
