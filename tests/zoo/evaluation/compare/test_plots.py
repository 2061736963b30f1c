"""Charts of a study."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from cropzoo.evaluation.compare.page import difference_charts, distance_charts, label_charts, season_charts
from cropzoo.evaluation.compare.results import collect_scores
from cropzoo.evaluation.compare.summary import summarize


@pytest.fixture
def study(plan, folder, finish):
    """`study(hits, **settings)`: summaries of runs with so many right ones of 100, by the name of their cell."""

    def make(hits, **settings):
        found = plan(**settings)
        for run in found.runs:
            right = hits.get(run.cell.name)
            if right is not None:
                right += run.seed
                finish(folder, run, [[right, 100 - right], [0, 100]], distance=([100, 50, 0], [right, 50, 0]))
        return summarize(found, collect_scores(found, folder))

    return make


def curve(chart, color="accent"):
    """(x, y) of each point of the first curve with this color."""
    path = re.search(rf'd="([^"]*)" style="fill: none;[^"]*stroke: var\(--{color}\); stroke-width: 2.2', chart.drawing)
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path[1])]


def texts(chart):
    """(x, y, text) of each text of a chart."""
    found = re.findall(r'<text [^>]*? x="(\S+)" y="(\S+)"[^>]*>([^<]*)', chart.drawing)
    return [(float(x), float(y), text) for x, y, text in found]


def dots(chart):
    """(x, y, tooltip) of each dot of a chart of differences."""
    found = re.findall(r'<title>([^<]*)</title>.*?<use [^>]*? x="(\S+)" y="(\S+)"', chart.drawing, re.S)
    return [(float(x), float(y), title) for title, x, y in found]


def test_a_dot_lies_where_its_difference_is(study):
    charts = difference_charts(study({"net-none": 50, "net-cscl": 60}, seeds=5))
    assert [chart.title for chart in charts] == ["mIoU", "boundary mIoU", "interior mIoU"]
    ((x, _, title),) = dots(charts[0])
    assert title.startswith("net, cscl minus none: +")
    value = float(title.removeprefix("net, cscl minus none: ").split(",")[0])
    ticks = {float(text): place for place, _, text in texts(charts[0]) if re.fullmatch(r"[+-]?[\d.]+", text)}
    assert x == pytest.approx(np.interp(value, list(ticks), list(ticks.values())), abs=1)
    (low, _), (high, _) = curve(charts[0])
    assert ticks[0] < low <= x <= high
    assert 160 <= min(ticks.values()) < max(ticks.values()) <= 416


def test_dots_stand_in_rows_below_their_backbone(study):
    hits = {f"{backbone}-{pretrain}": 50 for backbone in ("net", "other-net") for pretrain in ("none", "cscl", "mtm")}
    chart = difference_charts(study(hits, backbones=["net", "other-net"], pretrain=["none", "cscl", "mtm"]))[0]
    rows = sorted((y, text) for x, y, text in texts(chart) if re.fullmatch("[a-z-]+", text))
    assert [text for _, text in rows] == ["net", "cscl", "mtm", "other-net", "cscl", "mtm"]
    assert [after - before for (before, _), (after, _) in pairwise(rows)] == [pytest.approx(26, abs=1)] * 5
    heights = [y for _, y, _ in dots(chart)]
    assert [rows[place][0] - y for place, y in zip((1, 2, 4, 5), heights, strict=True)] == [pytest.approx(5, abs=1)] * 4
    assert rows[-1][0] < chart.height - 26


def test_a_long_name_is_cut_and_its_tooltip_is_not(study):
    variants = {"plain": {}, "a_very_long_name_of_it": {"cscl": {"window": 5}}}
    hits = {"net-none": 50, "net-cscl-a_very_long_name_of_it": 60}
    chart = difference_charts(study(hits, variants=variants))[0]
    assert "cscl, a_very_long_na…" in [text for _, _, text in texts(chart)]
    assert dots(chart)[0][2].startswith("net, cscl, a_very_long_name_of_it minus none: +")


def test_without_a_difference_there_is_no_chart(study):
    assert difference_charts(study({"net-none": 50})) == []


def test_accuracy_by_distance_is_a_line_a_cell_and_a_chart_a_backbone(study):
    hits = {"net-none": 50, "net-cscl": 60, "other-net-none": 70}
    charts = distance_charts(study(hits, backbones=["net", "other-net"]))
    assert [(chart.title, [line.name for line in chart.lines]) for chart in charts] == [
        ("net", ["none", "cscl"]), ("other-net", ["none"]),
    ]  # fmt: skip
    assert "none: from 50 at px 1 to 100 at px 2." in charts[0].alt
    assert "cscl: from 60 at px 1" in charts[0].alt
    assert distance_charts(study({}, backbones=["other-net"], pretrain=["mtm"])) == []


def test_scores_by_share_of_labels_name_the_shares(study):
    hits = {
        f"net-{pretrain}{labels}": 50 for pretrain in ("none", "cscl") for labels in ("-labels0.05", "-labels0.2", "")
    }
    (chart,) = label_charts(study(hits, label_fractions=[1, 0.05, 0.2]))
    assert [text for _, _, text in texts(chart)][:3] == ["5", "20", "100"]
    assert [len(curve(chart, line.color)) for line in chart.lines] == [3, 3]
    points = "58.3 at 5, 58.3 at 20, 58.3 at 100"
    assert chart.alt == f"net: mean IoU by label fraction, %. none: {points}; cscl: {points}."
    assert label_charts(study({"net-none": 50, "net-cscl": 50})) == []


def test_the_season_is_a_line_a_cell_that_ends_with_the_whole_series(study):
    early, whole = (
        study({"net-none": 50, "other-net-none": 40}, backbones=["net", "other-net"]),
        study({"net-none": 90}),
    )
    charts = season_charts(whole, {"06-15": early[:2], "07-15": whole})
    assert [chart.title for chart in charts] == ["net"]
    assert [text for _, _, text in texts(charts[0])][:3] == ["06-15", "07-15", "all"]
    assert len(charts[0].lines) == 1  # cscl has no score
    heights = [y for _, y in curve(charts[0])]
    assert heights[0] > heights[1] == heights[2]  # counted from the top
    other = [replace(each, seeds=(7,)) for each in early[:2]]
    assert len(curve(season_charts(whole, {"06-15": other, "07-15": whole})[0])) == 2
    assert season_charts(whole, {}) == []


def test_the_last_place_of_a_chart_is_always_named(study):
    whole = study({"net-none": 50})
    for count in (2, 7, 8, 12):
        days = {f"{1 + number:02}-15": whole for number in range(count)}
        (chart,) = season_charts(whole, days)
        names = [*days, "all"]
        ticks = [(x, text) for x, _, text in texts(chart) if text in names]
        assert ticks[-1] == (428, "all")
        assert len(ticks) <= 7
        places = {name: x for name, (x, _) in zip(names, curve(chart), strict=True)}
        assert [x for x, _ in ticks] == [pytest.approx(places[name], abs=0.1) for _, name in ticks]
