"""Sizes of samples: proportional and Neyman allocation, minima, sizes from targets, and expected standard errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cropzoo.data.classified_map import open_map
from cropzoo.data.regions import read_regions
from cropzoo.errors import UsageError
from cropzoo.evaluation.area.allocation import (
    Expectation,
    Targets,
    allocate,
    divide,
    expect,
    expected_errors,
    find_size,
)
from cropzoo.evaluation.area.strata import count_pixels, make_strata

SHARES = (0.7, 0.25, 0.05)
ACCURACY = np.array([0.9, 0.7, 0.6])


@pytest.fixture
def expectation(make_map: Callable[..., Path], make_parcels: Callable[..., Path]) -> Callable[..., Expectation]:
    """`expectation(by_class=True, regions=False)`: of a map of 400 x 500 pixels with the shares above."""

    def make(by_class: bool = True, regions: bool = False) -> Expectation:
        labels = np.repeat([0, 1, 2], [int(500 * share) for share in SHARES])[None].repeat(400, 0)
        source = open_map(make_map(labels))
        halves = [shapely.box(0, 0, 500, 100), shapely.box(0, 100, 500, 400)]
        found = read_regions(make_parcels(halves, name=["n", "s"]), source.grid) if regions else None
        return expect(make_strata(count_pixels(source, found), by_class), ACCURACY)

    return make


@pytest.mark.parametrize(
    ("total", "score", "low", "high", "expected"),
    [
        (10, [1, 1, 2], [0, 0, 0], [99, 99, 99], [3, 2, 5]),
        (10, [1, 1, 8], [2, 2, 0], [99, 99, 99], [2, 2, 6]),
        (10, [1, 1, 8], [0, 0, 0], [99, 99, 4], [3, 3, 4]),
        (10, [0, 0, 0], [1, 1, 1], [99, 99, 99], [4, 3, 3]),
        (10, [0, 1], [0, 0], [99, 6], [4, 6]),
        (7, [5, 1], [0, 0], [3, 4], [3, 4]),
        (3, [1, 1], [1, 2], [9, 9], [1, 2]),
    ],
)
def test_integers_in_proportion_within_bounds(
    total: int, score: list[float], low: list[int], high: list[int], expected: list[int]
) -> None:
    assert divide(total, np.array(score, float), np.array(low), np.array(high)).tolist() == expected


def test_divided_totals_are_exact_whatever_the_scores() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        count = int(rng.integers(1, 30))
        low = rng.integers(0, 5, count)
        high = low + rng.integers(0, 10 ** rng.integers(1, 9), count)
        total = int(rng.integers(low.sum(), min(high.sum(), 10_000 + low.sum()) + 1))
        found = divide(total, rng.random(count) ** 8, low, high)
        assert found.sum() == total
        assert ((found >= low) & (found <= high)).all()


def test_proportional_and_neyman(expectation: Callable[..., Expectation]) -> None:
    expected = expectation()
    assert allocate(expected, 1000, "proportional", minimum=0).tolist() == [700, 250, 50]
    score = np.array(SHARES) * np.sqrt(ACCURACY * (1 - ACCURACY))
    assert allocate(expected, 1000, "neyman", minimum=0) == pytest.approx(1000 * score / score.sum(), abs=1)


def test_rare_classes_get_the_minimum_and_the_rest_is_divided(expectation: Callable[..., Expectation]) -> None:
    assert allocate(expectation(), 600, "proportional", minimum=50).tolist() == [405, 145, 50]
    by_region = allocate(expectation(regions=True), 600, "proportional", minimum=50)
    assert by_region.reshape(2, 3).sum(axis=0).tolist() == [405, 145, 50]
    assert by_region.reshape(2, 3)[:, 2].tolist() == [13, 37]


def test_all_units_of_a_tiny_class_are_drawn(make_map: Callable[..., Path]) -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[0, :7] = 1
    labels[1, 0] = 2
    expected = expect(make_strata(count_pixels(open_map(make_map(labels))), True), ACCURACY)
    assert allocate(expected, 100, "neyman").tolist() == [92, 7, 1]
    assert expected_errors(expected, np.array([92, 7, 1])).accuracy_error[1:].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("size", "minimum", "problem"),
    [
        (5, 0, "the 3 strata need 6 units.*--design simple"),
        (120, 50, "minimum of 50 units of each mapped class needs 150; raise it, or lower --minimum"),
        (200_001, 50, "200,000 units; lower it"),
    ],
)
def test_sizes_that_are_too_small_or_too_large(
    expectation: Callable[..., Expectation], size: int, minimum: int, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        allocate(expectation(), size, minimum=minimum)


def test_standard_errors_by_hand(expectation: Callable[..., Expectation]) -> None:
    expected = expectation()
    sampled = np.array([200, 100, 50])
    weight, units = np.array(SHARES), np.array([140_000, 50_000, 10_000])
    found = expected_errors(expected, sampled)
    factor = 1 / sampled - 1 / units
    variance = (weight**2 * ACCURACY * (1 - ACCURACY) * factor).sum()
    assert found.overall == pytest.approx(weight @ ACCURACY)
    assert found.overall_error == pytest.approx(variance**0.5)
    assert found.accuracy_error == pytest.approx((ACCURACY * (1 - ACCURACY) * factor) ** 0.5)
    # Errors in a class belong to the others in proportion to their areas.
    maize = np.array([0.1 * 0.25 / 0.3, 0.7, 0.4 * 0.25 / 0.95])
    assert found.share[1] == pytest.approx(weight @ maize)
    assert found.share_error[1] == pytest.approx((weight**2 * maize * (1 - maize) * factor).sum() ** 0.5)
    assert found.share.sum() == pytest.approx(1)


@pytest.mark.parametrize("method", ["neyman", "proportional"])
@pytest.mark.parametrize(
    "targets", [Targets(0.01), Targets(None, {1: 0.008}), Targets(0.02, {2: 0.004, 0: 0.02})], ids=str
)
def test_the_smallest_size_that_reaches_the_targets(
    expectation: Callable[..., Expectation], method: str, targets: Targets
) -> None:
    expected = expectation()
    size = find_size(expected, targets, method, minimum=10)

    def excess(size: int) -> float:
        found = expected_errors(expected, allocate(expected, size, method, 10, targets))
        ratios = [found.overall_error / targets.overall] if targets.overall else []
        return max(ratios + [found.share_error[kind] / error for kind, error in targets.shares.items()])

    assert excess(size) <= 1 < excess(size - 1)


def test_neyman_needs_fewer_units_for_its_target(expectation: Callable[..., Expectation]) -> None:
    targets = Targets(None, {2: 0.003})
    sizes = [find_size(expectation(), targets, method, minimum=10) for method in ("neyman", "proportional")]
    assert sizes[0] < 0.9 * sizes[1]


def test_a_simple_sample_has_the_variance_of_the_whole(expectation: Callable[..., Expectation]) -> None:
    found = expected_errors(expectation(by_class=False), np.array([1000]))
    overall = np.array(SHARES) @ ACCURACY
    assert found.overall_error == pytest.approx((overall * (1 - overall) * (1 / 1000 - 1 / 200_000)) ** 0.5)
    assert np.isnan(found.accuracy_error).all()


def test_accuracies_of_a_test_split_are_limited(expectation: Callable[..., Any]) -> None:
    strata = expectation().strata
    assert expect(strata, np.array([1.0, 0.0, 0.5])).correct.tolist() == [0.95, 0.05, 0.5]


@pytest.mark.parametrize("kind", [0, 2])
def test_errors_of_a_map_of_one_class_belong_to_all_others(make_map: Callable[..., Path], kind: int) -> None:
    labels = np.full((20, 20), kind, np.uint8)
    expected = expect(make_strata(count_pixels(open_map(make_map(labels))), True), np.full(3, 0.8))
    assert expected.composition.tolist() == [pytest.approx([0.8 if each == kind else 0.1 for each in range(3)])]
