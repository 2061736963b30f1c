"""Write docs/weights.md: prose from weights.md.j2, files from the catalog, scores from docs/experiments/results.

python docs/make_weights.py

`make_experiments.py --from studies` copies new results of the studies before.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from make_experiments import Row, markdown, read_rows, score
from pages import fill

from cropzoo import load_zoo
from cropzoo.config.catalog import load_catalog
from cropzoo_cli.weights_table import weights_records, weights_row

PAGE = Path(__file__).parent / "weights.md"

CLASSIFIERS = {"knn": "nearest neighbors", "logistic": "logistic regression", "forest": "random forest"}
MEASURES = ("oa", "miou")
FEW_LABELS = ("weights-baselines", "weights-few-labels", "weights-galileo")
LABELS = {"": "all labels", "10": "10 pixels a class", "parcel": "50 pixels of one parcel a class"}
"""Heading of the columns for the ending of a variant's name, such as `knn_10`."""


def render_page() -> str:
    """Text of docs/weights.md."""
    return fill("weights.md.j2", files=list_files(), frozen=frozen(), trained=trained(), **draws())


def list_files() -> str:
    """Markdown table of the published files in the catalog."""
    records = weights_records(load_catalog(load_zoo()), lambda name: True)
    rows = []
    for record in records:
        name, size, license_, _, seen = weights_row(record)
        rows.append([f"`{name}`", record["summary"], size, license_, seen, record["citation"]])
    return markdown(["name", "network", "size", "license", "trained on", "cite"], rows)


def frozen() -> str:
    """Markdown table of classifiers on frozen features: a row for backbone and classifier, columns by labels."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in _rows("weights-all-labels", *FEW_LABELS):
        classifier, _, labels = row["variant"].partition("_")
        found.setdefault((row["backbone"], classifier), {})[labels] = row
    heads = ["backbone", "classifier", *LABELS.values()]
    lines = [
        [backbone, CLASSIFIERS[classifier], *(_cell(by_labels.get(labels)) for labels in LABELS)]
        for (backbone, classifier), by_labels in found.items()
    ]
    return markdown(heads, lines)


def trained() -> str:
    """Markdown table of networks whose weights were trained on the fields."""
    rows = list(_rows("weights-trained"))
    return markdown(["backbone", "OA / mIoU", "boundary", "interior"], [
        [row["backbone"], _cell(row), _cell(row, "boundary_"), _cell(row, "interior_")] for row in rows
    ])  # fmt: skip


def draws() -> dict[str, int]:
    """Numbers of draws of the studies with few labels."""
    *others, galileo = ({int(row["runs"]) for row in read_rows(study)} for study in FEW_LABELS)
    (number,), (fewer,) = set.union(*others), galileo
    return {"draws": number, "galileo_draws": fewer}


def _rows(*studies: str) -> Iterable[Row]:
    for study in studies:
        yield from read_rows(study)


def _cell(row: Row | None, prefix: str = "") -> str:
    return "" if row is None else " / ".join(score(row, prefix + measure) for measure in MEASURES)


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
