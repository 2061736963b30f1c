"""Class and parcel boundaries of label images, and distances to them, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import IGNORE

CLASS_BOUNDARY = 1
"""Bit of pixels with more than one class in their 3 x 3 window."""

PARCEL_BOUNDARY = 2
"""Bit of pixels with more than one parcel in their 3 x 3 window."""

OF_PARCELS = 4
"""Bit of pixels whose distance is measured to a parcel boundary instead of a class boundary."""

DISTANCE_SHIFT = 3
"""Position of the first of the bits of the distance, 1 to `MAX_DISTANCE` pixels; 0 = unknown."""

MAX_DISTANCE = 8
"""Largest distance; larger ones are clipped to it."""


def boundary_bits(labels: NDArray[Any], parcels: NDArray[Any] | None = None) -> NDArray[np.uint8]:
    """Return the boundary flags of each pixel and its distance to the nearest boundary.

    A pixel is at a boundary if its 3 x 3 window, clipped at the image border, contains another class or parcel.
    Adjacent parcels of the same crop share a parcel boundary but no class boundary. The distance is measured to the
    parcel boundary if `parcels` is given, otherwise to the class boundary: 1 for a pixel at the boundary, otherwise one
    more than the chessboard distance to the nearest such pixel. Boundaries outside the image are unknown, so the
    distance of pixels near the image border is an upper bound.

    Args:
        labels: (H, W), class indices, 255 = ignore. Ignored neighbors make no boundary: a window of one class and
            ignored pixels is interior. An ignored pixel is flagged by the classes around it; scores skip it.
        parcels: (H, W), parcel ids; 0 = no parcel, which counts as one more parcel. None leaves the second bit zero.

    Returns:
        (H, W), uint8: the sum of `CLASS_BOUNDARY`, `PARCEL_BOUNDARY` and `OF_PARCELS`, and the distance, at most
        `MAX_DISTANCE`, in the bits from `DISTANCE_SHIFT` on.

    Raises:
        ValueError: The arrays are not two-dimensional, or their shapes differ.

    Source: Tarasiou et al. 2022, arXiv:2104.04310, for the class boundary; the treatment of ignored pixels is ours.
    """
    if labels.ndim != 2 or (parcels is not None and parcels.shape != labels.shape):
        shapes = [array.shape for array in (labels, parcels) if array is not None]
        raise ValueError(f"labels and parcels must have the same shape (H, W); their shapes are {shapes}")
    known = labels != IGNORE
    classes = labels.astype(np.int16)
    low = _filter_window(np.where(known, classes, IGNORE), np.minimum)
    high = _filter_window(np.where(known, classes, -1), np.maximum)
    bits = np.where(high > low, CLASS_BOUNDARY, 0).astype(np.uint8)
    if parcels is not None:
        bits[_filter_window(parcels, np.maximum) > _filter_window(parcels, np.minimum)] |= PARCEL_BOUNDARY
    edge = bits & (CLASS_BOUNDARY if parcels is None else PARCEL_BOUNDARY) != 0
    bits |= _compute_distance(edge) << DISTANCE_SHIFT
    return bits if parcels is None else bits | np.uint8(OF_PARCELS)


def _compute_distance(edge: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return one more than the chessboard distance to the nearest edge pixel, (H, W), from 1 to `MAX_DISTANCE`.

    Each iteration dilates the edge by one pixel; the distance is the number of iterations that do not reach a pixel.
    """
    reached = edge.astype(np.uint8)
    distance = MAX_DISTANCE - reached
    for _ in range(MAX_DISTANCE - 2):
        reached = _filter_window(reached, np.maximum)
        distance -= reached
    return distance


def _filter_window(values: NDArray[Any], extreme: np.ufunc) -> NDArray[Any]:
    """Return the extreme of the 3 x 3 window around each pixel, computed along rows and then along columns."""
    rows = values.copy()
    extreme(rows[1:], values[:-1], out=rows[1:])
    extreme(rows[:-1], values[1:], out=rows[:-1])
    square = rows.copy()
    extreme(square[:, 1:], rows[:, :-1], out=square[:, 1:])
    extreme(square[:, :-1], rows[:, 1:], out=square[:, :-1])
    return square
