"""The tables of a study for files: rows with every number."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cropzoo.files import replacing
from cropzoo.study.cells import Cell
from cropzoo.study.collecting import RunScores
from cropzoo.study.matrices import score
from cropzoo.study.summary import MEASURES, Summary, stack
from cropzoo.study.tables import epochs_text

_OF_TRAINING = ("epochs", "steps", "seconds", "peak_memory")


def cell_records(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """A row for each cell with every number: shares of 1, seconds, bytes; None for what is not known."""
    return [_cell_record(summary) for summary in summaries]


def _cell_record(summary: Summary) -> dict[str, Any]:
    record: dict[str, Any] = {
        **_cell_columns(summary.cell),
        "baseline": summary.baseline.name,
        "runs": summary.finished,
        "planned": summary.planned,
        "seeds": len(summary.seeds),
        "pairs": max((difference.pairs for difference in summary.differences.values()), default=None),
        "epochs": epochs_text(summary),
        "steps": summary.steps,
        "seconds": summary.seconds.mean if summary.seconds else None,
        "peak_memory": summary.peak_memory,
    }
    for measure in MEASURES:
        estimate, difference = summary.scores.get(measure.key), summary.differences.get(measure.key)
        record[measure.key] = estimate.mean if estimate else None
        record[f"{measure.key}_std"] = estimate.std if estimate else None
        for name, key in (("difference", "mean"), ("low", "low"), ("high", "high")):
            record[f"{measure.key}_{name}"] = getattr(difference, key) if difference else None
    return record


def scoring_records(others: Mapping[str, Sequence[Summary]]) -> list[dict[str, Any]]:
    """A row for each other scoring and cell with every number, without what training took."""
    return [
        {"scoring": name, **{key: value for key, value in record.items() if key not in _OF_TRAINING}}
        for name, summaries in others.items()
        for record in cell_records(summaries)
    ]


def distance_records(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """A row for each cell and distance to a boundary, px: its pixels and how many of them are right, over all runs."""
    return [
        {**_cell_columns(summary.cell), "of": summary.distance_of, "px": px, "pixels": pixels, "right": right}
        for summary in summaries
        if summary.distance is not None
        for px, (right, pixels) in enumerate(summary.distance.T.tolist(), start=1)
    ]


def run_records(found: Mapping[Cell, Sequence[RunScores]]) -> list[dict[str, Any]]:
    """A row for each finished run with every number, as in `cell_records`."""
    return [_run_record(run) for runs in found.values() for run in runs]


def _run_record(run: RunScores) -> dict[str, Any]:
    matrices = {measure.key: stack([[run]], measure.region) for measure in MEASURES}
    return {
        "run": run.run.name,
        **_cell_columns(run.run.cell),
        "fold": run.run.fold,
        "seed": run.run.seed,
        "steps": run.steps,
        "seconds": run.seconds,
        "peak_memory": run.peak_memory,
        **{
            measure.key: None if (found := matrices[measure.key]) is None else float(score(found, measure.score)[0, 0])
            for measure in MEASURES
        },
    }


def _cell_columns(cell: Cell) -> dict[str, Any]:
    return {
        "backbone": cell.backbone,
        "pretrain": cell.pretrain,
        "label_fraction": cell.label_fraction,
        "variant": cell.variant,
    }


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Replace the file by these rows, numbers with six digits; without a row the file is empty."""
    with replacing(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([list(records[0])] if records else [])
        writer.writerows([_plain(value) for value in record.values()] for record in records)


def _plain(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
