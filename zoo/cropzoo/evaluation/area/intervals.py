"""Confidence intervals of accuracies and area shares, all between 0 and 1."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from cropzoo.evaluation.area.estimate import Estimates, Floats

WILSON, NORMAL = "wilson", "normal"
METHODS = (WILSON, NORMAL)

_ROUNDING = 1e-9
"""Standard errors of shares below this one are 0 but for rounding."""


def confidence_intervals(estimates: Estimates, level: float = 0.95, method: str = WILSON) -> tuple[Floats, Floats]:
    """Lower and upper limits of shares.

    "wilson" is Wilson's interval with the number of units of a simple random sample that has the same standard error.
    It stays between 0 and 1, and is longer towards 0.5. For shares near 0.5 from many units it equals "normal". Near 0
    and 1, and where a few omitted units stand for much area, it covers the truth more often; docs/area.md has a study.
    Where the standard error is less certain than that of a simple random sample, a quantile of Student's t is used.

    "normal" is the estimate plus and minus a quantile of the normal distribution (1.96) times the standard error, as
    Olofsson et al. (2014) print it, cut at 0 and 1.

    With both, an estimate whose standard error is 0, because all units of the denominator agree, gets Wilson's interval
    with the effective number of units. It has no width only if all units of the map were drawn.

    Source:
        Wilson (1927), Probable inference, the law of succession, and statistical inference, Journal of the American
        Statistical Association 22; Korn and Graubard (1998), Confidence intervals for proportions with small expected
        number of positive counts estimated from survey data, Survey Methodology 24, for the number of units. Deviation:
        their degrees of freedom are those of the design; here they are Satterthwaite's, less those that the binomial
        distribution has already.

    Args:
        estimates: Shares with their standard errors.
        level: Confidence level, such as 0.95.
        method: "wilson" or "normal".

    Returns:
        Lower and upper limits in the shape of the estimates, NaN where the estimate is.
    """
    from scipy.special import stdtrit  # 0.2 s, only when an interval is computed

    probability = 0.5 + level / 2
    quantile = NormalDist().inv_cdf(probability)
    value, error, spread = estimates.value, estimates.error, estimates.value * (1 - estimates.value)
    agreed = error < _ROUNDING
    with np.errstate(divide="ignore", invalid="ignore"):
        units = np.where(agreed, estimates.effective, spread / error**2)
        if method == NORMAL:
            lower, upper = value - quantile * error, value + quantile * error
        else:
            excess = 1 / estimates.freedom - (1 - 4 * spread) / (2 * units * spread)
            student = stdtrit(1 / np.clip(excess, _ROUNDING, 1), probability)
            lower, upper = _wilson(value, np.where(agreed, units, units * (quantile / student) ** 2), quantile)
        low, high = _wilson(value, units, quantile)
    return np.clip(np.where(agreed, low, lower), 0, 1), np.clip(np.where(agreed, high, upper), 0, 1)


def _wilson(value: Floats, units: Floats, quantile: float) -> tuple[Floats, Floats]:
    """Wilson's interval of shares among a number of units; the whole range without units."""
    part = quantile**2 / units
    center = value + part / 2
    half = np.sqrt(part * (value * (1 - value) + part / 4))
    return (center - half) / (1 + part), (center + half) / (1 + part)
