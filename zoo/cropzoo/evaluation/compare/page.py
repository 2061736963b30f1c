"""study.html: one file that tells what a study found and opens without a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml
from matplotlib.ticker import MaxNLocator

from cropzoo import __version__
from cropzoo.evaluation.compare.folder import StudyFolder
from cropzoo.evaluation.compare.grid import StudyPlan
from cropzoo.evaluation.compare.summary import LEVEL, MEASURES, Measure, PairedDifference, StudySummary, grouped
from cropzoo.evaluation.compare.tables import (
    Table,
    baseline_words,
    budget_text,
    difference_table,
    heads,
    score_table,
    scoring_table,
)
from cropzoo.io import write_text
from cropzoo.reports.charts import Chart, line_chart
from cropzoo.reports.render import make_environment

_WIDTH, _LEFT, _RIGHT, _TOP, _STEP = 440, 160, 426, 6, 26
_LETTERS = 21
"""Of a name that fit beside the dots."""

_NAMES = 7
"""Of places that fit below a chart."""

DRAWN = ("miou", "boundary_miou", "interior_miou")
"""The measures whose differences are drawn."""


@dataclass(frozen=True)
class Dot:
    """A difference: its place, the ends of its interval (equal where there is none), name and numbers in words."""

    name: str
    x: float
    low: float
    high: float
    y: float
    words: str


@dataclass(frozen=True)
class Dots:
    """A chart of differences, one below the other.

    Args:
        groups: (place, text) above the dots of one backbone.
        ticks: (place, text).
        zero: the place where nothing differs.
    """

    title: str
    groups: tuple[tuple[float, str], ...]
    dots: tuple[Dot, ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float
    height: int
    alt: str
    width: int = _WIDTH
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP


def distance_charts(summaries: Sequence[StudySummary]) -> list[Chart]:
    """For each backbone and label fraction the accuracy by distance to a boundary, per cent, a line a cell."""
    charts = []
    for title, several in grouped(summaries).items():
        curves = {each.cell.words: _shares(each) for each in several if each.distance is not None}
        longest = max(map(len, curves.values()), default=0)
        chart = line_chart(title, range(1, longest + 1), curves, axis="px") if longest else None
        charts += [] if chart is None else [chart]
    return charts


def _shares(summary: StudySummary) -> list[float | None]:
    assert summary.distance is not None  # the caller has looked
    return [100 * right / pixels if pixels else None for right, pixels in summary.distance.T.tolist()]


def label_charts(summaries: Sequence[StudySummary]) -> list[Chart]:
    """For each backbone the mean IoU by the share of labels, a line a cell, per cent; none where all have one share."""
    fractions = sorted({summary.cell.label_fraction for summary in summaries})
    charts = []
    for backbone in dict.fromkeys(summary.cell.backbone for summary in summaries):
        curves: dict[str, list[float | None]] = {}
        for summary in summaries:
            if summary.cell.backbone == backbone and "miou" in summary.scores:
                curve = curves.setdefault(summary.cell.words, [None] * len(fractions))
                curve[fractions.index(summary.cell.label_fraction)] = _miou(summary)
        chart = _by_place(backbone, [f"{100 * fraction:g}" for fraction in fractions], curves, "% of the labels")
        charts += [] if chart is None or len(fractions) == 1 else [chart]
    return charts


def season_charts(summaries: Sequence[StudySummary], days: Mapping[str, Sequence[StudySummary]]) -> list[Chart]:
    """For each backbone and label fraction the mean IoU by the day that series end on, a line a cell, per cent.

    Args:
        summaries: of the whole series.
        days: of series that end on a day, by the day as it is written; a point of other seeds than the whole series'
            is left out.
    """
    if not days:
        return []
    by_day = [{each.cell: each for each in several} for several in (*days.values(), summaries)]
    charts = []
    for title, cells in grouped(summaries).items():
        curves = {
            each.cell.words: [
                _miou(found[each.cell]) if found[each.cell].seeds == each.seeds else None for found in by_day
            ]
            for each in cells
        }
        charts.append(_by_place(title, [*days, "all"], curves, "last day"))
    return [chart for chart in charts if chart is not None]


def _miou(summary: StudySummary) -> float | None:
    """Per cent."""
    return 100 * summary.scores["miou"].mean if "miou" in summary.scores else None


def _by_place(
    title: str, names: Sequence[str], curves: Mapping[str, Sequence[float | None]], axis: str
) -> Chart | None:
    """A chart of mean IoU whose axis counts places, with what people call them."""
    chart = line_chart(title, range(1, len(names) + 1), curves, axis=axis)
    if chart is None:
        return None
    step = (chart.right - chart.left) / max(1, len(names) - 1)
    shown = range(len(names) - 1, -1, -math.ceil(len(names) / _NAMES))  # the last one always
    ticks = tuple((round(chart.left + place * step, 1), names[place]) for place in reversed(shown))
    points = {
        line: [f"{value:.1f} at {name}" for name, value in zip(names, values, strict=True) if value is not None]
        for line, values in curves.items()
    }
    told = "; ".join(f"{line}: {', '.join(texts)}" for line, texts in points.items() if texts)
    return replace(chart, x_ticks=ticks, alt=f"{title}: mean IoU by {axis}. {told}.")


def difference_charts(summaries: Sequence[StudySummary]) -> list[Dots]:
    """The differences to the baseline in the measures that the paper's claim is about, points of per cent."""
    groups = grouped(summaries)
    return [chart for measure in MEASURES if measure.key in DRAWN and (chart := _dots(measure, groups))]


def _dots(measure: Measure, groups: Mapping[str, Sequence[StudySummary]]) -> Dots | None:
    rows: list[tuple[str, StudySummary | None]] = []
    for title, summaries in groups.items():
        some = [summary for summary in summaries if measure.key in summary.differences]
        rows += [(title, None), *((title, summary) for summary in some)] if some else []
    if not rows:
        return None
    spans = {s.cell: _span(s.differences[measure.key]) for _, s in rows if s is not None}
    ticks = _ticks([0.0, *(value for span in spans.values() for value in span)])

    def place(value: float) -> float:
        return round(_LEFT + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (_RIGHT - _LEFT), 1)

    heights = [_TOP + _STEP * (number + 0.5) for number in range(len(rows))]
    dots = tuple(
        _dot(title, summary, spans[summary.cell], place, y)
        for (title, summary), y in zip(rows, heights, strict=True)
        if summary is not None
    )
    return Dots(
        title=measure.name,
        groups=tuple((y, title) for (title, summary), y in zip(rows, heights, strict=True) if summary is None),
        dots=dots,
        ticks=tuple((place(tick), f"{tick:+g}" if tick else "0") for tick in ticks),
        zero=place(0),
        height=round(_TOP + _STEP * len(rows) + 28),
        alt=f"Differences in {measure.name}, points of per cent. " + " ".join(dot.words for dot in dots),
    )


def _span(found: PairedDifference) -> tuple[float, float, float]:
    """Mean and the ends of the interval, points of per cent."""
    ends = (found.mean if end is None else end for end in (found.low, found.high))
    low, high = (100 * end for end in ends)
    return 100 * found.mean, low, high


def _ticks(values: Sequence[float]) -> list[float]:
    room = max(0.05 * (max(values) - min(values)), 0.1)
    found = MaxNLocator(nbins=5).tick_values(min(values) - room, max(values) + room)
    return [round(float(tick), 9) for tick in found]


def _dot(
    title: str, summary: StudySummary, span: tuple[float, float, float], place: Callable[[float], float], y: float
) -> Dot:
    mean, low, high = span
    name = summary.cell.words
    told = f", {low:+.2f} to {high:+.2f}" if low < high else ""
    return Dot(
        name=name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…",
        x=place(mean),
        low=place(low),
        high=place(high),
        y=y,
        words=f"{title}, {name} less {summary.baseline.words}: {mean:+.2f}{told}.",
    )


_ALSO = 3
"""Backbones that the title names."""


def write_page(
    folder: StudyFolder,
    plan: StudyPlan,
    summaries: Sequence[StudySummary],
    others: Mapping[str, Sequence[StudySummary]],
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
        make_environment("cropzoo.evaluation.compare")
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


def _title(plan: StudyPlan) -> str:
    backbones = plan.study.backbones
    names = ", ".join(backbones) if len(backbones) <= _ALSO else f"{len(backbones)} backbones"
    return f"{names} on {plan.dataset}"


def _view(plan: StudyPlan, summaries: Sequence[StudySummary], table: Table) -> dict[str, Any]:
    """A table for the template: columns, and for each group its title and its (name, is it a baseline, cells)."""
    columns, rows = table
    named = len(heads(plan))
    cells = {summary.cell: row[named:] for summary, row in zip(summaries, rows, strict=True)}
    groups = {
        title: [(each.cell.words, each.cell == each.baseline, cells[each.cell]) for each in several]
        for title, several in grouped(summaries).items()
    }
    return {"columns": columns[named:], "groups": groups}
