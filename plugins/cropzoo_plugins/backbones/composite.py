"""Composites as features: medians by step of time, indices of vegetation and water, and percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cropzoo import Backbone, UnknownName, UsageError
from cropzoo.data.composite import composite, fill_gaps
from cropzoo.geo.raster.naming import standard_name
from cropzoo_plugins.layers.checks import check_sizes
from cropzoo_plugins.layers.dates import months_of

INDICES = {
    "ndvi": ("B08", "B04"),
    "ndwi": ("B03", "B08"),
    "gndvi": ("B08", "B03"),
    "ndre": ("B08", "B05"),
}
"""Bands a and b of each index, (a - b) / (a + b): vegetation, water (McFeeters 1996), green NDVI, red edge."""

_DARK = 1e-6
"""Sum of two reflectances below which an index is 0."""

_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Largest number of days of each month."""


class Composite(Backbone):
    """Medians of the clear values of each pixel by month or by a number of days. It has no parameters.

    Steps are counted from January of the year in which a series ends, so that seasons of different years are aligned.
    A step without a clear value is interpolated between its neighbors, and the first and the last are repeated. A
    pixel that is never clear uses all its dates.

    Args:
        in_channels: Number of bands, C.
        classes: Unused, as are `image_size` and `length`.
        bands: Names of the bands, by which indices find theirs.
        step: "month", or a number of days.
        start: Month of the first step, counted from January (0) of the year in which a series ends: -6 is July of the
            year before.
        months: Number of months from there that are divided into steps; dates outside are not used.
        indices: Normalized differences that are added, of `INDICES`; "auto" for all those whose bands the series has,
            and "none".
        percentiles: Percentiles over all clear dates, 0 to 100, of the bands and indices; an empty list for none.

    Raises:
        UnknownName: If an index does not exist.
        UsageError: If an option is out of range, or the series lacks a band of an index.
    """

    picks: Tensor
    ranks: Tensor

    def __init__(
        self,
        in_channels: int,
        classes: int,
        image_size: int,
        length: int | None,
        *,
        bands: Sequence[str] | None = None,
        step: str | int = "month",
        start: int = -6,
        months: int = 18,
        indices: str | Sequence[str] = "auto",
        percentiles: Sequence[float] = (10, 25, 50, 75, 90),
    ) -> None:
        super().__init__()
        check_sizes("composite", months=months, **({} if step == "month" else {"step": step}))
        if type(start) is not int or not -120 <= start <= 11:
            raise UsageError(f"start={start!r} for 'composite'; it must be a month from -120 to 11; 0 is January")
        self.step, self.start, self.months = step, start, months
        days = sum(_LONGEST[(start + month) % 12] for month in range(months))
        self.steps = months if step == "month" else math.ceil(days / int(step))
        self.indices, pairs = _find_indices(indices, bands)
        self.register_buffer("picks", torch.tensor(pairs, dtype=torch.int64).view(-1, 2), persistent=False)
        self.register_buffer("ranks", torch.tensor(_check_percentiles(percentiles)) / 100, persistent=False)
        channels = in_channels + len(self.indices)
        self.out_channels = channels * (self.steps + len(self.ranks))

    def forward(
        self, series: Tensor, dates: Tensor, valid: Tensor, *, clear: Tensor | None = None, padded: bool = True
    ) -> Tensor:
        """Features, (B, D, H, W); arguments as in `Backbone.forward`.

        They are the bands and then the indices of each step, in order, and then of each percentile.
        """
        every = valid[:, :, None, None].expand(-1, -1, *series.shape[-2:])
        seen = every if clear is None else clear & every
        seen = seen | (every & ~seen.any(dim=1, keepdim=True))
        median = fill_gaps(*composite(series, self._slots(dates, valid), seen, self.steps))
        parts = [self._with_indices(median).flatten(1, 2)]
        if len(self.ranks):
            parts.append(self._percentiles(self._with_indices(series), seen).flatten(1, 2))
        return torch.cat(parts, dim=1)

    def _slots(self, dates: Tensor, valid: Tensor) -> Tensor:
        """Step of each date, (B, T); outside of 0..steps-1 if it is not used."""
        month = months_of(dates)
        last = torch.where(valid, month, 0).amax(dim=1, keepdim=True)
        first = last.div(12, rounding_mode="floor") * 12 + self.start
        slots = month - first
        if self.step != "month":
            inside = (slots >= 0) & (slots < self.months)
            days = (dates - _first_day(first)).div(int(self.step), rounding_mode="floor")
            slots = torch.where(inside, days, -1)
        return torch.where(valid, slots, -1)

    def _with_indices(self, values: Tensor) -> Tensor:
        """Bands and indices of (B, S, C, H, W) on the axis of bands."""
        if not self.indices:
            return values
        a, b = (values.index_select(2, self.picks[:, side]) for side in (0, 1))
        total = a + b
        return torch.cat([values, torch.where(total > _DARK, (a - b) / total.clamp(min=_DARK), 0.0)], dim=2)

    def _percentiles(self, values: Tensor, seen: Tensor) -> Tensor:
        """Percentiles of the values of (B, T, C, H, W) that are seen, (B, P, C, H, W), interpolated linearly."""
        ordered = torch.where(seen[:, :, None], values, torch.inf).sort(dim=1).values
        count = seen.sum(dim=1, keepdim=True)[:, :, None]
        place = self.ranks[:, None, None, None] * (count - 1).clamp(min=0)
        low = place.floor().long()
        high = torch.minimum(low + 1, (count - 1).clamp(min=0))
        first, second = (ordered.gather(1, each.expand(-1, -1, *values.shape[2:])) for each in (low, high))
        return first + (second - first) * (place - low)


def _find_indices(indices: str | Sequence[str], bands: Sequence[str] | None) -> tuple[tuple[str, ...], list[list[int]]]:
    """Names of the indices, and the positions of their two bands.

    Raises:
        UnknownName: If an index does not exist.
        UsageError: If the series lacks a band of an index that is named.
    """
    positions = {standard_name(name): place for place, name in enumerate(bands or ())}
    if isinstance(indices, str):
        indices = [name.strip() for name in indices.split(",")]
    wanted = [name for name in indices if name != "none"]
    if wanted == ["auto"]:
        wanted = [name for name, pair in INDICES.items() if all(band in positions for band in pair)]
    for name in wanted:
        if name not in INDICES:
            raise UnknownName("index of 'composite'", name, [*INDICES, "auto", "none"])
        missing = [band for band in INDICES[name] if band not in positions]
        if missing:
            given = f"the series has {', '.join(bands)}" if bands else "the names of the bands are unknown"
            raise UsageError(
                f"index {name!r} for 'composite'; it needs {' and '.join(missing)}, and {given}; remove the index, or "
                "add the band"
            )
    wanted = list(dict.fromkeys(wanted))
    return tuple(wanted), [[positions[band] for band in INDICES[name]] for name in wanted]


def _check_percentiles(percentiles: Sequence[float]) -> list[float]:
    """Raise `UsageError` unless all are numbers from 0 to 100."""
    given: list[Any] = list(percentiles) if isinstance(percentiles, (list, tuple)) else [percentiles]
    if not all(type(each) in (int, float) and 0 <= each <= 100 for each in given):
        raise UsageError(f"percentiles={percentiles!r} for 'composite'; they must be numbers from 0 to 100")
    return [float(each) for each in given]


def _first_day(months: Tensor) -> Tensor:
    """First day of a month since January 1970, in days since 1970-01-01, int64."""
    year, month = months.div(12, rounding_mode="floor") + 1970, months.remainder(12) + 1
    before = year - 1
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    of_year = (367 * month - 362) // 12 - torch.where(month > 2, torch.where(leap, 1, 2), 0)
    return 365 * (year - 1970) + before // 4 - before // 100 + before // 400 - 477 + of_year
