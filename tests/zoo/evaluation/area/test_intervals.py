"""Intervals against known values, and their coverage near 0."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from cropzoo.evaluation.area.estimate import Estimates, Sample
from cropzoo.evaluation.area.intervals import METHODS, NORMAL, WILSON, confidence_intervals


def estimates(value: float, error: float, freedom: float = 1e9, effective: float = 100.0) -> Estimates:
    return Estimates(*(np.array(each) for each in (value, error, freedom, effective)))


def test_normal_intervals_are_the_published_ones() -> None:
    lower, upper = confidence_intervals(estimates(0.88, 0.0377), method=NORMAL)
    np.testing.assert_allclose([lower, upper], [0.88 - 1.96 * 0.0377, 0.88 + 1.96 * 0.0377], atol=1e-5)
    assert confidence_intervals(estimates(0.01, 0.02), method=NORMAL)[0] == 0
    assert confidence_intervals(estimates(0.99, 0.02), method=NORMAL)[1] == 1


def test_wilson_intervals_equal_normal_ones_in_the_middle() -> None:
    found = [confidence_intervals(estimates(0.5, 0.02), method=method) for method in METHODS]
    np.testing.assert_allclose(found[0], found[1], atol=5e-4)


def test_wilson_intervals_lean_to_the_middle_and_stay_inside() -> None:
    for value in (0.01, 0.99):
        lower, upper = confidence_intervals(estimates(value, 0.01))
        assert 0 < lower < value < upper < 1
        assert (upper - value > value - lower) == (value < 0.5)


def test_few_degrees_of_freedom_widen_the_interval() -> None:
    many, few = (np.diff(confidence_intervals(estimates(0.1, 0.02, freedom))) for freedom in (1e9, 4))
    assert 1.25 < (few / many).item() < 1.6  # a quantile of up to 2.78 instead of 1.96


def test_a_simple_random_sample_has_the_interval_of_wilson() -> None:
    """Also of one success in 600, whose standard error has two degrees of freedom."""
    for successes in (1, 20, 300):
        y = np.arange(600) < successes
        sample = Sample(np.zeros(600, int), np.arange(600), np.ones(600), np.ones(600), np.ones(1), np.zeros(1))
        found = confidence_intervals(sample.ratio(y, np.ones(600)))
        expected = binomtest(successes, 600).proportion_ci(method="wilson")
        np.testing.assert_allclose(found, [expected.low, expected.high], rtol=0.02)


def test_level_widens_the_interval() -> None:
    widths = [np.diff(confidence_intervals(estimates(0.3, 0.02), level)).item() for level in (0.8, 0.9, 0.95, 0.99)]
    assert widths == sorted(widths)
    assert abs(widths[2] / widths[1] - 1.96 / 1.645) < 0.01


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("successes", [0, 60])
def test_without_an_error_in_the_sample_the_interval_is_wilsons(method: str, successes: int) -> None:
    found = confidence_intervals(estimates(successes / 60, 0.0, effective=60.0), method=method)
    expected = binomtest(successes, 60).proportion_ci(method="wilson")
    np.testing.assert_allclose(found, [expected.low, expected.high], atol=1e-12)


def test_all_units_drawn_leave_no_uncertainty() -> None:
    np.testing.assert_allclose(confidence_intervals(estimates(0.4, 0.0, effective=np.inf)), [0.4, 0.4])


def test_missing_estimates_have_no_interval() -> None:
    assert np.isnan(confidence_intervals(estimates(np.nan, np.nan))).all()


def test_wilson_intervals_cover_omissions_in_large_strata_where_normal_ones_do_not() -> None:
    """A class of 2.8 % of the area, two thirds of it omitted in three strata with one to three such points each."""
    generator = np.random.default_rng(0)
    counts, areas = np.array([150, 100, 60, 50]), np.array([0.5, 0.3, 0.18, 0.02])
    rates = np.array([0.01, 0.02, 0.02, 0.7])
    strata, truth = np.repeat(np.arange(4), counts), areas @ rates
    covered = {WILSON: 0, NORMAL: 0}
    for _ in range(1000):
        y = generator.random(len(strata)) < rates[strata]
        sample = Sample(strata, np.arange(360), 1 / counts[strata], np.ones(360), areas, np.zeros(4))
        found = sample.ratio(y, np.ones(360))
        for method in covered:
            lower, upper = confidence_intervals(found, method=method)
            covered[method] += int(lower <= truth <= upper)
    assert covered[NORMAL] < 925
    assert covered[WILSON] > 950
