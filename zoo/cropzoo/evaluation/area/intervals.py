"""Confidence intervals of accuracies and area shares, all between 0 and 1."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from cropzoo.evaluation.area.estimate import Estimates, Floats

LOGIT, NORMAL = "logit", "normal"
METHODS = (LOGIT, NORMAL)

_ROUNDING = 1e-9
"""Standard errors of shares below this one are 0 but for rounding."""


def confidence_intervals(estimates: Estimates, level: float = 0.95, method: str = LOGIT) -> tuple[Floats, Floats]:
    """Lower and upper limits of shares.

    "logit" is symmetric on the logit scale, so that it stays between 0 and 1 and is longer towards 0.5, and uses
    quantiles of Student's t with the degrees of freedom of the estimates (Satterthwaite). For shares near 0.5 from many
    units it equals "normal". For shares near 0 and 1, and where a few omitted units stand for much area, it covers the
    truth more often; docs/area.md has a study.

    "normal" is the estimate plus and minus a quantile of the normal distribution (1.96) times the standard error, as
    Olofsson et al. (2014) print it, cut at 0 and 1.

    With both, an estimate whose standard error is 0 (all units of the denominator agree) gets Wilson's interval with
    the effective number of units; it is exact only if all units of the map were drawn.

    Source:
        Korn and Graubard (1999), Analysis of Health Surveys, section 3.2; Wilson (1927), Probable inference, the law of
        succession, and statistical inference, Journal of the American Statistical Association 22.

    Args:
        estimates: Shares with their standard errors.
        level: Confidence level, such as 0.95.
        method: "logit" or "normal".

    Returns:
        Lower and upper limits in the shape of the estimates, NaN where the estimate is.
    """
    from scipy.special import stdtrit  # 0.2 s, only when an interval is computed

    quantile = NormalDist().inv_cdf(0.5 + level / 2)
    value, error = estimates.value, estimates.error
    with np.errstate(divide="ignore", invalid="ignore"):
        if method == NORMAL:
            lower, upper = value - quantile * error, value + quantile * error
        else:
            middle = np.log(value / (1 - value))
            width = stdtrit(estimates.freedom, 0.5 + level / 2) * error / (value * (1 - value))
            lower, upper = (1 / (1 + np.exp(-(middle + sign * width))) for sign in (-1, 1))
        low, high = _wilson(value, estimates.effective, quantile)
    agreed = error < _ROUNDING
    return np.clip(np.where(agreed, low, lower), 0, 1), np.clip(np.where(agreed, high, upper), 0, 1)


def _wilson(value: Floats, units: Floats, quantile: float) -> tuple[Floats, Floats]:
    """Wilson's interval of shares among a number of units; the whole range without units."""
    part = quantile**2 / units
    center = value + part / 2
    half = np.sqrt(part * (value * (1 - value) + part / 4))
    return (center - half) / (1 + part), (center + half) / (1 + part)
