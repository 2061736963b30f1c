"""Estimators against the examples of the publications, exhaustive samples and simulations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from cropzoo.evaluation.area.estimate import Estimates, Sample, estimate_classes

Z = 1.96


def make_sample(
    strata: NDArray[np.int64], units: list[int], *, areas: NDArray[np.float64] | None = None, corrected: bool = True
) -> Sample:
    """A stratified sample of units of area 1, or of the given areas and known totals by stratum."""
    n = np.bincount(strata, minlength=len(units))
    totals = np.array(units, np.float64)
    return Sample(
        strata=strata,
        clusters=np.arange(len(strata)),
        weights=(totals / n)[strata],
        areas=np.ones(len(strata)) if areas is None else areas,
        stratum_areas=totals,
        fractions=n / totals if corrected else np.zeros(len(units)),
    )


def expand(matrix: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Class in the map (rows) and in the reference (columns) of each unit of a matrix of counts."""
    counts = np.array(matrix)
    rows, columns = np.indices(counts.shape)
    return np.repeat(rows.ravel(), counts.ravel()), np.repeat(columns.ravel(), counts.ravel())


def half_widths(estimates: Estimates) -> NDArray[np.float64]:
    return Z * estimates.error


def test_olofsson_2014_example() -> None:
    """Tables 8 and 9 and section 5.2 of Olofsson et al. (2014): deforestation, forest gain, stable forest, non-forest.

    The paper neglects the finite population correction, and rounds before it multiplies: 1 ha of tolerance.
    """
    mapped, reference = expand([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    units = [200_000, 150_000, 3_200_000, 6_450_000]
    found = estimate_classes(make_sample(mapped, units, corrected=False), mapped, reference, 4)
    published = [
        [0.0176, 0.0000, 0.0013, 0.0011],
        [0.0000, 0.0110, 0.0016, 0.0024],
        [0.0019, 0.0000, 0.2967, 0.0213],
        [0.0040, 0.0020, 0.0179, 0.6212],
    ]
    np.testing.assert_allclose(found.matrix.value, published, atol=5.1e-5)
    np.testing.assert_array_equal(found.overall.value.round(2), 0.95)
    np.testing.assert_array_equal(half_widths(found.overall).round(2), 0.02)
    np.testing.assert_array_equal(found.users.value.round(2), [0.88, 0.73, 0.93, 0.96])
    np.testing.assert_array_equal(half_widths(found.users).round(2), [0.07, 0.10, 0.04, 0.02])
    np.testing.assert_array_equal(found.producers.value.round(2), [0.75, 0.85, 0.93, 0.96])
    # The paper prints 0.23 and 0.01 for the second and the last; its equation 7 gives these, as does R's mapaccuracy.
    np.testing.assert_array_equal(half_widths(found.producers).round(2), [0.21, 0.25, 0.03, 0.02])
    hectares = sum(units) * 0.09
    np.testing.assert_array_equal((hectares * found.share.value).round(), [21_158, 11_686, 285_770, 581_386])
    np.testing.assert_allclose(hectares * half_widths(found.share), [6_158, 3_756, 15_510, 16_282], atol=1)


def test_olofsson_2013_example() -> None:
    """Example 1 of Olofsson et al. (2013), with the counts and results of R's mapaccuracy 0.1.2."""
    mapped, reference = expand([[97, 0, 3], [3, 279, 18], [2, 1, 97]])
    found = estimate_classes(make_sample(mapped, [22_353, 1_122_543, 610_228]), mapped, reference, 3)
    np.testing.assert_array_equal(found.overall.value.round(4), 0.9444)
    np.testing.assert_array_equal(found.overall.error.round(4), 0.0112)
    np.testing.assert_array_equal(found.users.value.round(4), [0.97, 0.93, 0.97])
    np.testing.assert_array_equal(found.producers.value.round(4), [0.4806, 0.9942, 0.8969])


def test_stehman_2014_example() -> None:
    """Strata that differ from the map's classes: the example of Stehman (2014), and R's mapaccuracy::stehman2014."""
    strata = np.repeat(np.arange(4), 10)
    mapped = np.array(["ABCD".index(each) for each in "AAAAAAABBBABBBBBBBBBBBCCCCCCBBDDDDDDDDDD"])
    reference = np.array(["ABCD".index(each) for each in "AAAAACBABCABBBBBAABBCCCCCDDBBADDDDDDDCCB"])
    found = estimate_classes(make_sample(strata, [40_000, 30_000, 20_000, 10_000]), mapped, reference, 4)
    np.testing.assert_allclose(found.share.value, [0.35, 0.34, 0.20, 0.11])
    np.testing.assert_allclose(found.share.error[[0, 2]], [0.0822478, 0.06427977], rtol=1e-6)
    np.testing.assert_allclose([found.overall.value, found.overall.error], [0.63, 0.08464219], rtol=1e-6)
    np.testing.assert_allclose([found.users.value[1], found.users.error[1]], [0.5744681, 0.1247822], rtol=1e-6)
    np.testing.assert_allclose([found.producers.value[1], found.producers.error[1]], [0.7941176, 0.1165479], rtol=1e-6)
    np.testing.assert_array_equal(found.users.value.round(4), [0.7419, 0.5745, 0.5, 0.7])
    np.testing.assert_array_equal(found.producers.value.round(4), [0.6571, 0.7941, 0.3, 0.6364])
    np.testing.assert_allclose(found.matrix.value[1, 2], 0.08)


def test_estimates_are_unbiased_over_all_samples() -> None:
    """Every sample of 2 of 5 and 3 of 6 units: the mean estimate is the truth, the mean variance the true variance."""
    strata = np.repeat([0, 1], [5, 6])
    y = np.array([1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0])
    values, variances = [], []
    for first in itertools.combinations(range(5), 2):
        for second in itertools.combinations(range(5, 11), 3):
            drawn = np.array([*first, *second])
            found = make_sample(strata[drawn], [5, 6]).ratio(y[drawn], np.ones(5))
            values.append(float(found.value))
            variances.append(float(found.error) ** 2)
    np.testing.assert_allclose(np.mean(values), y.mean())
    np.testing.assert_allclose(np.mean(variances), np.var(values))


def test_all_units_have_no_error() -> None:
    mapped, reference = expand([[3, 1], [2, 4]])
    found = estimate_classes(make_sample(mapped, [4, 6]), mapped, reference, 2)
    np.testing.assert_allclose(found.matrix.value, np.array([[3, 1], [2, 4]]) / 10)
    for each in (found.matrix, found.overall, found.users, found.producers, found.f1, found.share):
        np.testing.assert_array_equal(each.error, 0)
    np.testing.assert_allclose(found.f1.value, [2 * 3 / (4 + 5), 2 * 4 / (6 + 5)])


def test_units_count_with_their_area() -> None:
    """Parcels of 1 to 9 ha: totals are those of the areas, calibrated to the known area of the stratum."""
    areas, y = np.array([1.0, 9.0, 2.0, 4.0]), np.array([1, 0, 1, 0])
    sample = make_sample(np.zeros(4, int), [160], areas=areas)
    np.testing.assert_allclose(sample.total(y), 160 * 3 / 16)
    residuals = areas * (y - 3 / 16) * 160 / 16
    np.testing.assert_allclose(sample.total_error(y)[0], np.sqrt((1 - 4 / 160) * 4 / 3 * (residuals**2).sum()))


def test_calibrated_areas_cover_the_truth() -> None:
    """Simulation with units of unequal area: the standard error is that of the repetitions."""
    generator = np.random.default_rng(1)
    strata = np.repeat([0, 1], 500)
    areas = generator.gamma(2.0, 1.0, 1000)
    y = generator.random(1000) < np.where(strata == 1, 0.8, 0.1) * np.clip(areas / 2, 0.5, 1.2)
    known = np.bincount(strata, areas)
    values, errors = [], []
    for _ in range(400):
        drawn = np.concatenate([generator.choice(np.flatnonzero(strata == each), 60, False) for each in (0, 1)])
        sample = Sample(
            strata[drawn], np.arange(120), np.full(120, 500 / 60), areas[drawn], known, np.full(2, 60 / 500)
        )
        values.append(float(sample.total(y[drawn])))
        errors.append(float(sample.total_error(y[drawn])[0]))
    assert abs(np.mean(values) / areas[y].sum() - 1) < 0.01
    assert abs(np.mean(errors) / np.std(values) - 1) < 0.08


def test_blocks_are_ultimate_clusters() -> None:
    """Two-stage simulation: points of one block are alike, so that points as clusters would understate the error."""
    generator = np.random.default_rng(2)
    blocks = np.repeat(np.arange(200), generator.integers(20, 60, 200))
    y = generator.random(len(blocks)) < generator.beta(0.6, 0.6, 200)[blocks]
    sizes = np.bincount(blocks)
    values, clustered, naive = [], [], []
    for _ in range(400):
        taken = generator.choice(200, 25, False)
        drawn = np.concatenate([generator.choice(np.flatnonzero(blocks == each), 8, False) for each in taken])
        weights = 200 / 25 * sizes[blocks[drawn]] / 8
        zero, area = np.zeros(len(drawn), int), np.array([float(len(blocks))])
        sample = Sample(zero, blocks[drawn], weights, np.ones(len(drawn)), area, np.zeros(1))
        single = Sample(zero, np.arange(len(drawn)), weights, np.ones(len(drawn)), area, np.zeros(1))
        assert sample.degrees_of_freedom == 24
        found = sample.ratio(y[drawn], np.ones(len(drawn)))
        values.append(float(found.value))
        clustered.append(float(found.error))
        naive.append(float(single.ratio(y[drawn], np.ones(len(drawn))).error))
    assert abs(np.mean(values) - y.mean()) < 0.01
    assert 0.95 < np.mean(clustered) / np.std(values) < 1.2  # without the correction for 25 of 200 blocks: 1.07
    assert np.mean(naive) < 0.6 * np.std(values)


def test_parts_of_the_map_use_all_units() -> None:
    """A region that crosses the strata: zeros outside it are part of its variance."""
    mapped, reference = expand([[20, 5], [6, 30]])
    sample = make_sample(mapped, [1000, 3000])
    inside = np.arange(len(mapped)) % 3 == 0
    found = estimate_classes(sample, mapped, reference, 2, inside)
    expected = sample.ratio((reference == 1) & inside, inside)
    np.testing.assert_allclose([found.share.value[1], found.share.error[1]], [expected.value, expected.error])
    np.testing.assert_allclose(found.matrix.value.sum(), 1)
    assert found.points == inside.sum()
    assert found.reference.sum() == found.mapped.sum() == inside.sum()


def test_classes_without_units_have_no_estimate() -> None:
    """Class 2 is only in the reference (the map lacks it), class 3 in neither."""
    mapped, reference = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 2, 0, 1, 1, 2])
    found = estimate_classes(make_sample(mapped, [30, 60]), mapped, reference, 4)
    np.testing.assert_array_equal(np.isnan(found.users.value), [False, False, True, True])
    np.testing.assert_array_equal(np.isnan(found.producers.value), [False, False, False, True])
    np.testing.assert_array_equal(found.producers.value[2], 0)
    np.testing.assert_allclose(found.share.value, [20 / 90, 40 / 90, 30 / 90, 0])
    np.testing.assert_array_equal(found.share.error[3], 0)


def test_single_units_add_no_variance() -> None:
    sample = make_sample(np.array([0, 1, 1]), [10, 20])
    np.testing.assert_array_equal(sample.cluster_counts, [1, 2])
    np.testing.assert_array_equal(sample.total_error([1, 0, 0])[0], 0)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_shapes(shape: tuple[int, ...]) -> None:
    sample, values = make_sample(np.array([0, 0, 1, 1]), [10, 20]), np.ones((4, *shape))
    assert sample.total(values).shape == sample.total_error(values)[0].shape == shape
    assert sample.ratio(values, values).error.shape == shape


def test_degrees_of_freedom_follow_the_units_that_matter() -> None:
    """One omitted unit that stands for much area is nearly one degree of freedom; many equal ones are not reduced."""
    strata = np.repeat([0, 1], 50)
    rare = np.zeros(100)
    rare[0] = 1  # one of 50 in the large stratum
    rare[50:99] = 1
    sample = make_sample(strata, [90_000, 10_000])
    found = sample.ratio(np.stack([rare, np.tile([0, 1], 50)], axis=1), np.ones((100, 1)))
    assert found.freedom[0] < 3
    assert found.freedom[1] == sample.degrees_of_freedom == 98


def test_effective_units() -> None:
    """Equal weights: all units; unequal ones: fewer; drawn completely: no uncertainty is left."""
    strata = np.repeat([0, 1], 50)
    for units, expected in ([[1000, 1000], 105.3], [[9000, 1000], 61.35], [[50, 50], np.inf]):
        found = make_sample(strata, units).ratio(np.ones(100), np.ones(100))
        np.testing.assert_allclose(found.effective, expected, rtol=2e-3)
    assert make_sample(strata, [1000, 1000]).ratio(np.ones(100), np.zeros(100)).effective == 0
