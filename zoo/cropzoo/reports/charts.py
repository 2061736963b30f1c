"""Charts as inline SVG: drawn by matplotlib, in the fonts and colors of the page around them."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

WIDTH, HEIGHT = 440, 250

COLORS = ("accent", "second", "blue", "purple", "gold", "red")
"""CSS variables of report.css that curves take in turn."""

_STYLES: dict[str, Any] = {"solid": "solid", "dashed": (0, (6, 4)), "dotted": (0, (2, 4))}
_VARIABLES = (*COLORS, "ink", "soft", "line")
_PLACEHOLDER = re.compile(r"(fill|stroke): #0000([0-9a-f]{2})")
_FEW_POINTS = 12
"""Largest number of points of a curve that are all marked; of more, only the last one is."""

_FEW_NAMES = 7
"""Names that fit below a chart."""

_CHARACTER = 8.5
"""Width of a digit of a tick label in pixels, in the widest of the fonts of pages."""

_NEAR = 24 / 366
"""Share of the width below which the labels of two ticks overlap."""


def css_color(variable: str) -> str:
    """A placeholder for a CSS variable of report.css, which matplotlib takes as a color and `to_svg` replaces."""
    return f"#0000{_VARIABLES.index(variable) + 1:02x}"


def chart_style() -> AbstractContextManager[None]:
    """Matplotlib's settings for charts of pages: open axes without a background, text in the font of the page."""
    soft, line = css_color("soft"), css_color("line")
    return mpl.rc_context(
        {
            "svg.fonttype": "none",
            "text.parse_math": False,
            "path.simplify": False,
            "lines.scale_dashes": False,
            "font.size": 13,
            "axes.labelcolor": soft,
            "axes.axisbelow": True,
            "axes.ymargin": 0,
            "axes.autolimit_mode": "round_numbers",
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": line,
            "grid.linewidth": 1,
            "xtick.bottom": False,
            "xtick.major.pad": 6,
            "ytick.left": False,
            "xtick.color": soft,
            "ytick.color": soft,
        }
    )


def new_axes(width: int, height: int, left: int, right: int, top: int, bottom: int) -> Any:
    """Axes of a new figure without spines; all lengths are in pixels of the chart."""
    figure = Figure(figsize=(width / 72, height / 72))  # matplotlib's SVG has 72 units an inch
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height))
    axes.spines[:].set_visible(False)
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    return axes


def to_svg(axes: Any, salt: str, titles: Mapping[str, str] = MappingProxyType({})) -> Markup:
    """What belongs into the `svg` element of a chart, the same bytes for the same chart.

    Args:
        axes: Axes of `new_axes`, drawn within `chart_style`.
        salt: Text that differs between the charts of a page. Ids are hashes of it.
        titles: Tooltips by the `gid` of the artists that have one.

    Returns:
        Elements that follow the page's color scheme and refer to nothing outside themselves.
    """
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt}):
        axes.figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    # The elements around the drawing would style the page and name a web address; nothing needs to be clipped.
    text = text[text.index("<g id=") : text.rindex("</g>") + len("</g>")]
    text = re.sub(r' clip-path="url\(#\w+\)"', "", text)
    for gid, title in titles.items():
        text = text.replace(f'<g id="{gid}">', f"<g><title>{escape(title)}</title>", 1)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # every chart of the page would have the same ids
    text = re.sub(r"(<text style=\"[^\"]*?)font-family: [^;\"]*; ?", r"\1", text)
    text = re.sub(r"(<text style=\"[^\"]*?)font: ([^;\"]*?)([\d.]+px) [^;\"]*", r"\1font-size: \3", text)  # before 3.10
    return Markup(_PLACEHOLDER.sub(lambda match: f"{match[1]}: var(--{_VARIABLES[int(match[2], 16) - 1]})", text))


@dataclass(frozen=True)
class ChartLine:
    """Legend entry of a curve: its name, the CSS variable of its color, and its CSS border style."""

    name: str
    color: str
    style: str


@dataclass(frozen=True)
class Chart:
    """A chart that `report_parts.html.j2` puts into a page.

    Args:
        title: Title.
        lines: Legend.
        drawing: Content of the `svg` element.
        alt: Text alternative.
        width: Width of the drawing's coordinate system.
        height: Height of the drawing's coordinate system.
    """

    title: str
    lines: tuple[ChartLine, ...]
    drawing: Markup
    alt: str
    width: int = WIDTH
    height: int = HEIGHT


def line_style(number: int) -> tuple[str, str]:
    """Color and border style of the curve with this number, different for the first 18 curves."""
    styles = list(_STYLES)
    return COLORS[number % len(COLORS)], styles[(number + number // len(COLORS)) % len(styles)]


def line_chart(
    title: str,
    steps: Sequence[int],
    curves: Mapping[str, Sequence[float | None]],
    axis: str = "epoch",
    names: Sequence[str] = (),
) -> Chart | None:
    """Chart of values by epoch or another integer; None if no value is a finite number.

    Args:
        title: Name of the quantity.
        steps: Increasing positions on the x axis, one for each value of a curve.
        curves: Values by the name of the curve. None and values that are not finite leave a gap.
        axis: Name of the x axis.
        names: Labels of the steps; the numbers themselves if empty. The last one is always shown.
    """
    kept = {name: np.array([_finite(value) for value in values]) for name, values in curves.items()}
    kept = {name: values for name, values in kept.items() if np.isfinite(values).any()}
    if not kept:
        return None
    lines = tuple(ChartLine(name, *line_style(number)) for number, name in enumerate(kept))
    alt = f"{title} by {axis}. " + " ".join(_describe(name, steps, values, axis) for name, values in kept.items())
    with chart_style():
        axes = new_axes(WIDTH, HEIGHT, left=50, right=12, top=14, bottom=40)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))  # first: the limits are its ticks
        for line, values in zip(lines, kept.values(), strict=True):
            known = np.flatnonzero(np.isfinite(values)).tolist()
            axes.plot(
                steps,
                values,
                color=css_color(line.color),
                linestyle=_STYLES[line.style],
                linewidth=2.2,
                marker="o",
                markersize=6,
                markeredgewidth=0,
                markevery=known if len(known) <= _FEW_POINTS else known[-1:],
                clip_on=False,
            )
        first, last = (steps[0], steps[-1]) if steps[-1] > steps[0] else (steps[0] - 1, steps[0] + 1)
        axes.set_xlim(first, last)
        if names:
            shown = range(len(names) - 1, -1, -math.ceil(len(names) / _FEW_NAMES))[::-1]
            axes.set_xticks([steps[place] for place in shown], [names[place] for place in shown])
        else:
            axes.set_xticks(_integer_ticks(first, last, steps))
        _label_values(axes)
        axes.set_xlabel(axis, loc="right", labelpad=1)
        return Chart(title, lines, to_svg(axes, f"{title} {alt}"), alt)


def _label_values(axes: Any) -> None:
    """Label the ticks of the y axis, and widen the margin where the labels need more room."""
    low, high = sorted(axes.get_ylim())
    rounding = 1e-9 * (high - low)  # the limits are ticks, apart from the last digits
    ticks = [tick for tick in axes.get_yticks() if low - rounding <= tick <= high + rounding]
    labels = [f"{tick:.6g}".replace("-", "\u2212") for tick in ticks]
    axes.set_yticks(ticks, labels)
    axes.set_ylim(low, high)
    left, right = 12 + _CHARACTER * max(map(len, labels)), axes.get_position().x1
    if left > axes.get_position().x0 * WIDTH:
        bottom, height = axes.get_position().y0, axes.get_position().height
        axes.set_position((left / WIDTH, bottom, right - left / WIDTH, height))


def _integer_ticks(first: int, last: int, steps: Sequence[int]) -> list[int]:
    """The first step, and integers that do not overlap with it."""
    ticks = [int(tick) for tick in MaxNLocator(nbins=6, integer=True).tick_values(first, last)]
    return [steps[0], *(tick for tick in ticks if tick <= steps[-1] and tick - steps[0] > _NEAR * (last - first))]


def _describe(name: str, steps: Sequence[int], values: NDArray[np.float64], axis: str) -> str:
    known = [(step, value) for step, value in zip(steps, values.tolist(), strict=True) if math.isfinite(value)]
    (start, first), (end, last) = known[0], known[-1]
    if start == end:
        return f"{name}: {first:.3g} at {axis} {start}."
    return f"{name}: from {first:.3g} at {axis} {start} to {last:.3g} at {axis} {end}."


def _finite(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan
