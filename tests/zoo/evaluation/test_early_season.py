"""Series that end early, and their scores by a model that must not see what comes later."""

from __future__ import annotations

import csv
import datetime
import logging
from types import SimpleNamespace

import numpy as np
import pytest

from cropzoo.config.recipe import Recipe
from cropzoo.data.datamodule import DataModule, ModelInputs
from cropzoo.data.dates import EPOCH, count_until, parse_day, parse_days
from cropzoo.data.sample import Sample
from cropzoo.data.subsets import TruncatedSamples
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation import early_season as season
from cropzoo.evaluation.early_season import SeasonPoint, score_season, write_season_table


def days(*texts):
    return np.array([(datetime.date.fromisoformat(text) - EPOCH).days for text in texts], np.int32)


PASTIS = days("2018-09-20", "2018-11-02", "2019-06-14", "2019-06-15", "2019-10-20", "2019-11-05")
SUMMER = days("2020-04-01", "2020-06-15", "2020-09-01")


def sample(dates, name="a"):
    series = np.arange(len(dates), dtype=np.int16).reshape(-1, 1, 1, 1) * np.ones((1, 1, 2, 2), np.int16)
    return Sample(series, dates, clear=np.ones((len(dates), 2, 2), np.bool_), name=name)


@pytest.mark.parametrize(
    ("dates", "day", "count"),
    [
        (PASTIS, "06-15", 4),
        (PASTIS, "11-01", 5),
        (PASTIS, "12-24", 6),
        (PASTIS, "01-01", 2),
        (PASTIS, "2018-12-24", 2),
        (PASTIS, "2018-09-19", 0),
        (SUMMER, "06-14", 1),
        (SUMMER, "06-15", 2),
        (SUMMER, "2019-06-15", 0),
        (days("2019-02-28", "2019-03-01"), "02-29", 1),
    ],
)
def test_a_day_without_a_year_is_of_the_year_in_which_the_series_ends(dates, day, count):
    assert count_until(dates, parse_day("--until", day)) == count


def test_later_dates_are_gone_and_the_rest_is_as_it_was():
    whole = [sample(PASTIS), sample(SUMMER)]
    early = TruncatedSamples(whole, parse_day("--until", "06-15"))
    assert [each.dates.tolist() for each in early] == [PASTIS[:4].tolist(), SUMMER[:2].tolist()]
    assert early[1].series[:, 0, 0, 0].tolist() == [0, 1]
    assert len(early[0].clear) == 4
    assert TruncatedSamples(whole, parse_day("--until", "12-24"))[0] is whole[0]


@pytest.fixture
def scored(monkeypatch):
    """Scoring that records how many dates each sample has."""
    lengths = []

    def score(model, data, split, runtime):
        lengths.append([len(each.dates) for each in data.split(split)])
        return {"oa": sum(lengths[-1])}

    monkeypatch.setattr(season, "evaluate", score)
    return lengths


def data_of(samples):
    dataset = SimpleNamespace(bands=("a",), scale=1.0, mean=(0.0,), std=(1.0,), classes=(), split=lambda name: samples)
    recipe = Recipe.from_mapping({"backbone": "a", "dataset": "b"}, "a test")
    return DataModule(dataset, recipe, ModelInputs("doy"))


def test_each_day_then_the_whole_series(scored, caplog):
    reported = []
    data = data_of([sample(PASTIS), sample(SUMMER)])
    with caplog.at_level(logging.WARNING, "cropzoo"):
        points = score_season(None, data, "test", parse_days("--until", "12-24,06-15,06-14"), None, reported.append)
    assert [(point.until, point.dates_left) for point in points] == [
        ("06-14", 4 / 9), ("06-15", 6 / 9), ("12-24", 1.0), (None, 1.0)
    ]  # fmt: skip
    assert [point.scores["oa"] for point in points] == [4, 6, 9, 9]
    assert scored == [[6, 3], [3, 1], [4, 2]]  # what leaves every date is not scored again
    assert reported == [
        "scoring complete series", "scoring until 06-14, 44 % of the dates", "scoring until 06-15, 67 % of the dates"
    ]  # fmt: skip
    assert caplog.messages == ["--until 12-24: no series has a date after it; its scores are those of complete series"]


def test_a_day_before_a_series_names_it_and_its_start(scored):
    data = data_of([sample(PASTIS, "north"), sample(SUMMER, "south")])
    with pytest.raises(UsageError, match=r"--until 03-01; sample 'south' has no date by then, .* from 2020-04-01 to"):
        score_season(None, data, "test", parse_days("--until", "03-01,06-15"), None, print)
    assert scored == []
    with pytest.raises(CropzooError, match="split 'test' of the dataset is empty"):
        score_season(None, data_of([]), "test", parse_days("--until", "03-01"), None, print)


def test_the_table_has_a_row_for_each_day(tmp_path):
    scores = {"oa": 0.5, "miou": 0.25, "macro_f1": 0.4, "ece": 0.1, "boundary": {"miou": 0.2}, "interior": None}
    points = [SeasonPoint("06-15", 0.5, {**scores, "parcels": {"accuracy": 0.75}})]
    points.append(SeasonPoint(None, 1.0, {**scores, "parcels": None}))
    write_season_table(tmp_path / "s.csv", points)
    first, last = csv.DictReader((tmp_path / "s.csv").open())
    assert first == {
        "until": "06-15", "dates_left": "0.5", "oa": "0.5", "miou": "0.25", "macro_f1": "0.4", "boundary_miou": "0.2",
        "interior_miou": "", "parcel_accuracy": "0.75", "ece": "0.1",
    }  # fmt: skip
    assert (last["until"], last["dates_left"], last["parcel_accuracy"]) == ("", "1.0", "")
