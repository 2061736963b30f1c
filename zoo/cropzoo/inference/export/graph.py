"""The exported computation: from stored pixel values and calendar dates to logits and probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cropzoo.data.batch import Batch
from cropzoo.data.normalize import Normalizer
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, check_statistics
from cropzoo.plugins.specs import BackboneInput, DateEncoding

_MARCH_0000 = 719468
"""Days from 1 March of year 0 to 1970-01-01."""

_SEPTEMBER = 184
"""Days from 1 March to 1 September."""

_JANUARY = 306
"""Days from 1 March to 1 January."""

_LATE = 2**31
"""A day later than any date."""

INPUTS = {
    "series": "(batch, dates, bands, height, width), float32: pixel values as stored; `scale` converts them to "
    "reflectance; values at invalid dates have no influence",
    "dates": "(batch, dates), int64: days since 1970-01-01, increasing; 0 at padding. An unused date (valid is False) "
    "may keep its day: the first day of the series is the origin of some date encodings",
    "valid": "(batch, dates), bool: False for padding and for dates to ignore; at least one True per series",
}

FURTHER_INPUTS = {
    "clear": "(batch, dates, height, width), bool: False for clouds, shadows and no data; True everywhere if unknown",
    "location": "(batch, 2), float32: latitude and longitude of the center in degrees; NaN if unknown",
}
"""Inputs that a graph has if its backbone declares them, after `INPUTS`."""

OUTPUTS = {
    "logits": "(batch, classes, height, width), float32: class scores divided by the temperature",
    "probabilities": "(batch, classes, height, width), float32: softmax of the logits",
}


class ExportGraph(nn.Module):
    """Logits and probabilities of stored series; `INPUTS` and `OUTPUTS` describe the shapes.

    Args:
        model: Model in evaluation mode; its temperature becomes part of the graph.
        metadata: Metadata of its checkpoint; scale, band statistics and date encoding become part of the graph.

    Raises:
        UsageError: The checkpoint holds no band statistics.
    """

    def __init__(self, model: Model, metadata: Metadata) -> None:
        super().__init__()
        scale = check_statistics(metadata, "exporting a graph, which normalizes stored values")
        self.model = model
        statistics = scale, metadata.mean, metadata.std, metadata.normalization
        self.normalizer = Normalizer(metadata.bands, metadata.bands, *statistics)
        self.encoding = metadata.dates

    def forward(
        self,
        series: Tensor,
        dates: Tensor,
        valid: Tensor,
        clear: Tensor | None = None,
        location: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        encoded = encode_days(dates, valid, self.encoding)
        logits = self.model.predict_batch(
            self.normalizer(Batch(series, encoded, valid, clear=clear, location=location))
        )
        return logits, logits.softmax(1)


def describe_inputs(inputs: Sequence[BackboneInput]) -> dict[str, str]:
    """Descriptions of a graph's inputs by name, in order.

    Args:
        inputs: Further inputs of the backbone.
    """
    return {**INPUTS, **{name: text for name, text in FURTHER_INPUTS.items() if name in inputs}}


def encode_days(days: Tensor, valid: Tensor, encoding: DateEncoding) -> Tensor:
    """Encode dates for a backbone, as `cropzoo.data.dates.encode_dates` does, with tensor operations.

    Args:
        days: (B, T), int64, days since 1970-01-01; 0 or less where there is no date.
        valid: (B, T), bool; an unused date can still be the first of its series and so the origin of "days".
        encoding: Date encoding of the backbone.

    Returns:
        (B, T), int64, zero at invalid dates.
    """
    if encoding == "none":
        return torch.zeros_like(days)
    if encoding == "epoch":
        return days.masked_fill(~valid, 0)
    encoded = _day_of_year(days) if encoding == "doy" else days - _september_before(_first(days))
    return encoded.masked_fill(~valid, 0)


def _first(days: Tensor) -> Tensor:
    """First date of each series, (B, 1)."""
    return days.masked_fill(days <= 0, _LATE).amin(1, keepdim=True)


def _day_of_year(days: Tensor) -> Tensor:
    day, year = _since_march(days)
    # 1 March is day 60 of a year, 61 of a leap year
    return torch.where(day < _JANUARY, day + 60 + _leap(year), day - _JANUARY + 1)


def _september_before(days: Tensor) -> Tensor:
    """The last 1 September on or before each day, in days since 1970-01-01."""
    day, year = _since_march(days)
    # 1 September of the previous year to 1 March is 181 days, 182 with a leap day
    behind = torch.where(day >= _SEPTEMBER, day - _SEPTEMBER, day + 181 + _leap(year))
    return days - behind


def _since_march(days: Tensor) -> tuple[Tensor, Tensor]:
    """Days since the last 1 March and the year of that March; counted from March, leap days end a year.

    Source: the proleptic Gregorian calendar in integer arithmetic, as in Howard Hinnant, "chrono-compatible low-level
        date algorithms".
    """
    days = days + _MARCH_0000
    era = days // 146097
    of_era = days - era * 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    return of_era - (365 * year + year // 4 - year // 100), year + 400 * era


def _leap(year: Tensor) -> Tensor:
    """1 in leap years, else 0, int64."""
    return ((year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))).to(torch.int64)
