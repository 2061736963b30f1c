"""Intervals against known values, and their coverage near 0."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from cropzoo.evaluation.area.estimate import Estimates, Sample
from cropzoo.evaluation.area.intervals import LOGIT, METHODS, NORMAL, confidence_intervals


def estimates(value: float, error: float, freedom: float = 1e9, effective: float = 100.0) -> Estimates:
    return Estimates(*(np.array(each) for each in (value, error, freedom, effective)))


def test_normal_intervals_are_the_published_ones() -> None:
    lower, upper = confidence_intervals(estimates(0.88, 0.0377), method=NORMAL)
    np.testing.assert_allclose([lower, upper], [0.88 - 1.96 * 0.0377, 0.88 + 1.96 * 0.0377], atol=1e-5)
    assert confidence_intervals(estimates(0.01, 0.02), method=NORMAL)[0] == 0
    assert confidence_intervals(estimates(0.99, 0.02), method=NORMAL)[1] == 1


def test_logit_intervals_equal_normal_ones_in_the_middle() -> None:
    found = [confidence_intervals(estimates(0.5, 0.02), method=method) for method in METHODS]
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_logit_intervals_lean_to_the_middle_and_stay_inside() -> None:
    for value in (0.01, 0.99):
        lower, upper = confidence_intervals(estimates(value, 0.01))
        assert 0 < lower < value < upper < 1
        assert (upper - value > value - lower) == (value < 0.5)


def test_few_degrees_of_freedom_widen_the_interval() -> None:
    many, few = (np.diff(confidence_intervals(estimates(0.1, 0.02, freedom))) for freedom in (1e9, 4))
    assert 1.3 < (few / many).item() < 1.6  # 2.78 against 1.96


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


def test_logit_intervals_cover_omissions_in_large_strata_where_normal_ones_do_not() -> None:
    """A class that the map lacks, with one or two points in each of three strata."""
    generator = np.random.default_rng(0)
    counts, areas, rates = np.array([80, 40, 40]), np.array([0.5, 0.4, 0.1]), np.array([0.01, 0.03, 0.02])
    strata, truth = np.repeat(np.arange(3), counts), areas @ rates
    covered = {LOGIT: 0, NORMAL: 0}
    for _ in range(1000):
        y = generator.random(len(strata)) < rates[strata]
        sample = Sample(strata, np.arange(160), 1 / counts[strata], np.ones(160), areas, np.zeros(3))
        found = sample.ratio(y, np.ones(160))
        for method in covered:
            lower, upper = confidence_intervals(found, method=method)
            covered[method] += int(lower <= truth <= upper)
    assert covered[NORMAL] < 910
    assert covered[LOGIT] > 940
