"""Dates: how backbones read them, and which ones of a long series are used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cropzoo.recipe import DateSampling
from cropzoo.samples import Sample
from cropzoo.specs import DateEncoding


def encode_dates(dates: NDArray[np.int32], encoding: DateEncoding) -> NDArray[np.int64]:
    """Dates as a backbone reads them.

    Args:
        dates: (T,), days since 1970-01-01.
        encoding: "doy" day of year, 1 to 366; "days" since 1 September before the first date, the reference of
            PASTIS (Garnot and Landrieu 2021, arXiv:2107.07933), so a day of September itself counts from that month;
            "none" zeros.

    Returns:
        (T,), int64.
    """
    days = dates.astype("datetime64[D]")
    if encoding == "none":
        return np.zeros(len(dates), np.int64)
    if encoding == "doy":
        of_year: NDArray[np.int64] = (days - days.astype("datetime64[Y]")).astype(np.int64) + 1
        return of_year
    september = days[0].astype("datetime64[Y]").astype("datetime64[M]") + 8
    reference = september.astype("datetime64[D]")
    if reference > days[0]:
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
