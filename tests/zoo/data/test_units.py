"""Units are distinguished where all bands differ by one large factor, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cropzoo.data.sample import Sample
from cropzoo.data.units import (
    check_scale,
    check_units,
    compare_pixel_sizes,
    find_mixed_unit,
    find_unit,
    sample_medians,
    sample_pixel_size,
)

STORED = np.array([600.0, 900.0, 3000.0])
"""Digital numbers of red, green and near infrared."""
MEAN = (0.06, 0.08, 0.3)


@pytest.mark.parametrize(("trained", "unit"), [(1e-4, 1.0), (1e-4, 1e-2), (1.0, 1e-4), (1.0, 1e-2), (1e-2, 1.0)])
@pytest.mark.parametrize("season", [(1, 1, 1), (3, 0.4, 0.5), (0.3, 0.5, 2)])
def test_other_units_are_found_in_any_season(trained: float, unit: float, season: tuple[float, ...]) -> None:
    assert find_unit(STORED * 1e-4 / unit * season, MEAN, trained) == pytest.approx(unit)


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        (STORED, MEAN),
        (STORED * 8, MEAN),  # clouds
        (STORED / 8, MEAN),  # shadow
        (STORED * (1, 1, 1e-4), MEAN),  # one band is wrong
        (STORED * (30, 1e3, 1e5), MEAN),  # no unit in common
        (np.zeros(3), MEAN),
        (np.full(3, np.nan), MEAN),
        (-STORED, MEAN),
        (STORED / 1e4, (-10.0, -15.0, -12.0)),  # decibels
    ],
)
def test_other_differences_are_no_unit(values: Any, mean: tuple[float, ...]) -> None:
    assert find_unit(values, mean, 1e-4) is None


@pytest.mark.parametrize("unit", [1e-4, 1e4])
@pytest.mark.parametrize(("dates", "other"), [(2, 0), (3, 1), (4, 2), (9, 8)])
def test_a_date_of_another_unit(unit: float, dates: int, other: int) -> None:
    medians = STORED * np.linspace(0.5, 2, dates)[:, None]
    assert find_mixed_unit(medians) is None
    medians[other] *= unit
    found = find_mixed_unit(medians)
    assert found == other or (dates == 2 and found is not None)


@pytest.mark.parametrize("factor", [(40, 40, 40), (1e-4, 1e-4, 1), (300, 200, 100), (-1, -1, -1), (0, 0, 0)])
def test_weather_is_no_unit(factor: tuple[float, ...]) -> None:
    medians = np.tile(STORED, (5, 1))
    medians[3] *= factor
    assert find_mixed_unit(medians) is None
    assert find_mixed_unit(np.array([[0.5], [1e-5], [0.4]])) is None  # an index


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sample_of_two_units_is_reported(dtype: Any) -> None:
    series = np.broadcast_to(STORED[:, None, None], (4, 3, 16, 16)).astype(dtype)
    clear = np.ones((4, 16, 16), np.bool_)
    dates = np.arange(18_700, 18_704, dtype=np.int32)
    assert check_units(Sample(series, dates, clear=clear)) == ""
    series[2] *= 1e-4
    assert "field: the values of 2021-03-16 have another unit" in check_units(Sample(series, dates, name="field"))
    clear[2] = False
    assert check_units(Sample(series, dates, clear=clear)) == ""


@pytest.mark.parametrize(
    ("mean", "scale", "likely"),
    [((6e-6, 3e-5), 1e-4, "dataset.scale=1 "), ((600.0, 3000.0), 1.0, "dataset.scale=0.0001 "), (MEAN[:2], 1e-4, "")],
)
def test_a_scale_that_gives_no_reflectance_is_reported(mean: tuple[float, ...], scale: float, likely: str) -> None:
    line = check_scale(("B04", "b8"), mean, scale)
    assert bool(line) == bool(likely)
    assert likely in line
    assert check_scale(("VV", "VH"), mean, scale) == ""


@pytest.mark.parametrize(
    ("found", "trained", "differs"),
    [(60, 10, True), (3, 10, True), (10.4, 10, False), (10, 10, False), (None, 10, False), (60, None, False)],
)
def test_pixel_sizes(found: float | None, trained: float | None, differs: bool) -> None:
    line = compare_pixel_sizes(found, trained)
    assert bool(line) == differs
    assert not differs or f"pixels of {found} m, the training data {trained} m" in line


def sample(**fields: Any) -> Sample:
    series = np.arange(3 * 2 * 20 * 30).reshape(3, 2, 20, 30).astype(np.uint16)
    return Sample(series, np.arange(3, dtype=np.int32), **fields)


@pytest.mark.parametrize(
    ("crs", "transform", "meters"),
    [
        ("EPSG:32631", [10, 0, 500_000, 0, -10, 5_600_000], 10),
        ("EPSG:32631", [10, 0, 500_000, 0, 10, 5_600_000], 10),  # south up
        ("EPSG:4326", [1e-4, 0, 5.0, 0, -1e-4, 60.0], (1e-4 * 111_400) * 0.7075),
        ("EPSG:2229", [30, 0, 6_500_000, 0, -30, 1_800_000], 30 * 0.3048),  # feet
    ],
)
def test_pixel_size_in_meters(crs: str, transform: list[float], meters: float) -> None:
    place = {"crs": crs, "transform": [float(value) for value in transform]}
    assert sample_pixel_size(sample(place=place)) == pytest.approx(meters, rel=0.01)


@pytest.mark.parametrize("place", [{}, {"tile": "x"}, {"crs": "EPSG:999999", "transform": [1.0, 0, 0, 0, 1.0, 0]}])
def test_a_place_without_a_crs_has_no_pixel_size(place: dict[str, Any]) -> None:
    assert sample_pixel_size(sample(place=place)) is None


def test_medians_are_of_clear_pixels() -> None:
    clear = np.zeros((3, 20, 30), bool)
    clear[1] = True
    made = sample(clear=clear)
    made.series[1, 0], made.series[1, 1] = 7, 9
    medians = sample_medians(made)
    assert medians is not None
    assert medians.tolist() == [7, 9]
    clear[1, 5:] = False
    assert sample_medians(made) is None
