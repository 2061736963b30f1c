"""study.html: one file that tells what a study found and opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cropzoo import __version__
from cropzoo.files import write_text
from cropzoo.report.templates import environment
from cropzoo.study.folder import StudyFolder
from cropzoo.study.grid import Plan
from cropzoo.study.plots import difference_charts, distance_charts, label_charts, season_charts
from cropzoo.study.summary import LEVEL, Summary, grouped
from cropzoo.study.tables import (
    Table,
    baseline_words,
    budget_text,
    difference_table,
    heads,
    score_table,
    scoring_table,
)

_ALSO = 3
"""Backbones that the title names."""


def write_page(
    folder: StudyFolder,
    plan: Plan,
    summaries: Sequence[Summary],
    others: Mapping[str, Sequence[Summary]],
    failed: Mapping[str, str],
) -> None:
    """Write study.html.

    Args:
        folder: of the study.
        plan: what was asked.
        summaries: what there is of it.
        others: the same by other scorings, by their names.
        failed: what is kept of each run that failed, and the error of each scoring, by its name.

    Raises:
        CropzooError: when it cannot be written.
    """
    compared = [summary for summary in summaries if summary.differences]
    kinds = {summary.distance_of for summary in summaries} - {None}
    html = (
        environment()
        .get_template("study.html.j2")
        .render(
            title=_title(plan),
            plan=plan,
            budget=budget_text(plan),
            finished=sum(summary.finished for summary in summaries),
            level=round(100 * LEVEL),
            scores=_view(plan, summaries, score_table(plan, summaries)),
            differences=_view(plan, compared, difference_table(plan, summaries)),
            baselines=" or ".join(baseline_words(summaries)),
            dots=difference_charts(summaries),
            distances=distance_charts(summaries),
            of={"parcels": "parcel", "classes": "class"}[kinds.pop() or ""] if len(kinds) == 1 else "parcel or class",
            labels=label_charts(summaries),
            others=_view(plan, summaries, scoring_table(plan, summaries, others)) if others else None,
            other_differences=_view(plan, compared, scoring_table(plan, summaries, others, "differences")),
            season=season_charts(summaries, {day: others[f"until {day}"] for day in plan.study.until}),
            failed=failed,
            study=yaml.safe_dump(plan.study.to_mapping(), sort_keys=False, allow_unicode=True),
            version=__version__,
        )
    )
    write_text(folder.page, html)


def _title(plan: Plan) -> str:
    backbones = plan.study.backbones
    names = ", ".join(backbones) if len(backbones) <= _ALSO else f"{len(backbones)} backbones"
    return f"{names} on {plan.dataset}"


def _view(plan: Plan, summaries: Sequence[Summary], table: Table) -> dict[str, Any]:
    """A table for the template: columns, and for each group its title and its (name, is it a baseline, cells)."""
    columns, rows = table
    named = len(heads(plan))
    cells = {summary.cell: row[named:] for summary, row in zip(summaries, rows, strict=True)}
    groups = {
        title: [(each.cell.words, each.cell == each.baseline, cells[each.cell]) for each in several]
        for title, several in grouped(summaries).items()
    }
    return {"columns": columns[named:], "groups": groups}
