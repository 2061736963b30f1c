"""The tables of a study: text for people, and records for files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cropzoo.evaluation.compare.config import AS_TRAINED
from cropzoo.evaluation.compare.grid import GridCell, StudyPlan
from cropzoo.evaluation.compare.results import RunScores
from cropzoo.evaluation.compare.summary import (
    LEVEL,
    MEASURES,
    MIN_PAIRS,
    Estimate,
    PairedDifference,
    StudySummary,
    compute_score,
    stack_matrices,
)
from cropzoo.io import atomic_write

NONE = "-"
_COMPARED = tuple(measure for measure in MEASURES if measure.key != "macro_f1")
"""Measures whose differences are shown. Files have all measures."""

_DIFFERENCE_COLUMNS = ("pairs", *(measure.name for measure in _COMPARED))

COSTS = ("epochs", "steps", "minutes", "GB")

Table = tuple[list[str], list[list[str]]]
Kind = Literal["scores", "differences"]

_PARTS = (
    ("all pixels, and parcels", ("baseline", "pairs", "OA", "mIoU", "macro F1", "parcels")),
    ("boundary and interior pixels", ("boundary OA", "boundary mIoU", "interior OA", "interior mIoU")),
    ("runs, and costs of training one", ("runs", *COSTS)),
)
"""Columns of the parts of a table that fit 80 characters."""


def score_table(plan: StudyPlan, summaries: Sequence[StudySummary]) -> Table:
    """A row for each cell: scores in percent, mean ± standard deviation over seeds, and the costs of training."""
    columns = [*key_columns(plan), "runs", *(measure.name for measure in MEASURES), *COSTS]
    rows = [
        [
            *_key_values(plan, summary.cell),
            f"{summary.finished}/{summary.planned}",
            *(estimate_text(summary.scores.get(measure.key)) for measure in MEASURES),
            epochs_text(summary),
            count_text(summary.steps),
            *cost_texts(summary),
        ]
        for summary in summaries
    ]
    return columns, rows


def difference_table(plan: StudyPlan, summaries: Sequence[StudySummary]) -> Table:
    """A row for each cell with a baseline: differences in percentage points, with their intervals."""
    several = len(baseline_labels(summaries)) > 1
    columns = [*key_columns(plan), *(["baseline"] if several else []), *_DIFFERENCE_COLUMNS]
    rows = [
        [
            *_key_values(plan, summary.cell),
            *([summary.baseline.label] if several else []),
            *_difference_values(summary.differences),
        ]
        for summary in summaries
        if summary.differences
    ]
    return columns, rows


def backbone_table(plan: StudyPlan, summaries: Sequence[StudySummary]) -> Table:
    """A row for each cell of another backbone than the first: differences to the same cell of the first."""
    rows = [
        [*_key_values(plan, summary.cell), *_difference_values(summary.reference_differences)]
        for summary in summaries
        if summary.reference_differences
    ]
    return [*key_columns(plan), *_DIFFERENCE_COLUMNS], rows


def _difference_values(differences: Mapping[str, PairedDifference]) -> list[str]:
    pairs = max(difference.pairs for difference in differences.values())
    return [str(pairs), *(difference_text(differences.get(measure.key)) for measure in _COMPARED)]


def scoring_table(
    plan: StudyPlan,
    summaries: Sequence[StudySummary],
    others: Mapping[str, Sequence[StudySummary]],
    kind: Kind = "scores",
) -> Table:
    """A row for each cell: mean IoU by additional scorings and as trained, in percent.

    A value names the number of seeds if some of the cell's seeds have not been scored.

    Args:
        plan: Plan of the study.
        summaries: Summaries of the scores from the end of training.
        others: Summaries by the name of an additional scoring.
        kind: "scores", or "differences" to the baseline by the same scoring.
    """
    ways = {**others, AS_TRAINED: summaries}

    def text(cell: StudySummary, trained: StudySummary) -> str:
        scores, differences = cell.scores.get("miou"), cell.differences.get("miou")
        value = estimate_text(scores) if kind == "scores" else difference_text(differences)
        seeds, expected = len(cell.seeds), len(trained.seeds)
        return f"{value} ({seeds} of {expected} seeds)" if value != NONE and seeds < expected else value

    rows = [
        [*_key_values(plan, cells[0].cell), *(text(cell, cells[-1]) for cell in cells)]
        for cells in zip(*ways.values(), strict=True)
        if kind == "scores" or cells[-1].differences
    ]
    return [*key_columns(plan), *ways], rows


def baseline_labels(summaries: Sequence[StudySummary]) -> list[str]:
    """Labels of the baselines."""
    return list(dict.fromkeys(summary.baseline.label for summary in summaries if summary.differences))


def split_table(plan: StudyPlan, table: Table) -> list[tuple[str, Table]]:
    """Title and table of the parts of a table that fit a terminal, each with the key columns."""
    columns, rows = table
    named = list(range(len(key_columns(plan))))
    parts = []
    for title, kept in _PARTS:
        if own := [place for place, column in enumerate(columns) if column in kept]:
            places = named + own
            parts.append((title, ([columns[p] for p in places], [[row[p] for p in places] for row in rows])))
    return parts


def key_columns(plan: StudyPlan) -> list[str]:
    """Names of the key columns, which identify a row."""
    labels = ["labels %"] if len(plan.study.label_fractions) > 1 else []
    return ["backbone", *labels, "pretrain", *(["variant"] if plan.study.variants else [])]


def _key_values(plan: StudyPlan, cell: GridCell) -> list[str]:
    labels = [f"{100 * cell.label_fraction:g}"] if len(plan.study.label_fractions) > 1 else []
    return [cell.backbone, *labels, cell.pretrain, *([cell.variant or NONE] if plan.study.variants else [])]


def interval_text() -> str:
    """One line that explains the intervals."""
    return (
        f"{100 * LEVEL:.0f} % bootstrap intervals over pairs of runs with the same seed and fold, "
        f"shown from {MIN_PAIRS} pairs on; below ten pairs they are too narrow"
    )


def budget_text(plan: StudyPlan) -> str:
    """One line that explains the budget."""
    if plan.study.budget == "finetune":
        return "budget finetune: all runs have the same epochs in the last stage; pre-training adds to them"
    return "budget total: all runs have the same number of epochs and steps, pre-training included"


def estimate_text(estimate: Estimate | None) -> str:
    """An estimate in percent, such as "81.2 ± 0.4"."""
    if estimate is None:
        return NONE
    return f"{100 * estimate.mean:.1f}" + ("" if estimate.std is None else f" ± {100 * estimate.std:.1f}")


def difference_text(difference: PairedDifference | None) -> str:
    """Percentage points, such as "+1.2 [+0.3,+2.0]", with a single space where a narrow terminal can break it."""
    if difference is None:
        return NONE
    interval = ""
    if difference.low is not None and difference.high is not None:
        interval = f" [{100 * difference.low:+.1f},{100 * difference.high:+.1f}]"
    return f"{100 * difference.mean:+.1f}{interval}"


def epochs_text(summary: StudySummary) -> str:
    """Epochs of the stages, such as "6 + 14"."""
    return " + ".join(map(str, summary.epochs))


def count_text(count: float | None) -> str:
    """A count with thousands separators."""
    return NONE if count is None else f"{count:,.0f}"


def cost_texts(summary: StudySummary) -> tuple[str, str]:
    """Minutes of training per run, and peak memory in GB."""
    minutes, memory = summary.seconds, summary.peak_memory
    spread = "" if minutes is None or minutes.std is None else f" ± {minutes.std / 60:.1f}"
    return (
        NONE if minutes is None else f"{minutes.mean / 60:.1f}{spread}",
        NONE if memory is None else f"{memory / 1e9:.1f}",
    )


_TRAINING_KEYS = ("epochs", "steps", "seconds", "peak_memory")


def cell_records(summaries: Sequence[StudySummary]) -> list[dict[str, Any]]:
    """A record for each cell with all numbers: fractions, seconds, bytes; None if unknown."""
    return [_cell_record(summary) for summary in summaries]


def _cell_record(summary: StudySummary) -> dict[str, Any]:
    record: dict[str, Any] = {
        **_cell_columns(summary.cell),
        "baseline": summary.baseline.name,
        "reference": summary.reference.name if summary.reference else None,
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
        between = summary.reference_differences.get(measure.key)
        for name, key in (("difference", "mean"), ("low", "low"), ("high", "high")):
            record[f"{measure.key}_{name}"] = getattr(difference, key) if difference else None
            record[f"{measure.key}_reference_{name}"] = getattr(between, key) if between else None
    return record


def scoring_records(others: Mapping[str, Sequence[StudySummary]]) -> list[dict[str, Any]]:
    """A record for each additional scoring and cell with all numbers but the costs of training."""
    return [
        {"scoring": name, **{key: value for key, value in record.items() if key not in _TRAINING_KEYS}}
        for name, summaries in others.items()
        for record in cell_records(summaries)
    ]


def distance_records(summaries: Sequence[StudySummary]) -> list[dict[str, Any]]:
    """A record for each cell and distance to a boundary in px: pixels and correct pixels of all runs."""
    return [
        {**_cell_columns(summary.cell), "of": summary.distance_of, "px": px, "pixels": pixels, "right": correct}
        for summary in summaries
        if summary.distance is not None
        for px, (correct, pixels) in enumerate(summary.distance.T.tolist(), start=1)
    ]


def run_records(found: Mapping[GridCell, Sequence[RunScores]]) -> list[dict[str, Any]]:
    """A record for each finished run with all numbers, as in `cell_records`."""
    return [_run_record(run) for runs in found.values() for run in runs]


def _run_record(run: RunScores) -> dict[str, Any]:
    matrices = {measure: stack_matrices([[run]], measure.region) for measure in MEASURES}
    return {
        "run": run.run.name,
        **_cell_columns(run.run.cell),
        "fold": run.run.fold,
        "seed": run.run.seed,
        "steps": run.steps,
        "seconds": run.seconds,
        "peak_memory": run.peak_memory,
        **{
            measure.key: None if matrix is None else float(compute_score(matrix, measure.score)[0, 0])
            for measure, matrix in matrices.items()
        },
    }


def _cell_columns(cell: GridCell) -> dict[str, Any]:
    return {
        "backbone": cell.backbone,
        "pretrain": cell.pretrain,
        "label_fraction": cell.label_fraction,
        "variant": cell.variant,
    }


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records as CSV, numbers with six digits; without a record the file is empty."""
    with atomic_write(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([list(records[0])] if records else [])
        writer.writerows([_plain(value) for value in record.values()] for record in records)


def _plain(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
