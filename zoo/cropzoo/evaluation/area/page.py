"""assessment.html: accuracy and areas of a map in one file that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from cropzoo.evaluation.area.design import PARCEL
from cropzoo.evaluation.area.intervals import NORMAL
from cropzoo.evaluation.area.record import FEW, AreaResult, Assessment, AssistedResult, Measure
from cropzoo.evaluation.area.statement import area_digits
from cropzoo.io import write_text
from cropzoo.reports.charts import WIDTH, Chart, ChartLine, chart_style, css_color, new_axes, to_svg
from cropzoo.reports.patches import safe_color
from cropzoo.reports.render import NONE, make_environment

_LEFT, _RIGHT, _ROW = 160, 24, 30
"""Margins and height of a row of the chart, in pixels."""

_LABEL_LENGTH = 21
"""Characters that fit into `_LEFT`."""


def write_page(path: Path, found: Assessment) -> None:
    """Write the page.

    Args:
        path: Path of the file, which is replaced.
        found: The assessment.

    Raises:
        CropzooError: The file cannot be written.
    """
    digits = area_digits(found.total.area_ha)
    environment = make_environment("cropzoo.evaluation.area")
    environment.filters |= {
        "hectares": lambda value: NONE if value is None else f"{value:,.{digits}f}",
        "share": lambda value: NONE if value is None else f"{100 * value:.1f}",
        "span": lambda measure, factor, places: _span(measure, factor, places),
    }
    html = environment.get_template("assessment.html.j2").render(
        found=found,
        digits=digits,
        level=f"{100 * found.level:g} %",
        units=f"{found.unit}s",
        is_parcel=found.unit == PARCEL,
        is_normal=found.method == NORMAL,
        few=FEW,
        chart=area_chart(found.total),
        colors=[safe_color(each.color) if each.color else "transparent" for each in found.total.classes],
        matrix=_matrix_rows(found.total),
        has_census=any(each.census_ha is not None for each in found.assisted),
        has_map=any(each.mapped_ha is not None for each in found.assisted),
        gains=[_gain(each) for each in found.assisted],
    )
    write_text(path, html)


def _span(measure: Measure, factor: float, digits: int) -> str:
    """Text of an interval."""
    if measure.lower is None or measure.upper is None:
        return NONE
    return f"{factor * measure.lower:,.{digits}f} to {factor * measure.upper:,.{digits}f}"


def _gain(found: AssistedResult) -> float | None:
    """How many times as many points would be needed without the auxiliary data; None if it is unknown."""
    direct, assisted = found.direct_ha.error, found.regression_ha.error
    return (direct / assisted) ** 2 if direct and assisted else None


def _matrix_rows(total: AreaResult) -> list[list[tuple[float, int, float]]]:
    """Share of the area, number of points and share of the row of each cell of the error matrix."""
    rows = []
    for shares, counts in zip(total.matrix, total.counts, strict=True):
        whole = sum(shares) or 1.0
        rows.append([(share, count, share / whole) for share, count in zip(shares, counts, strict=True)])
    return rows


def area_chart(total: AreaResult) -> Chart | None:
    """Mapped and estimated area of each class with its interval; None if nothing is estimated."""
    rows = [
        each for each in total.classes if each.area_ha.value is not None and (each.points_reference or each.mapped_ha)
    ]
    if not rows:
        return None
    rows.sort(key=lambda each: -(each.area_ha.value or 0))
    digits, height = area_digits(total.area_ha), _ROW * len(rows) + 52
    titles: dict[str, str] = {}
    with chart_style():
        axes = new_axes(WIDTH, height, left=_LEFT, right=_RIGHT, top=6, bottom=46)
        axes.grid(False, axis="y")
        axes.grid(True, axis="x")
        for row, each in enumerate(rows):
            lower, upper, value = (getattr(each.area_ha, name) for name in ("lower", "upper", "value"))
            axes.plot([lower, upper], [row, row], color=css_color("accent"), linewidth=2.2, solid_capstyle="butt")
            axes.plot(value, row, "o", color=css_color("accent"), markersize=9, markeredgewidth=0, gid=f"area-{row}")
            mapped = ""
            if each.mapped_ha is not None:
                axes.plot(
                    each.mapped_ha, row, "D", markerfacecolor="none", markeredgecolor=css_color("second"),
                    markeredgewidth=1.8, markersize=8, gid=f"mapped-{row}",
                )  # fmt: skip
                mapped = f"; mapped {each.mapped_ha:,.{digits}f} ha"
            titles[f"area-{row}"] = (
                f"{each.name}: estimated {value:,.{digits}f} ha ({_span(each.area_ha, 1, digits)}){mapped}."
            )
            titles[f"mapped-{row}"] = titles[f"area-{row}"]
        largest = max(max(each.area_ha.upper or 0, each.mapped_ha or 0) for each in rows)
        ticks = [tick for tick in MaxNLocator(nbins=4).tick_values(0, largest * 1.02) if tick >= 0]
        axes.set_xlim(0, largest * 1.02)
        ticks = [tick for tick in ticks if tick <= largest * 1.02]
        axes.set_xticks(ticks, [f"{tick:,.10g}" for tick in ticks])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), _shorten([each.name for each in rows]), color=css_color("ink"))
        axes.set_xlabel("hectares", loc="right", labelpad=1)
        lines = [ChartLine("estimated, with interval", "accent", "solid")]
        lines += [ChartLine("mapped", "second", "solid")] if any(each.mapped_ha is not None for each in rows) else []
        alt = " ".join(["Mapped and estimated areas.", *dict.fromkeys(titles.values())])
        return Chart("Mapped and estimated area", tuple(lines), to_svg(axes, alt, titles), alt, WIDTH, height)


def _shorten(names: Sequence[str]) -> list[str]:
    return [name if len(name) <= _LABEL_LENGTH else f"{name[: _LABEL_LENGTH - 1]}…" for name in names]
