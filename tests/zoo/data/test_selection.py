"""Samples of some seasons and sites."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cropzoo import Sample, UsageError
from cropzoo.data.subsets import season_of, select_samples, site_of


def sample(name: str, *days: str, tile: str = "") -> Sample:
    dates = np.array(days, "datetime64[D]").astype(np.int32)
    place = {"crs": "EPSG:32631", "transform": [10, 0, 0, 0, -10, 0], "tile": tile} if tile else {}
    return Sample(np.zeros((len(days), 1, 2, 2)), dates, name=name, place=place)


SAMPLES = [
    sample("north/train", "2018-03-01", "2018-09-01"),
    sample("north/train", "2018-09-20", "2019-08-01"),
    sample("south/train", "2019-05-01"),
    sample("0001", "2019-05-01", tile="T31UFS 2019"),
]


def test_a_series_belongs_to_the_year_of_its_last_date() -> None:
    assert [season_of(each) for each in SAMPLES] == [2018, 2019, 2019, 2019]
    assert season_of(replace(SAMPLES[0], dates=np.array([-1], np.int32))) == 1969


def test_a_site_is_the_tile_or_the_name_s_beginning() -> None:
    assert [site_of(each) for each in SAMPLES] == ["north", "north", "south", "T31UFS 2019"]


@pytest.mark.parametrize(
    ("years", "sites", "kept"),
    [
        ((), (), [0, 1, 2, 3]),
        ((2019,), (), [1, 2, 3]),
        ((2018, 2020), (), [0]),
        ((), ("north", "T31*"), [0, 1, 3]),
        ((2019,), ("?orth",), [1]),
    ],
)
def test_what_is_kept(years: tuple[int, ...], sites: tuple[str, ...], kept: list[int]) -> None:
    chosen = select_samples(SAMPLES, "train", years, sites)
    assert [id(each) for each in chosen] == [id(SAMPLES[number]) for number in kept]
    assert [id(each) for each in chosen[-1:]] == [id(SAMPLES[kept[-1]])]


def test_nothing_left_is_reported_with_what_there_is() -> None:
    with pytest.raises(
        UsageError, match=r"split 'test' of years 2017 and sites north; it has no such sample.*north in"
    ):
        select_samples(SAMPLES, "test", (2017,), ("north",))
