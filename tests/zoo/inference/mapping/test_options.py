"""What `cropzoo predict` can be asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cropzoo.errors import CropzooError, UsageError
from cropzoo.inference.mapping.options import MapOptions


def days(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[D]").astype(np.int32)


def season(start: str, end: str, *texts: str) -> list[bool]:
    options = MapOptions(("*.tif",), season_start=start, season_end=end)
    return [bool(inside) for inside in options.in_season(days(*texts))]


def test_a_season_with_its_year() -> None:
    assert season("2019-03-01", "2019-06-30", "2019-02-28", "2019-03-01", "2019-06-30", "2019-07-01") == [0, 1, 1, 0]
    assert season("2019-03-01", "", "2018-03-01", "2019-03-01", "2025-01-01") == [0, 1, 1]
    assert season("", "2019-03-01", "2018-03-01", "2019-03-01", "2025-01-01") == [1, 1, 0]


def test_a_season_without_its_year() -> None:
    assert season("03-01", "06-30", "2019-02-28", "2019-03-01", "2019-06-30", "2019-07-01") == [0, 1, 1, 0]
    assert season("", "", "2018-08-31", "2025-09-01") == [1, 1]


def test_a_season_across_the_new_year() -> None:
    assert season("09-01", "06-30", "2018-08-31", "2018-09-01", "2019-06-30", "2019-07-01") == [0, 1, 1, 0]


def test_one_day_begins_or_ends_a_season_of_a_year() -> None:
    assert season("09-01", "", "2018-09-01", "2019-08-31") == [1, 1]
    assert season("", "08-31", "2018-09-01", "2019-08-31") == [1, 1]


def test_images_of_several_seasons_need_its_year() -> None:
    with pytest.raises(UsageError, match=r"2018-03-01 to 2018-06-30, 2019-03-01 to 2019-06-30; give days with"):
        season("03-01", "06-30", "2018-04-01", "2019-04-01")


def test_a_season_without_images_tells_of_which_days_they_are() -> None:
    with pytest.raises(CropzooError, match="the images are from 2019-01-01 to 2019-02-01"):
        season("2020-03-01", "", "2019-01-01", "2019-02-01")
    with pytest.raises(CropzooError, match="the images are from 2019-01-01 to 2019-02-01"):
        season("03-01", "04-01", "2019-01-01", "2019-02-01")


def test_29_february_is_a_day() -> None:
    assert season("02-29", "12-31", "2019-02-27", "2019-02-28", "2019-03-01") == [0, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": ()}, "--images"),
        ({"season_start": "2019-13-01"}, "--season-start is '2019-13-01'; it must be a day"),
        ({"season_end": "June"}, "--season-end is 'June'"),
        ({"season_start": "2019-06-01", "season_end": "2019-03-01"}, "--season-end is '2019-03-01'.*after 2019-06-01"),
        ({"season_start": "2019-06-01", "season_end": "09-01"}, "in the form of --season-start 2019-06-01"),
        ({"max_dates": 0}, "--max-dates is 0; it must be 1 or more"),
        ({"tile_size": 0}, "--tile-size is 0"),
        ({"overlap": -1}, "--overlap is -1"),
        ({"min_clear": 1.5}, "--min-clear is 1.5"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MapOptions(**{"images": ("*.tif",), **options})
