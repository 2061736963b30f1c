"""Whether what the map shows and what was declared agree, and which declarations look wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cropzoo.zonal.deciding import Crops


def chance_of(declared: NDArray[np.intp], crops: Crops) -> NDArray[np.float64]:
    """Mean probability of the declared crop in each parcel, its share of the pixels where the map has none.

    Args:
        declared: (n,), class index, negative for none that the map tells.
        crops: what the map says.

    Returns:
        (n,), NaN where no declared crop that the map tells meets pixels that it shows.
    """
    compared = (declared >= 0) & (crops.crop >= 0)
    values = crops.shares if crops.chances is None else crops.chances
    chance = np.full(len(declared), np.nan)
    chance[compared] = values[compared, declared[compared]]
    return chance


def rank_suspects(
    chance: NDArray[np.float64], agrees: NDArray[np.bool_], pixels: NDArray[np.float64], least_pixels: float
) -> NDArray[np.int64]:
    """What a control looks at first: 1 for the parcel whose declared crop the map finds least likely, and so on.

    Args:
        chance: (n,), of the declared crop; NaN where nothing is compared.
        agrees: (n,), parcels that are above suspicion.
        pixels: (n,), of each parcel; of two that are alike the larger comes first, since more speaks against it.
        least_pixels: a parcel with fewer is not ranked: a pixel or two, shared with neighbours, prove nothing.

    Returns:
        (n,), 0 for a parcel that is not ranked.
    """
    suspects = np.flatnonzero(np.isfinite(chance) & ~agrees & (pixels >= least_pixels))
    order = suspects[np.lexsort((-pixels[suspects], chance[suspects]))]
    rank = np.zeros(len(chance), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return rank


def confusion(
    declared: NDArray[np.intp], mapped: NDArray[np.intp], classes: int, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(K, K), the sum of a weight by declared (rows) and mapped crop, over the parcels that have both."""
    use = (declared >= 0) & (mapped >= 0)
    pairs = declared[use] * classes + mapped[use]
    total = np.bincount(pairs, weight[use], classes * classes).astype(np.float64)
    return total.reshape(classes, classes)
