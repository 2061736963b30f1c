"""Majority crop of each parcel, and the ranking of suspicious declarations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.zonal_stats import ClassSums, ParcelSums

NONE = -1
"""Class index where the map has no data."""

_TIE = 1e-5
"""Shares that differ by less are equal; coverage of pixels is known to 1e-6 only."""


@dataclass(frozen=True)
class ParcelMajority:
    """Majority crop and class shares of n parcels; shares and probabilities are NaN where the map has no data.

    Args:
        crop: (n,), class with the most pixels; the lowest index of a tie, -1 without data.
        share: (n,), share of pixels with `crop`.
        second: (n,), class with the second most pixels, -1 if there is none.
        second_share: (n,), share of pixels with `second`.
        likely: (n,), class with the highest mean probability; None without probabilities.
        likely_probability: (n,), mean probability of `likely`; None without probabilities.
        shares: (n, K), share of each class.
        probabilities: (n, K), mean probability of each class; None without probabilities.
        confidence: (n,), mean confidence; None if the map has neither confidence nor probabilities.
        pixels: (n,), number of pixels with data that were used; pixels on the edge count by their share in the parcel.
        inside: (n,), number of pixels with data completely inside the parcel.
        interior: (n,), bool, whether only pixels completely inside were used.
        nodata: (n,), share of the parcel's area outside the map or without data.
    """

    crop: NDArray[np.intp]
    share: NDArray[np.float64]
    second: NDArray[np.intp]
    second_share: NDArray[np.float64]
    likely: NDArray[np.intp] | None
    likely_probability: NDArray[np.float64] | None
    shares: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    confidence: NDArray[np.float64] | None
    pixels: NDArray[np.float64]
    inside: NDArray[np.float64]
    interior: NDArray[np.bool_]
    nodata: NDArray[np.float64]


def find_majority(measured: ParcelSums, interior: bool = False) -> ParcelMajority:
    """The majority crops of n parcels.

    Args:
        measured: Sums of the map over the parcels.
        interior: Whether to use only pixels completely inside a parcel, because pixels on the edge show its neighbors
            too. A parcel without such pixels uses all pixels that it touches.
    """
    inside = measured.inside.pixels
    use_inside = np.full(len(inside), interior) & (inside > 0)
    sums = _choose_sums(measured, use_inside)
    pixels = sums.pixels
    has_data = pixels > 0
    scale = np.where(has_data, pixels, np.nan)
    shares = sums.by_class / scale[:, None]
    rows = np.arange(len(pixels))
    first = _largest(shares)
    rest = shares.copy()
    rest[rows, first] = -1
    other = _largest(rest)
    has_second = has_data & (rest[rows, other] > 0)
    probabilities = None if sums.probability is None else sums.probability / scale[:, None]
    likely = likely_probability = None
    if sums.probability is not None and probabilities is not None:
        best = _largest(probabilities)
        likely, likely_probability = np.where(has_data, best, NONE), probabilities[rows, best]
    with np.errstate(divide="ignore", invalid="ignore"):
        covered = np.where(measured.area > 0, measured.all.pixels / measured.area, 0)
    return ParcelMajority(
        crop=np.where(has_data, first, NONE),
        share=shares[rows, first],
        second=np.where(has_second, other, NONE),
        second_share=np.where(has_second, shares[rows, other], np.nan),
        likely=likely,
        likely_probability=likely_probability,
        shares=shares,
        probabilities=probabilities,
        confidence=None if sums.confidence is None else sums.confidence / scale,
        pixels=pixels,
        inside=inside,
        interior=use_inside,
        nodata=np.clip(1 - covered, 0, 1),
    )


def _largest(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Column of the largest value of each row, the first of a tie; 0 in a row of NaN."""
    first: NDArray[np.intp] = (values >= values.max(axis=1, keepdims=True) - _TIE).argmax(axis=1)
    return first


def _choose_sums(measured: ParcelSums, inside: NDArray[np.bool_]) -> ClassSums:
    """The sums over pixels completely inside where the mask is True, over all pixels elsewhere."""
    if not inside.any():
        return measured.all
    return ClassSums(
        np.where(inside[:, None], measured.inside.by_class, measured.all.by_class),
        None
        if measured.all.probability is None or measured.inside.probability is None
        else np.where(inside[:, None], measured.inside.probability, measured.all.probability),
        None
        if measured.all.confidence is None or measured.inside.confidence is None
        else np.where(inside, measured.inside.confidence, measured.all.confidence),
    )


def declared_probability(declared: NDArray[np.intp], majority: ParcelMajority) -> NDArray[np.float64]:
    """Mean probability of the declared crop in each parcel; without probabilities, its share of the pixels.

    Args:
        declared: (n,), class index of the declared crop, negative for none of the map's classes.
        majority: Majority crops and class shares of the parcels.

    Returns:
        (n,), NaN where no class is declared or the map has no data.
    """
    compared = (declared >= 0) & (majority.crop >= 0)
    values = majority.shares if majority.probabilities is None else majority.probabilities
    probability = np.full(len(declared), np.nan)
    probability[compared] = values[compared, declared[compared]]
    return probability


def rank_suspects(
    probability: NDArray[np.float64], agrees: NDArray[np.bool_], pixels: NDArray[np.float64], min_pixels: float
) -> NDArray[np.int64]:
    """Rank the suspicious declarations: 1 for the parcel whose declared crop is the least likely.

    Args:
        probability: (n,), probability of the declared crop; NaN where it cannot be compared.
        agrees: (n,), parcels whose declared crop is the majority; they are not ranked.
        pixels: (n,), number of pixels; of two parcels with equal probability, the one with more pixels comes first.
        min_pixels: Minimum number of pixels of a ranked parcel; a few pixels shared with neighbors are no evidence.

    Returns:
        (n,), 0 for parcels that are not ranked.
    """
    suspects = np.flatnonzero(np.isfinite(probability) & ~agrees & (pixels >= min_pixels))
    order = suspects[np.lexsort((-pixels[suspects], probability[suspects]))]
    rank = np.zeros(len(probability), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return rank


def confusion(
    declared: NDArray[np.intp], mapped: NDArray[np.intp], classes: int, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of a weight by declared (rows) and mapped crop over the parcels that have both, (K, K)."""
    use = (declared >= 0) & (mapped >= 0)
    pairs = declared[use] * classes + mapped[use]
    total = np.bincount(pairs, weight[use], classes * classes).astype(np.float64)
    return total.reshape(classes, classes)
