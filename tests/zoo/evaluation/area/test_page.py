"""assessment.html: texts, escaping, and that it loads nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cropzoo.evaluation.area.assessment import AssessmentOptions, assess
from cropzoo.evaluation.area.census import CensusFile
from cropzoo.evaluation.area.page import area_chart, write_page
from cropzoo.evaluation.area.record import Assessment, Measure

from ...inference.mapping.chromium import PROGRAM, Browser
from .assessed import Study


@pytest.fixture
def found(study: Study) -> Assessment:
    """An assessment with regions and a census, a label that the map lacks, and points without a label."""
    study.relabel({0: "hops & <peas>", 1: "", 2: ""})
    options = AssessmentOptions(
        by=study.write_regions({"west": (0, 0, 40, 60)}), census=CensusFile(study.write_parcels(wrong=[1]), "crop")
    )
    return assess(study.map, study.points, options)


@pytest.fixture
def page(tmp_path: Path) -> Callable[[Assessment], str]:
    """`page(assessment)`: the text of the page."""

    def make(found: Assessment) -> str:
        write_page(tmp_path / "page.html", found)
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    return make


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", " ", html, flags=re.DOTALL).split())


def test_it_says_what_was_found(found: Assessment, page: Callable[[Assessment], str]) -> None:
    html = page(found)
    text = text_of(html)
    overall = found.total.overall
    assert f"{100 * (overall.value or 0):.1f} %" in text
    assert f"95 % confidence interval {100 * (overall.lower or 0):.1f} to {100 * (overall.upper or 0):.1f} %" in text
    assert "Of 120 that were drawn." in text
    assert "mapped, not estimated" in text
    assert "2 of 120 pixels (1.7 %) have no label." in text
    for heading in (
        "Paragraph for a report",
        "Areas",
        "Model-assisted areas",
        "Error matrix",
        "Regions",
        "Sample",
        "Method",
    ):
        assert f">{heading}</h2>" in html
    assert "hops &amp; &lt;peas&gt;" in html
    assert "<peas>" not in html
    assert found.map_sha256 in text
    assert "..." not in text
    assert not re.search(r"[.)][A-Z]", text.replace("doi:10.", "")), "a space is missing between sentences"


def test_parts_without_content_are_left_out(study: Study, page: Callable[[Assessment], str]) -> None:
    html = page(assess(study.map, study.points))
    for heading in ("Limitations", "Regions", "Model-assisted areas"):
        assert f">{heading}</h2>" not in html
    assert "All drawn pixels have a label." in html


def test_normal_intervals_are_named(study: Study, page: Callable[[Assessment], str]) -> None:
    text = text_of(page(assess(study.map, study.points, AssessmentOptions(method="normal", level=0.9))))
    assert "plus and minus a quantile of the normal distribution" in text
    assert "90 % interval" in text


def test_chart_shows_mapped_and_estimated_areas(found: Assessment) -> None:
    chart = area_chart(found.total)
    assert chart is not None
    grass = found.total.classes[0]
    assert f"grass: estimated {grass.area_ha.value:,.1f} ha" in chart.alt
    assert f"mapped {grass.mapped_ha:,.1f} ha" in chart.alt
    assert [line.name for line in chart.lines] == ["estimated, with interval", "mapped"]
    unknown = tuple(replace(each, mapped_ha=None) for each in found.total.classes)
    chart = area_chart(replace(found.total, classes=unknown))
    assert chart is not None
    assert "mapped" not in chart.alt.removeprefix("Mapped and")
    nothing = tuple(replace(each, area_ha=Measure()) for each in found.total.classes)
    assert area_chart(replace(found.total, classes=nothing)) is None


@pytest.mark.skipif(PROGRAM is None, reason="needs a browser")
def test_it_loads_nothing_in_a_browser(found: Assessment, page: Callable[[Assessment], str], tmp_path: Path) -> None:
    page(found)
    browser = Browser(tmp_path / "profile")
    try:
        for width in (400, 1200):
            browser.open(tmp_path / "page.html", width=width, ready='document.readyState === "complete"')
            assert browser.value("document.documentElement.scrollWidth") <= width
        assert {each.partition(":")[0] for each in browser.asked} <= {"file", "about", "data"}
        assert browser.complaints == []
    finally:
        browser.close()
