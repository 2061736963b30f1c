"""What is exported: everything from stored numbers and calendar days to logits and probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cropzoo.data.batch import Batch
from cropzoo.data.normalize import Normalizer
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, check_statistics
from cropzoo.plugins.specs import DateEncoding

_MARCH_0000 = 719468
"""Days from 1 March of year 0 to 1970-01-01."""

_SEPTEMBER = 184
"""Days from 1 March to 1 September."""

_JANUARY = 306
"""Days from 1 March to 1 January."""

_LATE = 2**31
"""A day after all others."""


def encode_days(days: Tensor, valid: Tensor, encoding: DateEncoding) -> Tensor:
    """Dates as a backbone reads them, as `cropzoo.data.dates.encode_dates` gives them.

    Args:
        days: (B, T), int64, since 1970-01-01; 0 or less where there is no date.
        valid: (B, T), bool; a date that is not used may still be the first of its series, which "days" counts from.
        encoding: of the backbone.

    Returns:
        (B, T), int64, zero at invalid dates.
    """
    if encoding == "none":
        return torch.zeros_like(days)
    encoded = _day_of_year(days) if encoding == "doy" else days - _september_before(_first(days))
    return encoded.masked_fill(~valid, 0)


def _first(days: Tensor) -> Tensor:
    """The first date of every series, (B, 1)."""
    return days.masked_fill(days <= 0, _LATE).amin(1, keepdim=True)


def _day_of_year(days: Tensor) -> Tensor:
    day, year = _since_march(days)
    # the first day of March is day 60 of a year, or 61
    return torch.where(day < _JANUARY, day + 60 + _leap(year), day - _JANUARY + 1)


def _september_before(days: Tensor) -> Tensor:
    """The 1 September at or before each day, since 1970-01-01."""
    day, year = _since_march(days)
    # from the 1 September of the year before, whose February may have 29 days, there are 181 days to 1 March
    behind = torch.where(day >= _SEPTEMBER, day - _SEPTEMBER, day + 181 + _leap(year))
    return days - behind


def _since_march(days: Tensor) -> tuple[Tensor, Tensor]:
    """Days since the last 1 March, and its year: counted from March, leap days stand at the ends of years.

    Source: the proleptic Gregorian calendar in whole numbers, as by Howard Hinnant, "chrono-compatible low-level date
        algorithms".
    """
    days = days + _MARCH_0000
    era = days // 146097
    of_era = days - era * 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    return of_era - (365 * year + year // 4 - year // 100), year + 400 * era


def _leap(year: Tensor) -> Tensor:
    """1 in leap years, else 0, int64."""
    return ((year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))).to(torch.int64)


INPUTS = {
    "series": "(batch, dates, bands, height, width), float32: numbers as stored, which `scale` turns into reflectance; "
    "what stands at invalid dates has no influence",
    "dates": "(batch, dates), int64: days since 1970-01-01, increasing; 0 at padding. A date that is not used, with "
    "valid False, may keep its day: the first day of the series is counted from",
    "valid": "(batch, dates), bool: False for padding and dates that are not to be used; at least one True a series",
}

OUTPUTS = {
    "logits": "(batch, classes, height, width), float32: class scores divided by the temperature",
    "probabilities": "(batch, classes, height, width), float32: their softmax",
}


class Graph(nn.Module):
    """Logits and probabilities of series as stored; the shapes stand in `INPUTS` and `OUTPUTS`.

    Args:
        model: in evaluation mode.
        metadata: of its checkpoint; scale, statistics, encoding of dates and temperature become part of the graph.

    Raises:
        UsageError: when the checkpoint holds no band statistics.
    """

    def __init__(self, model: Model, metadata: Metadata) -> None:
        super().__init__()
        scale = check_statistics(metadata, "exporting a graph, which normalizes stored numbers")
        self.model = model
        self.normalizer = Normalizer(metadata.bands, metadata.bands, scale, metadata.mean, metadata.std)
        self.encoding, self.temperature = metadata.dates, metadata.temperature

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        batch = self.normalizer(Batch(series, encode_days(dates, valid, self.encoding), valid))
        logits = self.model(batch.series, batch.dates, batch.valid) / self.temperature
        return logits, logits.softmax(1)
