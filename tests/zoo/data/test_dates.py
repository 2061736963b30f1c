"""Dates by counting on a calendar; which dates of a series are used."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from cropzoo.data.dates import (
    DateOptions,
    date_warnings,
    encode_dates,
    end_early,
    limit_dates,
    select_clear_dates,
    temporal_dropout,
)
from cropzoo.data.sample import Sample

EPOCH = datetime.date(1970, 1, 1)


def days(*dates):
    return np.array([(date - EPOCH).days for date in dates], np.int32)


def sample(count, clear=None):
    series = np.arange(count, dtype=np.int16).reshape(-1, 1, 1, 1) * np.ones((1, 2, 4, 4), np.int16)
    return Sample(series, np.arange(count, dtype=np.int32) * 5, clear=clear)


def test_day_of_year_is_the_calendar_s_for_every_day_of_eight_years():
    all_days = [datetime.date(2016, 1, 1) + datetime.timedelta(days=n) for n in range(8 * 366)]
    expected = [date.timetuple().tm_yday for date in all_days]
    assert encode_dates(days(*all_days), "doy").tolist() == expected
    assert max(expected) == 366


def test_days_count_from_the_september_before_the_first_date_for_every_start():
    for number in range(3 * 366):
        start = datetime.date(2018, 1, 1) + datetime.timedelta(days=number)
        later = start + datetime.timedelta(days=430)
        september = datetime.date(start.year if start.month >= 9 else start.year - 1, 9, 1)
        expected = [(start - september).days, (later - september).days]
        assert encode_dates(days(start, later), "days").tolist() == expected


def test_the_reference_does_not_depend_on_which_dates_are_used():
    series = days(datetime.date(2018, 9, 20), datetime.date(2019, 3, 1), datetime.date(2019, 10, 3))
    whole = encode_dates(series, "days")
    assert encode_dates(series[2:], "days", first=int(series[0])).tolist() == whole[2:].tolist()
    assert encode_dates(series[2:], "days").tolist() != whole[2:].tolist()


def test_a_network_without_dates_gets_zeros_and_all_are_int64():
    dates = days(datetime.date(2020, 12, 31))
    assert encode_dates(dates, "none").tolist() == [0]
    assert {encode_dates(dates, kind).dtype for kind in ("none", "doy", "days")} == {np.dtype(np.int64)}


def test_cloudy_dates_are_left_out_but_the_clearest_stays():
    clear = np.zeros((3, 4, 4), np.bool_)
    clear[1, :2] = True
    clear[2, 0] = True
    assert select_clear_dates(sample(3, clear), 0.5).dates.tolist() == [5]
    assert select_clear_dates(sample(3, clear), 0.9).dates.tolist() == [5]
    assert select_clear_dates(sample(3, clear), 0.25).dates.tolist() == [5, 10]
    assert len(select_clear_dates(sample(3, clear), 0.0).dates) == 3
    assert len(select_clear_dates(sample(3), 0.9).dates) == 3


@pytest.mark.parametrize("sampling", ["uniform", "random", "clearest"])
@pytest.mark.parametrize("count", [1, 2, 7, 9])
def test_at_most_so_many_increasing_dates(sampling, count):
    rng = np.random.default_rng(0)
    clear = rng.random((10, 4, 4)) < 0.5
    taken = limit_dates(sample(10, clear), count, sampling, rng)
    assert len(taken.dates) == count
    assert (np.diff(taken.dates) > 0).all()
    assert (taken.series[:, 0, 0, 0] * 5 == taken.dates).all()
    assert len(taken.clear) == count


def test_a_series_that_fits_is_left_alone():
    whole = sample(4)
    for count in (None, 4, 9):
        assert limit_dates(whole, count, "random", np.random.default_rng(0)) is whole


def test_sampling_is_what_its_name_says():
    rng = np.random.default_rng(0)
    clear = np.zeros((5, 4, 4), np.bool_)
    clear[1], clear[3, :2] = True, True
    assert limit_dates(sample(5, clear), 2, "clearest", rng).dates.tolist() == [5, 15]
    assert limit_dates(sample(9), 3, "uniform", rng).dates.tolist() == [0, 20, 40]
    drawn = {tuple(limit_dates(sample(4), 2, "random", rng).dates) for _ in range(200)}
    assert len(drawn) == 6


def test_dropping_leaves_out_its_share_and_keeps_one():
    rng = np.random.default_rng(0)
    left = [len(temporal_dropout(sample(20), 0.3, rng).dates) for _ in range(300)]
    assert np.mean(left) == pytest.approx(14, abs=0.5)
    assert {len(temporal_dropout(sample(2), 0.99, rng).dates) for _ in range(100)} >= {1}
    assert {len(temporal_dropout(sample(1), 0.9, rng).dates) for _ in range(20)} == {1}
    kept = {int(temporal_dropout(sample(3), 0.999, rng).dates[0]) for _ in range(100)}
    assert kept == {0, 5, 10}
    assert len(temporal_dropout(sample(20), 0.0, rng).dates) == 20


@pytest.mark.parametrize(("count", "left"), [(1, {1}), (2, {1}), (3, {1, 2}), (4, {2, 3}), (9, {3, 4, 5, 6, 7, 8})])
def test_a_series_that_ends_early_keeps_its_start_and_a_third(count, left):
    rng = np.random.default_rng(0)
    drawn = [end_early(sample(count), 1.0, rng) for _ in range(200)]
    assert {len(each.dates) for each in drawn} == left
    for each in drawn:
        assert each.dates.tolist() == [5 * position for position in range(len(each.dates))]
        assert (each.series[:, 0, 0, 0] * 5 == each.dates).all()


def test_the_share_of_series_that_end_early():
    rng = np.random.default_rng(0)
    early = [len(end_early(sample(20), 0.3, rng).dates) < 20 for _ in range(1000)]
    assert np.mean(early) == pytest.approx(0.3, abs=0.04)
    state = rng.bit_generator.state
    whole = sample(20)
    assert end_early(whole, 0.0, rng) is whole
    assert rng.bit_generator.state == state  # the other draws of a run without it stay as they were


def test_dates_that_are_left_out_or_padded_are_reported():
    splits = {"train": [sample(10), sample(3)], "val": [sample(3)]}
    assert date_warnings(splits, DateOptions()) == []
    assert date_warnings(splits, DateOptions(max_dates=10)) == []
    [line] = date_warnings(splits, DateOptions(max_dates=4))
    assert line == (
        "train: 1 of 2 series have more than 4 dates (up to 10); 4 of them are used, sampled evenly over the series"
    )
    assert date_warnings(splits, DateOptions(length=5, sampling="random")) == [
        "train: 1 of 2 series have more than 5 dates (up to 10); 5 of them are used, "
        "sampled at random in training and evenly in evaluation",
        "train: 1 of 2 series are padded to 5 dates",
        "val: 1 of 1 series are padded to 5 dates",
    ]
    assert "without a cloud mask" in date_warnings(splits, DateOptions(max_dates=4, sampling="clearest"))[0]
