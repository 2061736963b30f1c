"""Date encodings of backbones, selection of the dates of a series, and days given by the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cropzoo.config.recipe import DateSampling
from cropzoo.data.sample import Sample
from cropzoo.errors import UsageError
from cropzoo.geo.raster.dates import EPOCH as EPOCH
from cropzoo.plugins.specs import DateEncoding


@dataclass(frozen=True)
class DateOptions:
    """Which dates of a series are used.

    Args:
        length: number of dates of a fixed-length backbone, to which series are padded and sampled; None for any number.
        max_dates: maximum number of dates; None for all.
        sampling: how dates are sampled from a series that has more.
        min_clear: minimum share of clear pixels of a date, 0..1; 0 keeps every date.
    """

    length: int | None = None
    max_dates: int | None = None
    sampling: DateSampling = "uniform"
    min_clear: float = 0.0

    @property
    def limit(self) -> int | None:
        """Maximum number of dates of a patch, by `max_dates` and `length`; None for any number."""
        limits = [limit for limit in (self.max_dates, self.length) if limit is not None]
        return min(limits) if limits else None


def encode_dates(dates: NDArray[np.int32], encoding: DateEncoding, first: int | None = None) -> NDArray[np.int64]:
    """Encode dates for a backbone.

    Args:
        dates: (T,), days since 1970-01-01.
        encoding: "doy" day of year, 1 to 366; "days" since 1 September before the first date, the reference of
            PASTIS (Garnot and Landrieu 2021, arXiv:2107.07933), so a day of September itself counts from that month;
            "epoch" days since 1970-01-01, unchanged; "none" zeros.
        first: first date of the complete series, days since 1970-01-01, where `dates` are a part of it: the reference
            must not depend on which dates are used.

    Returns:
        (T,), int64.
    """
    days = dates.astype("datetime64[D]")
    if encoding == "none":
        return np.zeros(len(dates), np.int64)
    if encoding == "epoch":
        return dates.astype(np.int64)
    if encoding == "doy":
        of_year: NDArray[np.int64] = (days - days.astype("datetime64[Y]")).astype(np.int64) + 1
        return of_year
    start = days[0] if first is None else np.datetime64(first, "D")
    september = start.astype("datetime64[Y]").astype("datetime64[M]") + 8
    reference = september.astype("datetime64[D]")
    if reference > start:
        reference = (september - 12).astype("datetime64[D]")
    since: NDArray[np.int64] = (days - reference).astype(np.int64)
    return since


def select_clear_dates(sample: Sample, min_clear: float) -> Sample:
    """Keep the dates whose share of clear pixels is at least `min_clear`, and the clearest date in any case."""
    if min_clear == 0 or sample.clear is None:
        return sample
    share = sample.clear.mean(axis=(1, 2))
    keep = np.flatnonzero(share >= min_clear)
    return sample.take_dates(keep if len(keep) else share.argmax(keepdims=True))


def limit_dates(sample: Sample, count: int | None, sampling: DateSampling, rng: np.random.Generator) -> Sample:
    """Keep at most `count` dates: evenly spaced, drawn by `rng`, or those with the most clear pixels."""
    length = len(sample.dates)
    if count is None or length <= count:
        return sample
    if sampling == "random":
        keep = rng.choice(length, count, replace=False)
    elif sampling == "clearest" and sample.clear is not None:
        keep = np.argsort(-sample.clear.mean(axis=(1, 2)), kind="stable")[:count]
    else:
        keep = np.linspace(0, length - 1, count).round().astype(np.intp)
    return sample.take_dates(np.sort(keep))


def temporal_dropout(sample: Sample, share: float, rng: np.random.Generator) -> Sample:
    """Drop each date with probability `share`; at least one date is kept."""
    if share == 0:
        return sample
    keep = rng.random(len(sample.dates)) >= share
    if not keep.any():
        keep[rng.integers(len(keep))] = True
    return sample.take_dates(np.flatnonzero(keep))


def end_early(sample: Sample, share: float, rng: np.random.Generator) -> Sample:
    """With probability `share`, truncate the series at a random date before the last.

    At least a third of the dates are kept, and always one.
    """
    length = len(sample.dates)
    if share == 0 or rng.random() >= share or length == 1:
        return sample
    return sample.take_dates(np.arange(rng.integers(-(-length // 3), length)))


def date_warnings(splits: Mapping[str, Sequence[Sample]], options: DateOptions) -> list[str]:
    """Warnings about series whose dates are dropped or padded, as lines of text; empty if every date is used."""
    limit = options.limit
    lines = []
    for name, samples in splits.items():
        # One sample at a time: a memory-mapped one keeps its files open for as long as it exists.
        facts = [
            (len(sample.dates), sample.clear is not None) for sample in map(samples.__getitem__, range(len(samples)))
        ]
        lengths = [length for length, _ in facts]
        longer = sum(length > limit for length in lengths) if limit is not None else 0
        if longer:
            sampling = options.sampling
            if sampling == "clearest" and not all(has_clear for _, has_clear in facts):
                sampling = "uniform"
                lines.append(f"{name}: without a cloud mask the clearest dates are unknown; dates are sampled evenly")
            lines.append(
                f"{name}: {longer} of {len(lengths)} series have more than {limit} dates (up to {max(lengths)}); "
                f"{limit} of them are used, sampled {_SAMPLING[sampling]}"
            )
        if options.length is not None and min(lengths, default=options.length) < options.length:
            shorter = sum(length < options.length for length in lengths)
            lines.append(f"{name}: {shorter} of {len(lengths)} series are padded to {options.length} dates")
    return lines


_SAMPLING = {
    "uniform": "evenly over the series",
    "random": "at random in training and evenly in evaluation",
    "clearest": "by their share of clear pixels",
}

_DAY = re.compile(r"(?:(\d{4})-)?(\d{2})-(\d{2})")


class Day(NamedTuple):
    """A day of a year, or of any year (`year` 0)."""

    year: int
    month: int
    day: int

    def in_year(self, year: int) -> date:
        """The date in a year; 29 February becomes 28 February in common years."""
        try:
            return date(year, self.month, self.day)
        except ValueError:
            return date(year, self.month, self.day - 1)


def parse_day(option: str, text: str) -> Day:
    """Parse a day such as "2019-03-01" or "03-01".

    Raises:
        UsageError: `text` is not a day.
    """
    found = _DAY.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        day = Day(int(found[1] or 0), int(found[2]), int(found[3]))
        date(day.year or 2000, day.month, day.day)
    except ValueError:
        raise UsageError(f"{option} is {text!r}; it must be a day such as 2019-03-01 or 03-01") from None
    return day


def parse_days(option: str, text: str) -> dict[str, Day]:
    """Parse days such as "06-15,07-15" into a mapping from their spelling to the day, in calendar order.

    Raises:
        UsageError: an item is not a day, there is none, or only some of them have a year.
    """
    days = {part.strip(): parse_day(option, part.strip()) for part in text.split(",") if part.strip()}
    if not days:
        raise UsageError(f"{option} is {text!r}; it contains no day; give days such as 06-15,07-15")
    if len({bool(day.year) for day in days.values()}) > 1:
        raise UsageError(f"{option} is {text!r}; some days have a year and some do not; write all of them in one form")
    return dict(sorted(days.items(), key=lambda item: item[1]))


def count_until(dates: NDArray[np.int32], day: Day) -> int:
    """Number of dates of a series on or before a day.

    Args:
        dates: (T,), days since 1970-01-01, increasing.
        day: a day; without a year, it is taken in the year in which the series ends.
    """
    if not len(dates):
        return 0
    year = day.year or (EPOCH + timedelta(days=int(dates[-1]))).year
    return int(np.searchsorted(dates, (day.in_year(year) - EPOCH).days, side="right"))
