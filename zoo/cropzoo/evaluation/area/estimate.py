"""Estimators of accuracy and area from stratified, simple and two-stage random samples; NumPy only.

Every quantity is a ratio of two totals, as in Stehman (2014). Where the strata are the map's classes and all units have
one area, the estimates and standard errors are those of Olofsson et al. (2014), with the finite population correction.

Source:
    Olofsson et al. (2014), Good practices for estimating area and assessing accuracy of land change, Remote Sensing of
    Environment 148, doi:10.1016/j.rse.2014.02.015; Stehman (2014), Estimating area and map accuracy for stratified
    random sampling when the strata are different from the map classes, International Journal of Remote Sensing 35,
    doi:10.1080/01431161.2014.930207. Deviations: units may differ in area, so that each unit counts with its area and
    totals are calibrated to the known area of each stratum; blocks of a two-stage design are treated as ultimate
    clusters (Särndal, Swensson and Wretman 1992, section 4.6), without a finite population correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_ROUNDING = 1e-9
"""Residuals below this fraction of the largest unit are 0 but for rounding."""


@dataclass(frozen=True)
class Estimates:
    """Estimates with their standard errors, of any shape.

    Args:
        value: float64, estimates; NaN where the denominator is 0.
        error: float64, standard errors; NaN where the estimate is.
        freedom: float64, degrees of freedom of the standard errors by Satterthwaite (1946), from the spread of the
            squared residuals: few when the error rests on a few units that stand for much area.
        effective: float64, effective number of units in the denominator (Kish 1965), infinite if all were drawn.
    """

    value: Floats
    error: Floats
    freedom: Floats
    effective: Floats

    def reshape(self, *shape: int) -> Estimates:
        """The same estimates in another shape."""
        return Estimates(*(each.reshape(shape) for each in (self.value, self.error, self.freedom, self.effective)))


@dataclass(frozen=True)
class Sample:
    """Units with an answer, n of them, in strata of known area.

    Args:
        strata: (n,), int64, positions of the strata in `stratum_areas`.
        clusters: (n,), int64, numbers of the units that were drawn first: the block in a two-stage design, otherwise
            one number for each unit.
        weights: (n,), float64, inverse inclusion probabilities, up to a factor of each stratum.
        areas: (n,), float64, areas of the units.
        stratum_areas: (S,), float64, areas of the strata, all of which have units in the sample.
        fractions: (S,), float64, drawn part of each stratum's units, for the finite population correction; 0 without.
    """

    strata: NDArray[np.int64]
    clusters: NDArray[np.int64]
    weights: Floats
    areas: Floats
    stratum_areas: Floats
    fractions: Floats

    @cached_property
    def expanded(self) -> Floats:
        """Area that each unit stands for, (n,): those of a stratum sum to its area."""
        count = len(self.stratum_areas)
        drawn = self.weights * self.areas
        return drawn * (self.stratum_areas / np.bincount(self.strata, drawn, count))[self.strata]

    @cached_property
    def _cluster_strata(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Stratum of each cluster, and cluster of each unit by its position."""
        strata = np.int64(len(self.stratum_areas))
        keys, positions = np.unique(self.clusters * strata + self.strata, return_inverse=True)
        return keys % strata, positions

    @property
    def cluster_counts(self) -> NDArray[np.int64]:
        """Number of clusters in each stratum, (S,)."""
        return np.bincount(self._cluster_strata[0], minlength=len(self.stratum_areas))

    @property
    def degrees_of_freedom(self) -> int:
        """Clusters minus strata."""
        return int(len(self._cluster_strata[0]) - len(self.stratum_areas))

    def total(self, values: ArrayLike) -> Floats:
        """Estimated totals over all strata, in units of area.

        Args:
            values: (n,) or (n, k), values of the units, such as 1 where the class is maize.

        Returns:
            () or (k,), float64.
        """
        return np.asarray(self.expanded @ np.asarray(values, np.float64))

    def ratio(self, numerator: ArrayLike, denominator: ArrayLike) -> Estimates:
        """Ratios of two totals.

        Args:
            numerator: (n,) or (n, k), values of the units.
            denominator: (n,) or (n, k), values of the units.

        Returns:
            () or (k,), NaN where the total of the denominator is 0.
        """
        upper, lower = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
        above, below = self.total(upper), self.total(lower)
        known = below > 0
        divisor = np.where(known, below, 1)
        value = above / divisor
        error, freedom = self.total_error(upper - value * lower)
        drawn = (1 - self.fractions)[self.strata] @ np.reshape((self.expanded * lower.T).T ** 2, (len(lower), -1))
        with np.errstate(divide="ignore", invalid="ignore"):
            effective = np.where(known, below**2 / drawn.reshape(below.shape), 0)
        return Estimates(
            np.where(known, value, np.nan), np.where(known, error / divisor, np.nan), freedom, np.asarray(effective)
        )

    def total_error(self, values: ArrayLike) -> tuple[Floats, Floats]:
        """Standard errors of totals and their degrees of freedom.

        Args:
            values: (n,) or (n, k), values of the units.

        Returns:
            Two arrays () or (k,), float64. A stratum with one cluster adds nothing to the error, because its variance
            cannot be estimated. The degrees of freedom are at least 1, and at most clusters minus strata.
        """
        strata, clusters, factor = self._cluster_strata[0], self.cluster_counts, self._variance_factors
        count = len(self.stratum_areas)
        squares = self._cluster_residuals(values) ** 2
        sums = _sum_by(strata, squares, count)
        variance = factor @ sums
        # Variance of the estimated variance: that of the squares of the clusters of each stratum.
        spread = _sum_by(strata, squares**2, count) - sums**2 / clusters[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = np.nan_to_num(2 * variance**2 / (factor**2 @ np.maximum(spread, 0)), nan=np.inf)
        shape = np.shape(values)[1:]
        bounded = np.clip(freedom, 1, max(self.degrees_of_freedom, 1))
        return np.sqrt(variance).reshape(shape), bounded.reshape(shape)

    def regress(self, response: ArrayLike, predictors: ArrayLike) -> Floats:
        """Coefficients that give the difference of two totals the smallest variance under the design.

        Args:
            response: (n,), values of the units.
            predictors: (n, p), values of the units.

        Returns:
            (p,), float64; 0 for a predictor that is constant within the strata.
        """
        weights = self._variance_factors[self._cluster_strata[0]][:, None]
        x, y = self._cluster_residuals(predictors), self._cluster_residuals(response)
        x[np.abs(x) < _ROUNDING * self.expanded.max()] = 0
        slopes = np.linalg.lstsq(x.T @ (weights * x), x.T @ (weights * y), rcond=_ROUNDING)[0]
        return np.asarray(slopes[:, 0], np.float64)

    @property
    def _variance_factors(self) -> Floats:
        """Factor of the sum of squares of each stratum's clusters, (S,)."""
        clusters = self.cluster_counts
        return (1 - self.fractions) * clusters / np.maximum(clusters - 1, 1)

    def _cluster_residuals(self, values: ArrayLike) -> Floats:
        """Totals of the clusters of what differs from the mean of the stratum, (clusters, k)."""
        columns = np.asarray(values, np.float64)
        columns = columns.reshape(len(columns), -1)
        strata, positions = self._cluster_strata
        sums = _sum_by(self.strata, columns * self.expanded[:, None], len(self.stratum_areas))
        means = sums / self.stratum_areas[:, None]
        return _sum_by(positions, (columns - means[self.strata]) * self.expanded[:, None], len(strata))


def _sum_by(groups: NDArray[np.int64], values: Floats, count: int) -> Floats:
    """Sums of the rows of each group, (count, k)."""
    return np.reshape([np.bincount(groups, column, count) for column in values.T], (-1, count)).T


@dataclass(frozen=True)
class ClassEstimates:
    """Accuracy and area of K classes.

    Args:
        matrix: (K, K), shares of the area; rows are classes of the map, columns classes of the reference.
        overall: (), overall accuracy.
        users: (K,), user's accuracies; NaN for a class that the map has in no unit of the sample.
        producers: (K,), producer's accuracies; NaN for a class that the reference has in no unit of the sample.
        f1: (K,), F1 scores, 2 * correct / (mapped + reference).
        share: (K,), shares of the area by the reference.
        mapped: (K,), points by class of the map, int64.
        reference: (K,), points by class of the reference, int64.
    """

    matrix: Estimates
    overall: Estimates
    users: Estimates
    producers: Estimates
    f1: Estimates
    share: Estimates
    mapped: NDArray[np.int64]
    reference: NDArray[np.int64]

    @property
    def points(self) -> int:
        """Number of points."""
        return int(self.mapped.sum())


def estimate_classes(
    sample: Sample,
    mapped: NDArray[np.int64],
    reference: NDArray[np.int64],
    classes: int,
    domain: NDArray[np.bool_] | None = None,
) -> ClassEstimates:
    """Accuracy and area shares of all classes.

    Args:
        sample: The units.
        mapped: (n,), class of each unit in the map.
        reference: (n,), class of each unit by the reference.
        classes: Number of classes, K.
        domain: (n,), whether a unit is in the part of the map to estimate for; None for all of the map. All units of
            the sample are needed also for a part, whose size in the sample is random.
    """
    inside = np.ones(len(mapped), np.bool_) if domain is None else domain
    of_map, of_reference = ((each[:, None] == np.arange(classes)) & inside[:, None] for each in (mapped, reference))
    correct = of_map & of_reference
    cells = (of_map[:, :, None] & of_reference[:, None, :]).reshape(len(mapped), -1)
    present = np.flatnonzero(cells.any(axis=0))  # most pairs of classes never occur
    found = sample.ratio(cells[:, present], inside[:, None])
    matrix = np.zeros((4, classes * classes))
    matrix[:, present] = found.value, found.error, found.freedom, found.effective
    return ClassEstimates(
        matrix=Estimates(*matrix).reshape(classes, classes),
        overall=sample.ratio((mapped == reference) & inside, inside),
        users=sample.ratio(correct, of_map),
        producers=sample.ratio(correct, of_reference),
        f1=sample.ratio(2 * correct, of_map.astype(np.int8) + of_reference),
        share=sample.ratio(of_reference, inside[:, None]),
        mapped=of_map.sum(axis=0),
        reference=of_reference.sum(axis=0),
    )
