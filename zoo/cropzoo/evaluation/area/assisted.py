"""Model-assisted areas: difference and regression estimators with auxiliary data whose totals are known.

Source:
    Särndal, Swensson and Wretman (1992), Model Assisted Survey Sampling, sections 6.3 and 6.4; Gallego (2004), Remote
    sensing and land cover area estimation, International Journal of Remote Sensing 25. The coefficients of the
    regression are the optimal ones for the design (Montanari 1987), so that an auxiliary variable that is constant
    within strata, such as the class of the map by which they were made, has no weight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from cropzoo.evaluation.area.estimate import Floats, Sample
from cropzoo.evaluation.area.record import Measure


def difference_estimate(
    sample: Sample, y: NDArray[np.bool_], x: NDArray[np.bool_], total: float, level: float
) -> Measure:
    """Known total of x plus the estimated total of the differences.

    Args:
        sample: The units.
        y: (n,), whether a unit is of the class by the reference.
        x: (n,), whether it is by the auxiliary data.
        total: Total area for which the auxiliary data have the class.
        level: Confidence level.
    """
    differences = y.astype(np.float64) - x
    return _measure(sample, total + float(sample.total(differences)), differences, level)


def regression_estimate(
    sample: Sample, y: NDArray[np.bool_], x: NDArray[np.bool_], totals: Floats, level: float
) -> Measure:
    """Estimated total of y, corrected by how far the estimated totals of x are from the known ones.

    Args:
        sample: The units.
        y: (n,), whether a unit is of the class by the reference.
        x: (n, p), whether it is by each of the auxiliary data.
        totals: (p,), total areas for which the auxiliary data have the class.
        level: Confidence level.
    """
    columns = x.astype(np.float64)
    slopes = sample.regress(y.astype(np.float64), columns)
    value = float(sample.total(y) + (totals - sample.total(columns)) @ slopes)
    return _measure(sample, value, y - columns @ slopes, level)


def _measure(sample: Sample, value: float, residuals: Floats, level: float) -> Measure:
    """Estimate with the interval of Student's t, cut at 0 and at the total area.

    Where all residuals of the sample are equal, so that the error is 0, the interval is as wide as Wilson's for a share
    of which the sample has nothing.
    """
    area = float(sample.stratum_areas.sum())
    error, freedom = (float(each) for each in sample.total_error(residuals))
    half = float(stdtrit(freedom, 0.5 + level / 2)) * error
    if error < 1e-9 * area:
        effective = float(sample.ratio(np.ones(len(residuals)), np.ones(len(residuals))).effective)
        square = float(stdtrit(np.inf, 0.5 + level / 2)) ** 2
        half = 0.0 if np.isinf(effective) else area * square / (effective + square)
    return Measure(value, error, max(value - half, 0.0), min(value + half, area))
