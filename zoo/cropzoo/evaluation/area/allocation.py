"""Sizes of reference samples: how many units each stratum gets, and the standard errors that they promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import UsageError
from cropzoo.evaluation.area.strata import Strata

PROPORTIONAL, NEYMAN = "proportional", "neyman"
ALLOCATIONS = (NEYMAN, PROPORTIONAL)

MINIMUM = 50
"""Units of a class that would otherwise get fewer."""

ACCURACY = 0.8
"""Expected user's accuracy of a class whose test precision is unknown."""

_LEAST = 2
"""Units of a stratum; one has no variance."""

_BOUNDS = 0.05, 0.95
"""Range of expected accuracies: a precision of 1 on a test split promises no error, and would get no unit."""

_STEPS = 200
"""Steps of bisections, which double precision exhausts."""


@dataclass(frozen=True)
class Targets:
    """Requested standard errors.

    Args:
        overall: Of the overall accuracy; None if it does not matter.
        shares: Of the share of the area, by label index of the class.
    """

    overall: float | None = None
    shares: Mapping[int, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.overall is not None or bool(self.shares)


@dataclass(frozen=True, eq=False)
class ExpectedErrors:
    """Standard errors that a sample promises if the map is as accurate as expected; K classes.

    Args:
        size: Number of units.
        overall: Expected overall accuracy.
        overall_error: Its standard error.
        share: (K,), expected share of each class in the area.
        share_error: (K,), their standard errors.
        accuracy: (K,), expected user's accuracy; NaN for a class that is not mapped.
        accuracy_error: (K,), their standard errors; NaN for a design whose strata are no classes.
    """

    size: int
    overall: float
    overall_error: float
    share: NDArray[np.float64]
    share_error: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    accuracy_error: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Expectation:
    """Expected composition of S strata of K classes.

    Args:
        strata: The strata.
        accuracy: (K,), expected user's accuracy of each class.
        weight: (S,), share of each stratum in the area.
        composition: (S, K), expected share of each true class in the stratum.
        correct: (S,), expected share of the stratum whose class is right in the map.
        spread: (S,), factor by which units of different sizes raise the variance.
        correlation: Correlation of being right, or of a class, of two units of a block; 0 without blocks.
    """

    strata: Strata
    accuracy: NDArray[np.float64]
    weight: NDArray[np.float64]
    composition: NDArray[np.float64]
    correct: NDArray[np.float64]
    spread: NDArray[np.float64]
    correlation: float = 0.0

    @property
    def variances(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Variances among the units of a stratum: of being right, (S,), and of belonging to each class, (S, K)."""
        right = self.correct * (1 - self.correct) * self.spread
        member = self.composition * (1 - self.composition) * self.spread[:, None]
        return right, member


def expect(strata: Strata, accuracy: NDArray[np.float64], correlation: float = 0.0) -> Expectation:
    """Return the composition of strata that follows from the user's accuracies.

    What is wrong in a class is expected to belong to the other classes in proportion to their mapped areas.

    Args:
        strata: The strata.
        accuracy: (K,), expected user's accuracy of each class, 0..1; it is limited to 0.05..0.95.
        correlation: Correlation of two units of a block; not used without blocks.
    """
    frame, classes = strata.frame, len(accuracy)
    limited = accuracy.clip(*_BOUNDS)
    mapped = frame.area.reshape(-1, classes).sum(axis=0) / frame.area.sum()
    # Shares of the other classes in what is not mapped as a class; equal ones if the map has no other class.
    others = np.where(np.eye(classes, dtype=bool), 0.0, mapped)
    total = others.sum(axis=1, keepdims=True)
    others = np.where(total > 0, others / np.maximum(total, 1e-300), 1 / max(classes - 1, 1))
    confused = (1 - limited)[:, None] * others
    np.fill_diagonal(confused, limited)
    cell_class = np.arange(len(frame.area)) % classes
    of_cell, area = strata.of_cell, frame.area
    used = of_cell >= 0
    composition = np.zeros((len(strata), classes))
    correct, spread = np.zeros(len(strata)), np.zeros(len(strata))
    part = area[used] / strata.area[of_cell[used]]
    np.add.at(composition, of_cell[used], part[:, None] * confused[cell_class[used]])
    np.add.at(correct, of_cell[used], part * limited[cell_class[used]])
    np.add.at(spread, of_cell[used], part * frame.spread[used])
    return Expectation(
        strata=strata,
        accuracy=limited,
        weight=strata.area / strata.area.sum(),
        composition=composition,
        correct=correct,
        spread=spread,
        correlation=0.0 if strata.blocks is None else correlation,
    )


def allocate(
    expected: Expectation, size: int, method: str = NEYMAN, minimum: int = MINIMUM, targets: Targets | None = None
) -> NDArray[np.int64]:
    """Return the number of units of each stratum, (S,), with a sum of `size`.

    Every stratum gets at least two units, and every class at least `minimum`, or all that it has. Beyond that, units
    are proportional to the area of the stratum, or, by Neyman's rule, to its area times the standard deviation of what
    is estimated: whether the map is right, or, with targets, the root of the sum of the variances divided by the
    squared targets.

    Args:
        expected: Expected composition of the strata.
        size: Number of units.
        method: "neyman" or "proportional".
        minimum: Smallest number of units of a class.
        targets: Requested standard errors.

    Raises:
        UsageError: The size is smaller than the minima need, or larger than the number of units of the map.
    """
    strata = expected.strata
    low, class_low = _minima(strata, minimum)
    if size > strata.units.sum():
        raise UsageError(f"--n {size:,}; there are {int(strata.units.sum()):,} units; lower it")
    if size < low.sum():
        raise UsageError(
            f"--n {size}; the {len(strata)} strata need {int(low.sum())} units, {_LEAST} each, or one for each block; "
            "raise it, use fewer strata (without --strata, or --design simple), or draw fewer --blocks"
        )
    if size < class_low.sum():
        raise UsageError(
            f"--n {size}; a minimum of {minimum} units of each mapped class needs {int(class_low.sum())}; raise it, or "
            "lower --minimum"
        )
    score = expected.weight * (np.sqrt(_scaled_variance(expected, targets)) if method == NEYMAN else 1.0)
    group = strata.map_class if strata.by_class else np.zeros(len(strata), np.int64)
    kinds, of_stratum = np.unique(group, return_inverse=True)
    class_score = np.bincount(of_stratum, score, len(kinds)).astype(np.float64)
    class_units = np.bincount(of_stratum, strata.units, len(kinds)).astype(np.int64)
    per_class = divide(size, class_score, class_low, class_units)
    sampled = np.zeros(len(strata), np.int64)
    for number, count in enumerate(per_class.tolist()):
        own = of_stratum == number
        sampled[own] = divide(count, score[own], low[own], strata.units[own])
    return sampled


def _minima(strata: Strata, minimum: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Smallest number of units of each stratum, and of each class that is mapped; of all classes if not by class."""
    low = np.minimum(_LEAST if strata.drawn_blocks is None else np.maximum(_LEAST, strata.drawn_blocks), strata.units)
    if not strata.by_class:
        return low, np.array([low.sum()])
    _, of_stratum = np.unique(strata.map_class, return_inverse=True)
    units, lows = (np.bincount(of_stratum, each).astype(np.int64) for each in (strata.units, low))
    return low, np.maximum(np.minimum(minimum, units), lows)


def divide(
    total: int, score: NDArray[np.float64], low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return integers in proportion to scores, within bounds, with a given sum.

    Args:
        total: Sum, from the sum of `low` to that of `high`.
        score: (n,), not negative; where it is 0, no more than `low` is given unless all others have `high`.
        low: (n,), smallest numbers.
        high: (n,), largest numbers.
    """
    positive = np.maximum(score / max(score.max(initial=0), 1e-300), 1e-12)
    small, large = 0.0, float(high.max(initial=1)) / positive.min(initial=1.0)
    for _ in range(_STEPS):
        middle = (small + large) / 2
        small, large = (middle, large) if (positive * middle).clip(low, high).sum() < total else (small, middle)
    exact = (positive * large).clip(low, high)
    found: NDArray[np.int64] = np.floor(exact + 1e-9).astype(np.int64)
    rest = total - int(found.sum())
    order = np.lexsort((np.arange(len(found)), -(exact - found)))
    for _ in range(rest):  # fewer than there are numbers, unless they are equal to their bounds
        step = next(each for each in order.tolist() if found[each] < high[each])
        found[step] += 1
        order = np.append(np.delete(order, np.flatnonzero(order == step)), step)
    return found


def _scaled_variance(expected: Expectation, targets: Targets | None) -> NDArray[np.float64]:
    """Variance among the units of each stratum that an allocation by Neyman's rule takes, (S,)."""
    right, member = expected.variances
    if not targets:
        return right
    total: NDArray[np.float64] = np.zeros(len(right))
    if targets.overall is not None:
        total += right / targets.overall**2
    for kind, error in targets.shares.items():
        total += member[:, kind] / error**2
    return total


def expected_errors(expected: Expectation, sampled: NDArray[np.int64]) -> ExpectedErrors:
    """Return the standard errors that a sample promises.

    Source: Cochran, Sampling Techniques (1977), 5.3, with the finite population correction; 10.3 for two stages, where
    the variance is divided into that between blocks and that within them by the correlation.

    Args:
        expected: Expected composition of the strata.
        sampled: (S,), number of units drawn from each stratum.
    """
    strata, classes = expected.strata, len(expected.accuracy)
    right, member = expected.variances
    with np.errstate(divide="ignore"):
        factor = (1 - expected.correlation) * (1 / sampled - 1 / strata.units)
        if strata.blocks is not None and strata.drawn_blocks is not None:
            factor += expected.correlation * (1 / strata.drawn_blocks - 1 / strata.blocks)
    squared = expected.weight**2 * factor
    accuracy, accuracy_error = np.full(classes, np.nan), np.full(classes, np.nan)
    for kind in range(classes):
        own = strata.map_class == kind
        if own.any():
            part = expected.weight[own] / expected.weight[own].sum()
            accuracy[kind] = expected.accuracy[kind]
            accuracy_error[kind] = np.sqrt((part**2 * factor[own] * right[own]).sum())
    return ExpectedErrors(
        size=int(sampled.sum()),
        overall=float(expected.weight @ expected.correct),
        overall_error=float(np.sqrt(squared @ right)),
        share=expected.weight @ expected.composition,
        share_error=np.sqrt(squared @ member),
        accuracy=accuracy,
        accuracy_error=accuracy_error,
    )


def find_size(expected: Expectation, targets: Targets, method: str = NEYMAN, minimum: int = MINIMUM) -> int:
    """Return the smallest number of units with which all targets are expected to be reached.

    Args:
        expected: Expected composition of the strata.
        targets: Requested standard errors.
        method: "neyman" or "proportional".
        minimum: Smallest number of units of a class.

    Raises:
        UsageError: The targets cannot be reached with any number of units.
    """

    def reached(size: int) -> bool:
        found = expected_errors(expected, allocate(expected, size, method, minimum, targets))
        return (targets.overall is None or found.overall_error <= targets.overall) and all(
            found.share_error[kind] <= error for kind, error in targets.shares.items()
        )

    low, class_low = _minima(expected.strata, minimum)
    small, large = max(int(low.sum()), int(class_low.sum())) - 1, int(expected.strata.units.sum())
    if not reached(large):
        raise UsageError(
            "--target-se or --target; the drawn blocks cannot reach it, however many units are drawn in them; raise "
            "--blocks, or request a larger standard error"
        )
    while large - small > 1:
        middle = (small + large) // 2
        small, large = (small, middle) if reached(middle) else (middle, large)
    return large
