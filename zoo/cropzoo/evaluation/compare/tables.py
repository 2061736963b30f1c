"""The tables of a study for people."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cropzoo.evaluation.compare.config import AS_TRAINED
from cropzoo.evaluation.compare.grid import GridCell, StudyPlan
from cropzoo.evaluation.compare.results import RunScores
from cropzoo.evaluation.compare.summary import MEASURES, Estimate, PairedDifference, StudySummary, score, stack
from cropzoo.io import atomic_write

NONE = "-"
COMPARED = ("oa", "miou", "boundary_oa", "boundary_miou", "interior_oa", "interior_miou", "parcel_accuracy")
"""The measures whose differences people see; files have all."""

COSTS = ("epochs", "steps", "minutes", "GB")

Table = tuple[list[str], list[list[str]]]
Kind = Literal["scores", "differences"]

_PARTS = (
    ("all pixels, and parcels", ("less", "pairs", "OA", "mIoU", "macro F1", "parcels")),
    ("pixels at boundaries and inside", ("boundary OA", "boundary mIoU", "interior OA", "interior mIoU")),
    ("runs, and the training of one", ("runs", *COSTS)),
)
"""Columns that stand side by side in the 80 letters of a terminal."""


def score_table(plan: StudyPlan, summaries: Sequence[StudySummary]) -> Table:
    """Columns, and a row a cell: scores in per cent as mean ± standard deviation over seeds, and what it cost."""
    columns = [*key_columns(plan), "runs", *(measure.name for measure in MEASURES), *COSTS]
    rows = [
        [
            *_names(plan, summary.cell),
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
    """Columns, and a row for each cell that is compared: points of per cent with the interval."""
    measures = [measure for measure in MEASURES if measure.key in COMPARED]
    several = len(baseline_labels(summaries)) > 1
    columns = [*key_columns(plan), *(["less"] if several else []), "pairs", *(measure.name for measure in measures)]
    rows = [
        [
            *_names(plan, summary.cell),
            *([summary.baseline.label] if several else []),
            str(max(difference.pairs for difference in summary.differences.values())),
            *(difference_text(summary.differences.get(measure.key)) for measure in measures),
        ]
        for summary in summaries
        if summary.differences
    ]
    return columns, rows


def scoring_table(
    plan: StudyPlan,
    summaries: Sequence[StudySummary],
    others: Mapping[str, Sequence[StudySummary]],
    kind: Kind = "scores",
) -> Table:
    """Columns, and a row a cell: mean IoU by other scorings and as trained, in per cent.

    Where a scoring lacks seeds that the cell has, it says of how many it is.

    Args:
        plan: of the study.
        summaries: of the scores at the end of training.
        others: by other scorings, by their names.
        kind: the scores, or their differences to the baseline by the same scoring, of the cells that are compared.
    """
    ways = {**others, AS_TRAINED: summaries}

    def text(cell: StudySummary, whole: StudySummary) -> str:
        scores, differences = cell.scores.get("miou"), cell.differences.get("miou")
        told = estimate_text(scores) if kind == "scores" else difference_text(differences)
        some = f" ({len(cell.seeds)} of {len(whole.seeds)} seeds)" if len(cell.seeds) < len(whole.seeds) else ""
        return told if told == NONE else told + some

    rows = [
        [*_names(plan, cells[0].cell), *(text(cell, cells[-1]) for cell in cells)]
        for cells in zip(*ways.values(), strict=True)
        if kind == "scores" or cells[-1].differences
    ]
    return [*key_columns(plan), *ways], rows


def baseline_labels(summaries: Sequence[StudySummary]) -> list[str]:
    """What the cells that are compared are compared with."""
    return list(dict.fromkeys(summary.baseline.label for summary in summaries if summary.differences))


def parts_of(plan: StudyPlan, table: Table) -> list[tuple[str, Table]]:
    """A table as several that fit a terminal, each with its title and the columns that name the rows."""
    columns, rows = table
    named = list(range(len(key_columns(plan))))
    parts = []
    for title, kept in _PARTS:
        if own := [place for place, column in enumerate(columns) if column in kept]:
            places = named + own
            parts.append((title, ([columns[p] for p in places], [[row[p] for p in places] for row in rows])))
    return parts


def key_columns(plan: StudyPlan) -> list[str]:
    """The columns that name a row."""
    labels = ["labels %"] if len(plan.study.label_fractions) > 1 else []
    return ["backbone", *labels, "pretrain", *(["variant"] if plan.study.variants else [])]


def _names(plan: StudyPlan, cell: GridCell) -> list[str]:
    labels = [f"{100 * cell.label_fraction:g}"] if len(plan.study.label_fractions) > 1 else []
    return [cell.backbone, *labels, cell.pretrain, *([cell.variant or NONE] if plan.study.variants else [])]


def budget_text(plan: StudyPlan) -> str:
    """One line that says what is the same for all runs."""
    if plan.study.budget == "finetune":
        return "budget finetune: every run has the same epochs of its last stage, and pre-training comes on top"
    return "budget total: pre-training and last stage together have as many epochs, and steps, as a run without"


def estimate_text(estimate: Estimate | None) -> str:
    """Per cent, such as "81.2 ± 0.4"."""
    if estimate is None:
        return NONE
    return f"{100 * estimate.mean:.1f}" + ("" if estimate.std is None else f" ± {100 * estimate.std:.1f}")


def difference_text(difference: PairedDifference | None) -> str:
    """Points of per cent, such as "+1.2 [+0.3,+2.0]", which a narrow terminal breaks at its only space."""
    if difference is None:
        return NONE
    interval = ""
    if difference.low is not None and difference.high is not None:
        interval = f" [{100 * difference.low:+.1f},{100 * difference.high:+.1f}]"
    return f"{100 * difference.mean:+.1f}{interval}"


def epochs_text(summary: StudySummary) -> str:
    """The epochs of the stages, such as "6 + 14"."""
    return " + ".join(map(str, summary.epochs))


def count_text(count: float | None) -> str:
    """A whole number of things."""
    return NONE if count is None else f"{count:,.0f}"


def cost_texts(summary: StudySummary) -> tuple[str, str]:
    """Minutes of training a run, and the most memory, GB."""
    minutes, memory = summary.seconds, summary.peak_memory
    spread = "" if minutes is None or minutes.std is None else f" ± {minutes.std / 60:.1f}"
    return (
        NONE if minutes is None else f"{minutes.mean / 60:.1f}{spread}",
        NONE if memory is None else f"{memory / 1e9:.1f}",
    )


_OF_TRAINING = ("epochs", "steps", "seconds", "peak_memory")


def cell_records(summaries: Sequence[StudySummary]) -> list[dict[str, Any]]:
    """A row for each cell with every number: shares of 1, seconds, bytes; None for what is not known."""
    return [_cell_record(summary) for summary in summaries]


def _cell_record(summary: StudySummary) -> dict[str, Any]:
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


def scoring_records(others: Mapping[str, Sequence[StudySummary]]) -> list[dict[str, Any]]:
    """A row for each other scoring and cell with every number, without what training took."""
    return [
        {"scoring": name, **{key: value for key, value in record.items() if key not in _OF_TRAINING}}
        for name, summaries in others.items()
        for record in cell_records(summaries)
    ]


def distance_records(summaries: Sequence[StudySummary]) -> list[dict[str, Any]]:
    """A row for each cell and distance to a boundary, px: its pixels and how many of them are right, over all runs."""
    return [
        {**_cell_columns(summary.cell), "of": summary.distance_of, "px": px, "pixels": pixels, "right": right}
        for summary in summaries
        if summary.distance is not None
        for px, (right, pixels) in enumerate(summary.distance.T.tolist(), start=1)
    ]


def run_records(found: Mapping[GridCell, Sequence[RunScores]]) -> list[dict[str, Any]]:
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


def _cell_columns(cell: GridCell) -> dict[str, Any]:
    return {
        "backbone": cell.backbone,
        "pretrain": cell.pretrain,
        "label_fraction": cell.label_fraction,
        "variant": cell.variant,
    }


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Replace the file by these rows, numbers with six digits; without a row the file is empty."""
    with atomic_write(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([list(records[0])] if records else [])
        writer.writerows([_plain(value) for value in record.values()] for record in records)


def _plain(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
