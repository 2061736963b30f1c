"""Days as users write them."""

from __future__ import annotations

import datetime

import pytest

from cropzoo.data.dates import Day, parse_day, parse_days
from cropzoo.errors import UsageError


def test_with_and_without_a_year():
    assert parse_day("--until", "2019-03-01") == Day(2019, 3, 1)
    assert parse_day("--until", "03-01") == Day(0, 3, 1)


def test_the_last_day_of_february():
    assert parse_day("--until", "02-29").in_year(2020) == datetime.date(2020, 2, 29)
    assert parse_day("--until", "02-29").in_year(2019) == datetime.date(2019, 2, 28)


@pytest.mark.parametrize("text", ["", "6-15", "06-31", "15.06.", "2019-02-29", "June", "2019-06"])
def test_what_is_no_day(text):
    with pytest.raises(UsageError, match=r"--until is '.*'; it must be a day such as 2019-03-01 or 03-01"):
        parse_day("--until", text)


def test_several_days_are_sorted_and_each_stands_once():
    assert list(parse_days("--until", "07-15, 06-15,07-15,")) == ["06-15", "07-15"]
    assert list(parse_days("--until", "2020-01-01,2019-12-31")) == ["2019-12-31", "2020-01-01"]


@pytest.mark.parametrize(("text", "message"), [(" , ", "it contains no day"), ("06-15,2019-07-15", "in one form")])
def test_lists_that_make_no_curve(text, message):
    with pytest.raises(UsageError, match=message):
        parse_days("--until", text)
