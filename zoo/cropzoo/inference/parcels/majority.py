"""The crop of each parcel, from sums of the map over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cropzoo.inference.parcels.zonal_stats import Measured, Sums

NONE = -1
"""In place of a class: the map shows nothing there."""

_EQUAL = 1e-5
"""Shares of a parcel that differ by less are equal: half of it each is a tie, though a pixel is known to 1e-6 only."""


@dataclass(frozen=True)
class Crops:
    """What the map says of n parcels; shares and probabilities are NaN where it shows nothing.

    Args:
        crop: (n,), class with most pixels, the lower index of those that are equal to 1e-5 of them; -1 for none.
        share: (n,), its share of the pixels seen.
        second, second_share: the class with most pixels after it, -1 if there is none.
        likely, likely_chance: (n,), class with the highest mean probability, and that; None without probabilities.
        shares: (n, K), share of each class.
        probabilities: (n, K), mean probability of each class; None without probabilities.
        confidence: (n,), mean of the pixels'; None if the map has neither confidence nor probabilities.
        pixels: (n,), seen pixels that were used, those at the edge by their share.
        inside: (n,), seen pixels that lie wholly in the parcel.
        interior: (n,), bool, whether only those were used.
        nodata: (n,), share of the parcel's area that the map does not show, be it outside or without a clear date.
    """

    crop: NDArray[np.intp]
    share: NDArray[np.float64]
    second: NDArray[np.intp]
    second_share: NDArray[np.float64]
    likely: NDArray[np.intp] | None
    likely_chance: NDArray[np.float64] | None
    shares: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    confidence: NDArray[np.float64] | None
    pixels: NDArray[np.float64]
    inside: NDArray[np.float64]
    interior: NDArray[np.bool_]
    nodata: NDArray[np.float64]


def decide(measured: Measured, interior: bool = False) -> Crops:
    """The crops of n parcels.

    Args:
        measured: their sums.
        interior: use the pixels that lie wholly in a parcel alone, where it has any: those at the edge show its
            neighbors too. A parcel without one is decided by all that it touches.
    """
    inside = measured.inside.pixels
    use = np.full(len(inside), interior) & (inside > 0)
    sums = _chosen(measured, use)
    pixels = sums.pixels
    some = pixels > 0
    scale = np.where(some, pixels, np.nan)
    shares = sums.by_class / scale[:, None]
    rows = np.arange(len(pixels))
    first = _largest(shares)
    rest = shares.copy()
    rest[rows, first] = -1
    other = _largest(rest)
    has_second = some & (rest[rows, other] > 0)
    probabilities = None if sums.chance is None else sums.chance / scale[:, None]
    likely = likely_chance = None
    if sums.chance is not None and probabilities is not None:
        best = _largest(probabilities)
        likely, likely_chance = np.where(some, best, NONE), probabilities[rows, best]
    with np.errstate(divide="ignore", invalid="ignore"):
        covered = np.where(measured.area > 0, measured.all.pixels / measured.area, 0)
    return Crops(
        crop=np.where(some, first, NONE),
        share=shares[rows, first],
        second=np.where(has_second, other, NONE),
        second_share=np.where(has_second, shares[rows, other], np.nan),
        likely=likely,
        likely_chance=likely_chance,
        shares=shares,
        probabilities=probabilities,
        confidence=None if sums.sure is None else sums.sure / scale,
        pixels=pixels,
        inside=inside,
        interior=use,
        nodata=np.clip(1 - covered, 0, 1),
    )


def _largest(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """The column of each row's largest value, the first of equal ones; 0 in a row of NaN."""
    first: NDArray[np.intp] = (values >= values.max(axis=1, keepdims=True) - _EQUAL).argmax(axis=1)
    return first


def _chosen(measured: Measured, inside: NDArray[np.bool_]) -> Sums:
    """The sums over pixels wholly inside where the mask is true, over all others elsewhere."""
    if not inside.any():
        return measured.all
    return Sums(
        np.where(inside[:, None], measured.inside.by_class, measured.all.by_class),
        None
        if measured.all.chance is None or measured.inside.chance is None
        else np.where(inside[:, None], measured.inside.chance, measured.all.chance),
        None
        if measured.all.sure is None or measured.inside.sure is None
        else np.where(inside, measured.inside.sure, measured.all.sure),
    )


def chance_of(declared: NDArray[np.intp], crops: Crops) -> NDArray[np.float64]:
    """Mean probability of the declared crop in each parcel, its share of the pixels where the map has none.

    Args:
        declared: (n,), class index, negative for none that the map tells.
        crops: what the map says.

    Returns:
        (n,), NaN where no declared crop that the map tells meets pixels that it shows.
    """
    compared = (declared >= 0) & (crops.crop >= 0)
    values = crops.shares if crops.probabilities is None else crops.probabilities
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
        least_pixels: a parcel with fewer is not ranked: a pixel or two, shared with neighbors, prove nothing.

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
