"""`cropzoo evaluate --until`: series that end early; those of the tests go from 2016-07-18 to 2016-09-06."""

from __future__ import annotations

import csv

import pytest

DAYS = ("--until", "08-20,07-20")


@pytest.fixture(scope="module")
def evaluate(command, run_folder):
    """`evaluate(*args)` scores the finished run."""

    def run(*args, **how):
        return command("evaluate", run_folder, "--device", "cpu", *args, folder=run_folder, **how)

    return run


@pytest.fixture(scope="module")
def season(evaluate):
    """Of the test split."""
    return evaluate(*DAYS, "--json").json


def test_json_has_the_scores_of_each_day_and_the_whole(season, evaluate):
    assert season["split"] == "test"
    assert [point["until"] for point in season["season"]] == ["07-20", "08-20", None]
    assert [point["dates_left"] for point in season["season"]] == pytest.approx([1 / 6, 4 / 6, 1])
    assert season["season"][-1]["scores"] == evaluate("--json").json
    assert len({str(point["scores"]["confusion"]) for point in season["season"]}) == 3
    assert {point["scores"]["pixels"] for point in season["season"]} == {2 * (24 * 24 - 2)}


def test_text_is_a_table(season, evaluate):
    ended = evaluate(*DAYS)
    rows = [line.split() for line in ended.out.splitlines()]
    assert rows[0] == ["test", "until", "dates", "left", "%", "OA", "mIoU", "macro", "F1"]
    numbers = [
        [f"{100 * value:.1f}" for value in (point["dates_left"], *map(point["scores"].get, ("oa", "miou", "macro_f1")))]
        for point in season["season"]
    ]
    assert rows[1:] == [["07-20", *numbers[0]], ["08-20", *numbers[1]], ["complete", "series", *numbers[2]]]
    assert "scoring until 07-20, 17 % of the dates" in ended.err


def test_the_plot_and_the_table_are_files(season, evaluate, tmp_path):
    ended = evaluate(*DAYS, "--plot", tmp_path / "a" / "s.png", "--csv", tmp_path / "s.csv")
    assert ended.code == 0, ended.err
    assert (tmp_path / "a" / "s.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert [float(row["oa"]) for row in rows] == [point["scores"]["oa"] for point in season["season"]]


def test_two_processes_score_a_season_as_one(season, evaluate):
    both = evaluate(*DAYS, "--json", processes=2)
    assert both.codes == [0, 0], both.err
    assert [point["scores"]["confusion"] for point in both.json["season"]] == [
        point["scores"]["confusion"] for point in season["season"]
    ]


def test_wrong_use_is_reported_before_anything_is_scored(evaluate):
    early = evaluate("--until", "07-01").error
    assert early.startswith("--until 07-01; sample 'field-6' has no date by then, its series goes from 2016-07-18 to")
    assert "it must be a day" in evaluate("--until", "mid June").error
    assert "in one form" in evaluate("--until", "08-01,2016-09-01").error
    assert "give the days with --until" in evaluate("--plot", "s.png").error
    assert "must end in .png" in evaluate(*DAYS, "--plot", "s.pdf").error
    assert "must end in .csv" in evaluate(*DAYS, "--csv", "s.xlsx").error
