"""The table of the papers: every network of the zoo with its size, its cost and its published scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cropzoo.catalogue import Catalogue, Score
from cropzoo.recipe import Choice
from cropzoo.settings import normalise
from cropzoo.zoo import Zoo
from cropzoo_cli.costs import DEFAULT_SIZE, costs_of

FIRST = ("model", "parameters, M", "published, M", "GFLOPs")


def paper_table(zoo: Zoo, catalogue: Catalogue, chosen: Callable[[str], bool]) -> list[dict[str, Any]]:
    """A row a network whose name is `chosen`, the best published ones first; each counted at one size, `DEFAULT_SIZE`.

    A network is a backbone, or a variant of one that the catalogue names, such as tsvit-s; its PASTIS entry gives its
    options. A score is "OA / mIoU", in per cent, under the name of its data.
    """
    rows = []
    for name in filter(chosen, _networks(zoo, catalogue)):
        choice, published = _described(zoo, catalogue, name)
        costs = costs_of(zoo, choice, DEFAULT_SIZE)
        scores = {score.data: _told(score) for score in _scores(catalogue, name)}
        counted = f"{costs.parameters / 1e6:.2f}"
        figure = "-" if published is None else f"{published:g}"
        rows.append(dict(zip(FIRST, (name, counted, figure, f"{costs.gflops:.1f}"), strict=True)) | scores)
    return sorted(rows, key=lambda row: -_best(catalogue, row["model"]))


def columns_of(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The columns of all rows: the network's own, then the data."""
    return [*FIRST, *sorted({column for row in rows for column in row} - set(FIRST))]


def _networks(zoo: Zoo, catalogue: Catalogue) -> list[str]:
    named = {name.partition(".")[0] for name, entry in catalogue.entries.items() if entry.scores}
    return sorted({*zoo.backbones, *named})


def _described(zoo: Zoo, catalogue: Catalogue, name: str) -> tuple[Choice, float | None]:
    """The backbone that a name of the table stands for, and its published size in millions."""
    entry = catalogue.entries.get(f"{name}.pastis")
    if entry is None:
        return Choice(name=name), zoo.backbones[name].spec.parameters
    section = {"name": name, **normalise(entry.recipe, name).get("backbone", {})}
    published = entry.parameters
    if published is None and section["name"] in zoo.backbones:
        published = zoo.backbones[section["name"]].spec.parameters
    return Choice(name=section.pop("name"), options=section), published


def _scores(catalogue: Catalogue, name: str) -> list[Score]:
    return [
        score for entry, held in catalogue.entries.items() if entry.partition(".")[0] == name for score in held.scores
    ]


def _best(catalogue: Catalogue, name: str) -> float:
    return max((score.miou or 0 for score in _scores(catalogue, name) if "PASTIS" in score.data), default=0)


def _told(score: Score) -> str:
    return " / ".join("-" if value is None else f"{value:g}" for value in (score.oa, score.miou))
