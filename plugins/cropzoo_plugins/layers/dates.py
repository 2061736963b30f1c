"""Embedding of dates, and the calendar of days since 1970-01-01."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo_plugins.layers.padding import is_exporting

DAYS = 366
_LATEST = 2**31
"""A step later than any other."""


class DayOfYearTable(nn.Linear):
    """Learned vector for each day of the year.

    The parameters are those of a linear layer on a one-hot day, weight (dim, 366) and bias (dim). The integer lookup
    uses row min(day, 365): day 366 shares the row of day 365, and row 0 is unused.

    Source: Tarasiou et al. 2023, arXiv:2301.04944. Differs: the published code computes the row by float32 division,
        which is off by one on 19 days of the year.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(DAYS, dim)

    def forward(self, dates: Tensor) -> Tensor:
        """Look up the vectors of days.

        Args:
            dates: Days of the year 1..366, any shape, int64; other values are clamped.

        Returns:
            Vectors, with the shape of `dates` plus (dim,).
        """
        return F.embedding(dates.clamp(0, DAYS - 1), self.weight.t()) + self.bias


def months_of(dates: Tensor) -> Tensor:
    """Months since January 1970 of days since 1970-01-01, any shape, int64.

    Integer arithmetic of the Gregorian calendar, which can be traced: no table, and no value is read on the host.
    Exact from 1970 on; 0 is January 1970.
    """
    return _month_and_day(dates)[0]


def dekads_of(dates: Tensor) -> Tensor:
    """Dekads since 1 January 1970 of days since 1970-01-01, any shape, int64; 36 in each year.

    The dekads of a month start on days 1, 11 and 21; the last one has 8 to 11 days. As `months_of` in all else.
    """
    months, day = _month_and_day(dates)
    return 3 * months + ((day - 1) // 10).clamp(max=2)


class Slots(NamedTuple):
    """Distinct steps of time of each series, in order, for composites.

    Args:
        slots: Index of the step of each date, (B, T), int64; -1 at invalid dates.
        steps: The steps, (B, S), int64; the first one where a series has fewer than S.
        used: Mask of existing steps, (B, S), bool.
    """

    slots: Tensor
    steps: Tensor
    used: Tensor


def find_slots(steps: Tensor, valid: Tensor, most: int) -> Slots:
    """Number the distinct steps of each series from 0, without gaps and independently of the order of dates.

    S is the largest number of steps of a series on a CPU, which reads the values. Elsewhere it is `most` or the number
    of dates, whichever is smaller, and always the number of dates in an exported graph, where it is symbolic. Dates
    beyond S get numbers of S or more.

    Args:
        steps: Step of each date, such as `months_of` returns, (B, T), int64.
        valid: Mask of valid dates, (B, T), bool.
        most: Largest number of steps that is useful.
    """
    length = steps.shape[1]
    place = torch.arange(length, device=steps.device)
    # pairs of dates, (B, T, T), where the second one is valid
    same = (steps[:, :, None] == steps[:, None]) & valid[:, None]
    repeated = (same & (place[:, None] > place)).any(2)
    first = valid & ~repeated
    rank = ((steps[:, :, None] > steps[:, None]) & first[:, None]).sum(2)
    slots = rank.masked_fill(~valid, -1)
    count = length if is_exporting() else min(length, most)
    if steps.device.type in ("cpu", "meta") and not torch.compiler.is_compiling():  # meta: costs depend on the dates
        count = max(1, int(slots.amax()) + 1)
    member = first[:, None] & (rank[:, None] == torch.arange(count, device=steps.device)[:, None])
    used = member.any(2)
    earliest = steps.masked_fill(~valid, _LATEST).amin(1, keepdim=True)
    return Slots(slots, torch.where(used, (member * steps[:, None]).sum(2), earliest), used)


def _month_and_day(dates: Tensor) -> tuple[Tensor, Tensor]:
    """Months since January 1970, and days of the month from 1, of days since 1970-01-01.

    Years start in March, so that the leap day is the last day of a year and months have lengths in a regular pattern.
    """
    days = dates + 719468  # since 0000-03-01
    period = days // 146097  # of 400 years
    day_of_period = days - 146097 * period
    year = (day_of_period - day_of_period // 1460 + day_of_period // 36524 - day_of_period // 146096) // 365
    day_of_year = day_of_period - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153  # from March, 0 to 11
    day = day_of_year - (153 * month + 2) // 5 + 1
    return 12 * (400 * period + year - 1970) + month + 2, day
