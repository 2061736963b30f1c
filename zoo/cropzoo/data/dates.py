"""Dates: how backbones read them, and which ones of a long series are used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cropzoo.config.recipe import DateSampling, Recipe
from cropzoo.data.sample import Sample
from cropzoo.errors import UsageError
from cropzoo.plugins.specs import DateEncoding


def encode_dates(dates: NDArray[np.int32], encoding: DateEncoding, first: int | None = None) -> NDArray[np.int64]:
    """Dates as a backbone reads them.

    Args:
        dates: (T,), days since 1970-01-01.
        encoding: "doy" day of year, 1 to 366; "days" since 1 September before the first date, the reference of
            PASTIS (Garnot and Landrieu 2021, arXiv:2107.07933), so a day of September itself counts from that month;
            "none" zeros.
        first: the first date of the whole series, where `dates` are a part of it: the reference must not depend on
            which dates are used.

    Returns:
        (T,), int64.
    """
    days = dates.astype("datetime64[D]")
    if encoding == "none":
        return np.zeros(len(dates), np.int64)
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


def keep_clear(sample: Sample, min_clear: float) -> Sample:
    """The sample at those dates whose share of clear pixels is at least `min_clear`; its clearest date in any case."""
    if min_clear == 0 or sample.clear is None:
        return sample
    share = sample.clear.mean(axis=(1, 2))
    keep = np.flatnonzero(share >= min_clear)
    return sample.take_dates(keep if len(keep) else share.argmax(keepdims=True))


def at_most(sample: Sample, count: int | None, sampling: DateSampling, rng: np.random.Generator) -> Sample:
    """The sample at no more than `count` of its dates: spread evenly, drawn by `rng`, or the clearest ones."""
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


def drop_dates(sample: Sample, share: float, rng: np.random.Generator) -> Sample:
    """The sample without about that share of its dates, drawn by `rng`; at least one stays."""
    if share == 0:
        return sample
    keep = rng.random(len(sample.dates)) >= share
    if not keep.any():
        keep[rng.integers(len(keep))] = True
    return sample.take_dates(np.flatnonzero(keep))


def end_early(sample: Sample, share: float, rng: np.random.Generator) -> Sample:
    """The sample with a chance of `share` up to one of its dates before the last, drawn by `rng`; else as it is.

    At least a third of the dates stay, and one in any case.
    """
    length = len(sample.dates)
    if share == 0 or rng.random() >= share or length == 1:
        return sample
    return sample.take_dates(np.arange(rng.integers(-(-length // 3), length)))


def most_dates(recipe: Recipe) -> int | None:
    """The most dates of an item: asked for by the user, or all that a fixed-length network takes; None for any."""
    limits = [limit for limit in (recipe.max_dates, recipe.length) if limit is not None]
    return min(limits) if limits else None


def date_warnings(splits: Mapping[str, Sequence[Sample]], recipe: Recipe) -> list[str]:
    """Lines for the user about dates that are left out or padded; no line where every date is used as it is."""
    limit = most_dates(recipe)
    lines = []
    for name, samples in splits.items():
        found = [samples[number] for number in range(len(samples))]
        lengths = [len(sample.dates) for sample in found]
        longer = sum(length > limit for length in lengths) if limit is not None else 0
        if longer:
            sampling = recipe.date_sampling
            if sampling == "clearest" and any(sample.clear is None for sample in found):
                sampling = "uniform"
                lines.append(f"{name}: without a cloud mask the clearest dates are not known; they are taken evenly")
            lines.append(
                f"{name}: {longer} of {len(found)} series have more than {limit} dates (up to {max(lengths)}); "
                f"{limit} of them are used, sampled {_HOW[sampling]}"
            )
        if recipe.length is not None and min(lengths, default=recipe.length) < recipe.length:
            shorter = sum(length < recipe.length for length in lengths)
            lines.append(f"{name}: {shorter} of {len(found)} series are padded to {recipe.length} dates")
    return lines


_HOW = {
    "uniform": "evenly over the series",
    "random": "at random in training and evenly in evaluation",
    "clearest": "by their share of clear pixels",
}


EPOCH = date(1970, 1, 1)

_DAY = re.compile(r"(?:(\d{4})-)?(\d{2})-(\d{2})")


class Day(NamedTuple):
    """A day; year 0 is any."""

    year: int
    month: int
    day: int

    def in_year(self, year: int) -> date:
        """That day of the year; 29 February is 28 February of other years."""
        try:
            return date(year, self.month, self.day)
        except ValueError:
            return date(year, self.month, self.day - 1)


def parse_day(option: str, text: str) -> Day:
    """The day that "2019-03-01" or "03-01" means.

    Raises:
        UsageError: it is no day.
    """
    found = _DAY.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        day = Day(int(found[1] or 0), int(found[2]), int(found[3]))
        date(day.year or 2000, day.month, day.day)
    except ValueError:
        raise UsageError(f"{option} is {text!r}; it must be a day, as 2019-03-01, or 03-01") from None
    return day


def parse_days(option: str, text: str) -> dict[str, Day]:
    """The days that a text such as "06-15,07-15" names, by how they are written; in order, each once.

    Raises:
        UsageError: one is no day, there is none, or some have a year and some none.
    """
    days = {part.strip(): parse_day(option, part.strip()) for part in text.split(",") if part.strip()}
    if not days:
        raise UsageError(f"{option} is {text!r}; it names no day; give days as 06-15,07-15")
    if len({bool(day.year) for day in days.values()}) > 1:
        raise UsageError(f"{option} is {text!r}; some days have a year and some none; give all of them in one form")
    return dict(sorted(days.items(), key=lambda item: item[1]))
