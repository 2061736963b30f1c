"""The curve of a season as a picture."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest

from cropzoo.evaluation.early_season import SeasonPoint, save_season_curve

GREEN = (0x23, 0x70, 0x4C)


def point(until, oa):
    return SeasonPoint(until, 0.5, {"oa": oa, "miou": 0.2, "macro_f1": 0.3})


def picture_of(path, points):
    save_season_curve(path, points, "a run on test")
    return (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)


def heights(picture):
    """Rows of the picture with the color of overall accuracy, above the legend."""
    return np.flatnonzero((picture[: int(0.8 * len(picture))] == GREEN).all(axis=-1).any(axis=1))


@pytest.mark.parametrize("days", [("06-15",), ("02-29", "06-15", "07-15"), ("2019-12-31", "2020-01-01")])
def test_any_number_of_days(tmp_path, days):
    picture = picture_of(tmp_path / "s.png", [*(point(day, 0.6) for day in days), point(None, 0.8)])
    assert picture.shape[1] == 1152
    assert len(heights(picture)) > 3


def test_a_better_end_lies_higher(tmp_path):
    low, high = ([point("06-15", 0.5), point("07-15", end), point(None, 0.9)] for end in (0.5, 0.9))
    flat, rising = (heights(picture_of(tmp_path / f"{end}.png", points)) for end, points in ((0, low), (1, high)))
    assert len(rising) > 3 * len(flat)
