"""study.html."""

from __future__ import annotations

import re

import pytest

from cropzoo.evaluation.compare.page import write_page
from cropzoo.evaluation.compare.results import collect_scores, collect_scorings
from cropzoo.evaluation.compare.summary import summarize

from ...inference.mapping.chromium import PROGRAM, Browser


@pytest.fixture
def page(plan, folder, finish):
    """`page(unfinished=0, failed={}, **study)`: the text of study.html."""

    def make(unfinished=0, failed=None, **settings):
        found = plan(**settings)
        for run in found.runs[: len(found.runs) - unfinished]:
            finish(folder, run, [[80 + run.seed, 20 - run.seed], [0, 100]])
        others = {name: summarize(found, scores) for name, scores in collect_scorings(found, folder).items()}
        write_page(folder, found, summarize(found, collect_scores(found, folder)), others, failed or {})
        return folder.page.read_text()

    return make


def text_of(html):
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.S).split())


def test_it_tells_scores_differences_and_the_study(page):
    html = page(seeds=3, unfinished=1)
    messages = text_of(html)
    assert "net on synthetic" in messages
    assert "5 of 6 runs are finished: 2 configurations, 3 seeds. Scored on the test split." in messages
    assert "90.5 ± 0.5" in messages or "90.2 ± 0.4" in messages
    assert "Budget total: all runs have the same number of epochs and steps" in messages
    assert "Percentage points above the baseline (none) of the same backbone and seed." in messages
    assert "Accuracy by distance to the parcel boundary" in messages
    assert "pretrain: - none - cscl" in messages
    assert "Mean IoU by label fraction" not in messages
    assert html.count("<figure") == 3 + 1
    assert re.findall(r'<tr class=marked><th scope="row">([^<]*)', html) == ["none"]


def test_backbones_are_compared(page):
    messages = text_of(page(backbones=["net", "other-net"]))
    assert "Differences to net Percentage points above net with the same pre-training and seed." in messages
    assert "Warning" not in messages
    assert "Differences to net" not in text_of(page())


def test_names_of_a_table_are_grouped_by_backbone(page):
    html = page(backbones=["net", "other-net"], variants={"plain": {}, "w5": {"cscl": {"window": 5}}})
    scores = html.split("<table>")[1].split("</table>")[0]
    assert re.findall(r'class="group"><span>([^<]*)|scope="row">([^<]*)', scores) == [
        ("net", ""), ("", "none"), ("", "cscl"), ("", "cscl, w5"),
        ("other-net", ""), ("", "none"), ("", "cscl"), ("", "cscl, w5"),
    ]  # fmt: skip
    assert "pre-training, variant" in scores
    rows = re.findall(r"<tr.*?</tr>", scores)
    assert {len(re.findall("<t[hd]", line)) for line in rows if "group" not in line} == {1 + 13}


def test_folds_and_labels_are_reported(page):
    messages = text_of(page(dataset="folded", folds=[1, 2], label_fractions=[0.5, 1], seeds=2))
    assert "2 seeds, 2 folds" in messages
    assert "the same backbone, label fraction, seed and fold." in messages
    assert "Mean IoU by label fraction" in messages
    assert "net, 50 % of the labels" in messages


def test_a_study_without_a_run_has_a_page(page):
    messages = text_of(page(unfinished=2))
    assert "0 of 2 runs are finished" in messages
    assert "Differences to the baseline" not in messages
    assert "Accuracy by distance" not in messages


def test_failures_are_reported_and_nothing_in_them_is_markup(page):
    html = page(unfinished=1, failed={"net-cscl-seed0": "no <script>alert(1)</script>\n\nline & more"})
    assert "Failures" in html
    assert "net-cscl-seed0: no &lt;script&gt;alert(1)&lt;/script&gt;</summary>" in html
    assert "<script" not in html
    assert "line &amp; more" in html


def test_it_needs_no_network(page):
    assert re.findall(r"src=|href=\"[^#]|url\(|@import|https?://", page(seeds=2)) == []


def test_other_scorings_have_a_table_and_days_a_chart(folder, page, study, other_scores):
    assert "Additional scorings" not in text_of(page(seeds=2))
    found, summaries = study(seeds=3, until=["06-15"], scorings={"fine": {"upsample": "nearest"}})
    write_page(folder, found, summaries, other_scores(found), {})
    html = folder.page.read_text()
    section = html.split('<h2 id="scorings">')[1].split("</section>")[0]
    assert re.findall(r'<th scope="col">([^<]*)', section) == ["until 06-15", "fine", "as trained"] * 2
    assert "100.0 ± 0.0" in section
    assert "-66.7" in section
    assert section.count("<figure") == 1
    assert "By the last day of the scored series" in section


def test_tables_fit_a_wide_page_and_scroll_in_a_narrow_one(page, folder, tmp_path):
    if PROGRAM is None:
        pytest.skip("there is no chromium")
    long = "a_variant_without_spaces_" * 4
    page(backbones=["net", "other-net"], seeds=6, variants={"plain": {}, long: {"cscl": {"window": 5}}})
    browser = Browser(tmp_path / "profile")
    boxes = "[...document.querySelectorAll('.scroll')].map(box => box.scrollWidth - box.clientWidth)"
    try:
        for width in (400, 1200):
            browser.open(folder.page, width=width, ready='document.readyState === "complete"')
            assert browser.value("document.documentElement.scrollWidth") <= width
            hidden = browser.value(boxes)
            assert len(hidden) == 3
            assert (max(hidden) <= 0) == (width == 1200)
    finally:
        browser.close()
