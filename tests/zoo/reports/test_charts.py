"""Charts as inline SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from cropzoo.reports.charts import Chart, line_chart, line_style

PATH = re.compile(r'd="([^"]*)" style="fill: none;[^"]*stroke: var\(--(\w+)\); stroke-width: 2.2')


def curves(chart: Chart) -> dict[str, list[tuple[str, float, float]]]:
    """(M or L, x, y) of each point of each curve, by color."""
    return {
        color: [(command, float(x), float(y)) for command, x, y in re.findall(r"([ML]) (\S+) (\S+)", path)]
        for path, color in PATH.findall(chart.drawing)
    }


def texts(chart: Chart) -> list[str]:
    return re.findall(r"<text [^>]*>([^<]*)</text>", chart.drawing)


def test_chart_runs_from_left_to_right_and_leaves_gaps() -> None:
    chart = line_chart(
        "Loss", [1, 2, 3, 4], {"a": [4.0, 3.0, 2.0, 1.0], "b": [1.0, None, float("nan"), 2.0], "c": [None] * 4}
    )
    assert chart is not None
    assert [line.name for line in chart.lines] == ["a", "b"]
    down, gap = curves(chart).values()
    assert [x for _, x, _ in down] == sorted(x for _, x, _ in down)
    assert [y for _, _, y in down] == sorted(y for _, _, y in down)
    assert [command for command, _, _ in down] == ["M", "L", "L", "L"]
    assert [command for command, _, _ in gap] == ["M", "M"]
    assert texts(chart)[:5] == ["1", "2", "3", "4", "epoch"]
    assert chart.alt == "Loss by epoch. a: from 4 at epoch 1 to 1 at epoch 4. b: from 1 at epoch 1 to 2 at epoch 4."


@pytest.mark.parametrize("values", [[0.5], [0.0], [-3.0, -3.0], [1e-9, 2e-9], [0.125, 0.375], [1e6, 1.0]])
def test_chart_ticks_differ(values: list[float]) -> None:
    chart = line_chart("Loss", list(range(1, len(values) + 1)), {"a": values})
    assert chart is not None
    ticks = re.findall(r'<text style="[^"]*text-anchor: end[^"]*" [^>]*>([^<]*)', chart.drawing)[1:]  # after "epoch"
    assert len(set(ticks)) == len(ticks) >= 3
    assert all(0 <= y <= chart.height for points in curves(chart).values() for _, _, y in points)


@pytest.mark.parametrize(
    "values", [[-0.00025, -0.00075], [-1e-5, 2e-5], [-12345.0, 1.0], [0.0, 1.0], [-1.25e-9, 3e-9], [-5e7, 5e7]]
)
def test_tick_labels_are_not_clipped(values: list[float]) -> None:
    chart = line_chart("Loss", [1, 2], {"a": values})
    assert chart is not None
    found = re.findall(r'<text style="[^"]*text-anchor: end[^"]*" x="(\S+)"[^>]*>([^<]*)', chart.drawing)[1:]
    assert any("\u2212" in label for _, label in found) == (min(values) < 0)
    for x, label in found:
        assert float(x) >= 8 * len(label), label
        float(label.replace("\u2212", "-"))
    down = curves(chart)["accent"]
    assert down[0][1] > max(float(x) for x, _ in found)
    assert down[-1][1] == pytest.approx(chart.width - 12)


@pytest.mark.parametrize("values", [[-0.0101, -0.0137, -0.0163], [0.3, 0.7], [1.1e-5, -7e-6], [-0.3, -0.1]])
def test_first_and_last_tick_are_at_the_ends_of_the_axis(values: list[float]) -> None:
    chart = line_chart("Loss", list(range(1, len(values) + 1)), {"a": values})
    assert chart is not None
    found = re.findall(r'<text style="[^"]*text-anchor: end[^"]*"[^>]*>([^<]*)', chart.drawing)[1:]
    ticks = [float(label.replace("\u2212", "-")) for label in found]
    assert min(ticks) <= min(values) < max(values) <= max(ticks)


def test_no_chart_of_nothing() -> None:
    assert line_chart("Loss", [1], {"a": [None], "b": [float("inf")]}) is None


def test_a_chart_takes_colors_and_font_from_its_page() -> None:
    chart = line_chart("Loss", [1, 2], {"a": [1.0, 2.0]})
    assert chart is not None
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", chart.drawing)) == {
        "none",
        *(f"var(--{name})" for name in ("accent", "soft", "line")),
    }
    assert "font-family" not in chart.drawing
    assert "font-size: 13px" in chart.drawing


def test_a_chart_is_the_same_every_time_and_shares_no_id_with_another() -> None:
    first, again, other = (line_chart("Loss", [1, 2], {name: [1.0, 2.0]}) for name in "aab")
    assert first == again
    assert first is not None
    assert other is not None
    ids = [set(re.findall(r'id="([^"]*)"', chart.drawing)) for chart in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_names_in_a_chart_are_text() -> None:
    chart = line_chart("Loss", [1, 2], {"a": [1.0, 2.0]}, names=["<b>$x$</b>", "&amp;"])
    assert chart is not None
    page = ET.fromstring(f'<svg xmlns:xlink="x">{chart.drawing}</svg>')
    assert [element.text for element in page.iter("text")][:2] == ["<b>$x$</b>", "&amp;"]


def test_the_last_of_many_points_is_marked() -> None:
    for count, marked in ((12, 12), (13, 1)):
        chart = line_chart("Loss", list(range(count)), {"a": [float(value) for value in range(count)]})
        assert chart is not None
        assert chart.drawing.count("<use") == marked


def test_every_curve_has_a_style_of_its_own() -> None:
    """Enough for the cells of one backbone in the largest study of docs/experiments."""
    assert len({line_style(number) for number in range(18)}) == 18
