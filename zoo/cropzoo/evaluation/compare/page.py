"""study.html: the results of a study in one file that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.ticker import MaxNLocator

from cropzoo import __version__
from cropzoo.config.schema import format_yaml
from cropzoo.evaluation.compare.folder import StudyFolder
from cropzoo.evaluation.compare.grid import StudyPlan
from cropzoo.evaluation.compare.summary import (
    MEASURES,
    Measure,
    PairedDifference,
    StudySummary,
    group_summaries,
    step_warnings,
)
from cropzoo.evaluation.compare.tables import (
    Table,
    backbone_table,
    baseline_labels,
    budget_text,
    difference_table,
    interval_text,
    key_columns,
    score_table,
    scoring_table,
)
from cropzoo.io import write_text
from cropzoo.reports.charts import WIDTH, Chart, chart_style, css_color, line_chart, new_axes, to_svg
from cropzoo.reports.render import make_environment

DRAWN = ("miou", "boundary_miou", "interior_miou")
"""Measures whose differences are drawn."""

_TITLE_NAMES = 3
"""Largest number of backbones that the title lists."""

_LEFT, _RIGHT, _ROW = 160, 24, 26
"""Margins and height of a row of a difference chart, in pixels."""

_LABEL_LENGTH = 21
"""Characters that fit into `_LEFT`."""


def write_page(
    folder: StudyFolder,
    plan: StudyPlan,
    summaries: Sequence[StudySummary],
    others: Mapping[str, Sequence[StudySummary]],
    failed: Mapping[str, str],
) -> None:
    """Write study.html.

    Args:
        folder: Folder of the study.
        plan: Plan of the study.
        summaries: Summaries of its cells.
        others: Summaries of the same cells by the name of an additional scoring.
        failed: Log excerpts of failed runs and errors of failed scorings, by name.

    Raises:
        CropzooError: If the file cannot be written.
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
            intervals=interval_text(),
            warnings=step_warnings(summaries),
            backbones=_table_view(
                plan, [each for each in summaries if each.reference_differences], backbone_table(plan, summaries)
            ),
            scores=_table_view(plan, summaries, score_table(plan, summaries)),
            differences=_table_view(plan, compared, difference_table(plan, summaries)),
            baselines=" or ".join(baseline_labels(summaries)),
            difference_charts=difference_charts(summaries),
            distances=distance_charts(summaries),
            of={"parcels": "parcel", "classes": "class"}[kinds.pop() or ""] if len(kinds) == 1 else "parcel or class",
            labels=label_charts(summaries),
            others=_table_view(plan, summaries, scoring_table(plan, summaries, others)) if others else None,
            other_differences=_table_view(plan, compared, scoring_table(plan, summaries, others, "differences")),
            season=season_charts(summaries, {day: others[f"until {day}"] for day in plan.study.until}),
            failed=failed,
            study=format_yaml(plan.study.to_mapping()),
            version=__version__,
        )
    )
    write_text(folder.page, html)


def _title(plan: StudyPlan) -> str:
    backbones = plan.study.backbones
    names = ", ".join(backbones) if len(backbones) <= _TITLE_NAMES else f"{len(backbones)} backbones"
    return f"{names} on {plan.dataset}"


def _table_view(plan: StudyPlan, summaries: Sequence[StudySummary], table: Table) -> dict[str, Any]:
    """A table for the template: columns, and rows of (name, is it a baseline, values) by the title of their group."""
    columns, rows = table
    keys = len(key_columns(plan))
    values = {summary.cell: row[keys:] for summary, row in zip(summaries, rows, strict=True)}
    groups = {
        title: [(each.cell.label, each.cell == each.baseline, values[each.cell]) for each in group]
        for title, group in group_summaries(summaries).items()
    }
    return {"columns": columns[keys:], "groups": groups}


def distance_charts(summaries: Sequence[StudySummary]) -> list[Chart]:
    """Percent correct by distance to a boundary: a chart per backbone and label fraction, a line per cell."""
    charts = []
    for title, group in group_summaries(summaries).items():
        curves = {each.cell.label: _accuracies(each) for each in group if each.distance is not None}
        longest = max(map(len, curves.values()), default=0)
        charts.append(line_chart(title, range(1, longest + 1), curves, axis="px") if longest else None)
    return [chart for chart in charts if chart is not None]


def _accuracies(summary: StudySummary) -> list[float | None]:
    assert summary.distance is not None  # the caller checks it
    return [100 * correct / pixels if pixels else None for correct, pixels in summary.distance.T.tolist()]


def label_charts(summaries: Sequence[StudySummary]) -> list[Chart]:
    """Mean IoU (percent) by label fraction: a chart per backbone, a line per cell; none if there is one fraction."""
    fractions = sorted({summary.cell.label_fraction for summary in summaries})
    charts = []
    for backbone in dict.fromkeys(summary.cell.backbone for summary in summaries):
        curves: dict[str, list[float | None]] = {}
        for summary in summaries:
            if summary.cell.backbone == backbone and "miou" in summary.scores:
                curve = curves.setdefault(summary.cell.label, [None] * len(fractions))
                curve[fractions.index(summary.cell.label_fraction)] = _miou(summary)
        charts.append(
            _miou_chart(backbone, [f"{100 * fraction:g}" for fraction in fractions], curves, "label fraction, %")
        )
    return [chart for chart in charts if chart is not None and len(fractions) > 1]


def season_charts(summaries: Sequence[StudySummary], days: Mapping[str, Sequence[StudySummary]]) -> list[Chart]:
    """Mean IoU (percent) by the last day of the series: a chart per backbone and label fraction, a line per cell.

    Args:
        summaries: Summaries of the complete series.
        days: Summaries of series that end on a day, by the day. Those of other seeds than the complete series' leave a
            gap.
    """
    if not days:
        return []
    by_day = [{each.cell: each for each in group} for group in (*days.values(), summaries)]
    charts = []
    for title, group in group_summaries(summaries).items():
        curves = {
            each.cell.label: [
                _miou(cells[each.cell]) if cells[each.cell].seeds == each.seeds else None for cells in by_day
            ]
            for each in group
        }
        charts.append(_miou_chart(title, [*days, "all"], curves, "last day"))
    return [chart for chart in charts if chart is not None]


def _miou(summary: StudySummary) -> float | None:
    """Mean IoU in percent."""
    return 100 * summary.scores["miou"].mean if "miou" in summary.scores else None


def _miou_chart(
    title: str, names: Sequence[str], curves: Mapping[str, Sequence[float | None]], axis: str
) -> Chart | None:
    """A chart of mean IoU over named steps, with every value in its text alternative."""
    chart = line_chart(title, range(1, len(names) + 1), curves, axis=axis, names=names)
    if chart is None:
        return None
    points = {
        line: ", ".join(
            f"{value:.1f} at {name}" for name, value in zip(names, values, strict=True) if value is not None
        )
        for line, values in curves.items()
    }
    text = "; ".join(f"{line}: {values}" for line, values in points.items() if values)
    return replace(chart, alt=f"{title}: mean IoU by {axis}. {text}.")


def difference_charts(summaries: Sequence[StudySummary]) -> list[Chart]:
    """Differences to the baseline in percentage points with their intervals, a chart for each measure of `DRAWN`."""
    groups = group_summaries(summaries)
    charts = [_difference_chart(measure, groups) for measure in MEASURES if measure.key in DRAWN]
    return [chart for chart in charts if chart is not None]


def _difference_chart(measure: Measure, groups: Mapping[str, Sequence[StudySummary]]) -> Chart | None:
    rows: list[tuple[str, StudySummary | None]] = []  # a row with a group's title, then one for each of its cells
    for title, summaries in groups.items():
        compared = [summary for summary in summaries if measure.key in summary.differences]
        rows += [(title, None), *((title, summary) for summary in compared)] if compared else []
    if not rows:
        return None
    height = _ROW * len(rows) + 36
    spans = [None if summary is None else _span(summary.differences[measure.key]) for _, summary in rows]
    ticks = _difference_ticks([0.0, *(value for span in spans if span for value in span)])
    titles: dict[str, str] = {}
    with chart_style():
        axes = new_axes(WIDTH, height, left=_LEFT, right=_RIGHT, top=6, bottom=30)
        axes.grid(False, axis="y")
        axes.grid(True, axis="x")
        axes.axvline(0, color=css_color("ink"), linewidth=1.2)
        labels = []
        for row, ((title, summary), span) in enumerate(zip(rows, spans, strict=True)):
            labels.append("" if summary is None else _shorten(summary.cell.label))
            if summary is None or span is None:
                heading = {"transform": axes.get_yaxis_transform(), "va": "center_baseline", "fontweight": "bold"}
                axes.text((10 - _LEFT) / (WIDTH - _LEFT - _RIGHT), row, title, color=css_color("ink"), **heading)
                continue
            mean, low, high = span
            axes.plot([low, high], [row, row], color=css_color("accent"), linewidth=2.2, solid_capstyle="butt")
            axes.plot(mean, row, "o", color=css_color("accent"), markersize=10, markeredgewidth=0, gid=f"dot-{row}")
            interval = f", {low:+.2f} to {high:+.2f}" if low < high else ""
            titles[f"dot-{row}"] = (
                f"{title}, {summary.cell.label} minus {summary.baseline.label}: {mean:+.2f}{interval}."
            )
        axes.set_xlim(ticks[0], ticks[-1])
        axes.set_xticks(ticks, [f"{tick:+g}" if tick else "0" for tick in ticks])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), labels, color=css_color("ink"))
        alt = " ".join([f"Differences in {measure.name}, percentage points.", *titles.values()])
        return Chart(measure.name, (), to_svg(axes, alt, titles), alt, WIDTH, height)


def _span(difference: PairedDifference) -> tuple[float, float, float]:
    """Mean and the ends of the interval, in percentage points; three equal values without an interval."""
    low, high = (difference.mean if end is None else end for end in (difference.low, difference.high))
    return 100 * difference.mean, 100 * low, 100 * high


def _difference_ticks(values: Sequence[float]) -> list[float]:
    room = max(0.05 * (max(values) - min(values)), 0.1)
    ticks = MaxNLocator(nbins=4).tick_values(min(values) - room, max(values) + room)
    return [round(float(tick), 9) for tick in ticks]


def _shorten(label: str) -> str:
    return label if len(label) <= _LABEL_LENGTH else label[: _LABEL_LENGTH - 1] + "…"
