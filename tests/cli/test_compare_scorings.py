"""`cropzoo compare`: additional scorings of finished runs; series of the tests go from 2016-07-18 to 2016-09-06."""

from __future__ import annotations

import csv
import json

import pytest

NAME = "pixelwise-none-seed0"
STUDY = """
backbones: [pixelwise]
epochs: 1
dataset: plots
recipe: {image_size: 12, batch_size: 4}
scorings: {finer: {upsample: bilinear}, only until August: {until: 08-01}}
"""


@pytest.fixture(scope="module")
def compare(command, tmp_path_factory):
    """`compare(*args)` asks for the study; what is made stays for the next call."""
    folder = tmp_path_factory.mktemp("scorings")
    (folder / "study.yaml").write_text(STUDY)
    return lambda *args: command("compare", "study.yaml", "--device", "cpu", *args, folder=folder)


@pytest.fixture(scope="module")
def first(compare):
    """The study, of which one scoring can't be made: no labels are finer."""
    return compare("--until", "08-20,07-20", "--json")


def test_every_run_is_scored_in_every_way(first, command):
    rows = json.loads(first.out)["scorings"]
    assert [row["scoring"] for row in rows] == ["until 07-20", "until 08-20", "finer", "only until August"]
    assert [row["runs"] for row in rows] == [1, 1, 0, 1]
    words = ("evaluate", f"study/runs/{NAME}", "--until", "07-20,08-01,08-20", "--device", "cpu", "--json")
    *days, _ = command(*words, folder=first.folder).json["season"]
    for row, point in zip((rows[0], rows[3], rows[1]), days, strict=True):
        assert row["miou"] == pytest.approx(point["scores"]["miou"], abs=1e-6)
        assert row["boundary_oa"] == pytest.approx(point["scores"]["boundary"]["oa"], abs=1e-6)


def test_a_scoring_that_fails_is_reported_and_stops_no_other(first):
    assert first.code == 1
    assert f"{NAME}: scoring finer failed: scoring with upsample 'bilinear'" in first.err
    assert first.err.splitlines()[-1] == (
        "error: 1 additional scoring failed, see above; fix the cause and repeat the command"
    )


def test_json_and_page_have_what_failed(first):
    (messages,) = json.loads(first.out)["failed_scorings"].items()
    assert messages[0] == f"{NAME}, finer"
    assert "nothing to upsample" in messages[1]
    page = (first.folder / "study/study.html").read_text()
    assert f"<summary>{NAME}, finer: " in page


def test_a_dry_run_counts_them(first, compare):
    listed = compare("--until", "08-20,07-20", "--dry-run")
    assert listed.err.splitlines()[-1] == "0 of 1 runs would be trained, 1 of 4 additional scorings computed"


def test_what_is_scored_is_not_scored_again(first, compare):
    again = compare("--until", "07-20")
    begun = [line for line in again.err.splitlines() if ": scoring" in line and "failed" not in line]
    assert begun == [f"{NAME}: scoring finer"]
    table = again.out.split("mIoU of the same weights by additional scorings")[1]
    assert "until" in table
    assert "as trained" in " ".join(table.split())
    assert "study/scorings.csv" in " ".join(again.out.split())
    rows = list(csv.DictReader((first.folder / "study/scorings.csv").open()))
    assert [row["scoring"] for row in rows] == ["until 07-20", "finer", "only until August"]
    assert "Additional scorings" in (first.folder / "study/study.html").read_text()


def test_a_day_before_the_series_is_reported_for_each_run(compare):
    messages = compare("--until", "07-01")
    assert messages.code == 1
    assert f"{NAME}: scoring until 07-01 failed: --until 07-01; sample 'field-6' has no date by then" in messages.err


def test_a_study_without_them_leaves_no_old_table(compare, command, first):
    assert (first.folder / "study/scorings.csv").exists()
    (first.folder / "plain.yaml").write_text(STUDY.partition("scorings:")[0])
    assert command("compare", "plain.yaml", "--device", "cpu", folder=first.folder).code == 0
    assert not (first.folder / "study/scorings.csv").exists()
    assert (first.folder / f"study/scorings/until 08-20/{NAME}.json").exists()


def test_days_that_cannot_be(compare):
    assert "it must be a day" in compare("--until", "mid June").error
    assert "in one form" in compare("--until", "08-01,2016-09-01").error
