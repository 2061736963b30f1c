"""Real dates of years and days of the year."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cropzoo_plugins.datasets.pickled.contents import Contents

_YEARS = (1972, 2100)
"""Of satellite images."""


def days_since_1970(contents: Contents, doy: NDArray[np.int64], year: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Days since 1970-01-01 of days of the year, 1 to 366.

    Raises:
        CropzooError: a year without satellites, or a day that its year does not have.
    """
    years = np.broadcast_to(np.asarray(year, np.int64), doy.shape)
    strange = years[(years < _YEARS[0]) | (years > _YEARS[1])]
    if strange.size:
        raise contents.error(f"an image is of the year {int(strange[0])}")
    first = (years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    next_first = (years - 1969).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    days = first + doy - 1
    wrong = doy[(doy < 1) | (days >= next_first)]
    if wrong.size:
        raise contents.error(f"an image is of day {int(wrong[0])} of its year")
    return days


def in_order(days: NDArray[np.int64]) -> NDArray[np.intp]:
    """Positions of the days in order, each day once: of several images of one day the first that is stored."""
    return np.unique(days, return_index=True)[1]
