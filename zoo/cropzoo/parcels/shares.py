"""Which class and which parcel has most of a pixel that several share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Shared(NamedTuple):
    """Of m pixels: rank of the class with most cells, its largest parcel's number, cells of the second largest crop."""

    rank: NDArray[np.int64]
    parcel: NDArray[np.int64]
    second: NDArray[np.int64]


def share(cells: NDArray[np.int32], rank_of: NDArray[np.int64], ground: int) -> Shared:
    """The winners of pixels.

    Args:
        cells: (m, n), m >= 1, the parcel number of each of a pixel's cells, 0 for none.
        rank_of: (parcels + 1,), the rank of each parcel's class, from 0; [0] is that of cells without parcel.
        ground: the rank that is no crop, so that it is not in conflict with one.

    Returns:
        (m,) each. Of classes with equally many cells the lower rank wins, of parcels the lower number.
    """
    pixels, size = cells.shape
    numbers = len(rank_of)
    # Runs of equal cells in a pixel, by class and then by parcel.
    keys = np.sort(rank_of[cells] * numbers + cells, axis=1)
    starts = np.ones(keys.shape, np.bool_)
    starts[:, 1:] = keys[:, 1:] != keys[:, :-1]
    begin = np.flatnonzero(starts)
    pixel, (rank, number) = begin // size, np.divmod(keys.ravel()[begin], numbers)
    count = np.diff(begin, append=pixels * size)

    new_class = np.ones(len(begin), np.bool_)
    new_class[1:] = (pixel[1:] != pixel[:-1]) | (rank[1:] != rank[:-1])
    first = np.flatnonzero(new_class)
    of_class, its_rank, its_pixel = np.add.reduceat(count, first), rank[first], pixel[first]
    begin_pixel = np.flatnonzero(np.diff(its_pixel, prepend=-1))
    # One number to compare by: more cells first, then the lower rank. All are different within a pixel.
    ranks = int(rank_of.max()) + 1
    score = of_class * ranks + (ranks - 1 - its_rank)
    best = np.maximum.reduceat(score, begin_pixel)
    winner = ranks - 1 - best % ranks

    crops = np.where(its_rank == ground, -1, score)
    crops[crops == np.maximum.reduceat(crops, begin_pixel)[its_pixel]] = -1
    second = np.maximum(np.maximum.reduceat(crops, begin_pixel), 0) // ranks

    own = np.where(rank == winner[pixel], count * numbers + (numbers - 1 - number), -1)
    largest = np.maximum.reduceat(own, np.flatnonzero(np.diff(pixel, prepend=-1)))
    return Shared(winner, numbers - 1 - largest % numbers, second)
