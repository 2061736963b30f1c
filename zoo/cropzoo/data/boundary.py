"""Which pixels lie at a boundary of classes or of parcels, and how far from it: numpy, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import IGNORE

CLASS_BOUNDARY = 1
"""The bit of a pixel whose 3 x 3 window holds more than one class."""

PARCEL_BOUNDARY = 2
"""The bit of a pixel whose 3 x 3 window holds more than one parcel."""

OF_PARCELS = 4
"""The bit that says that the distance is to a boundary of parcels, not of classes."""

DISTANCE_SHIFT = 3
"""The bits from this one on hold the distance, 1 to `MOST_DISTANCE` px; 0 = unknown."""

MOST_DISTANCE = 8
"""The distance that stands for itself and all beyond."""


def boundary_bits(labels: NDArray[Any], parcels: NDArray[Any] | None = None) -> NDArray[np.uint8]:
    """Whether each pixel's 3 x 3 window, clipped at the image, holds another class or parcel, and how far one is.

    Two parcels of one crop that touch have no class boundary; the parcel boundary is there for them. The distance is
    to the parcel boundary where there are parcels, else to the class boundary: 1 for a pixel at it, else one more than
    the chessboard distance to the nearest such pixel. What lies outside the image is not seen, so a pixel near the
    edge may be nearer to a boundary than its distance says.

    Args:
        labels: (H, W), class indices, 255 = ignore. An ignored neighbor says nothing about classes, so it makes no
            boundary; a window of one class and ignored pixels is interior. An ignored pixel itself gets a bit by the
            classes around it, and no score looks at it.
        parcels: (H, W), parcel ids, 0 = no parcel, which counts as one more parcel. None leaves the second bit zero.

    Returns:
        (H, W), uint8: `CLASS_BOUNDARY`, `PARCEL_BOUNDARY` and `OF_PARCELS` added up, and the distance in the bits from
        `DISTANCE_SHIFT` on, `MOST_DISTANCE` for that far or more.

    Raises:
        ValueError: unless the arrays are of two dimensions and of one shape.

    Source: Tarasiou et al. 2022, arXiv:2104.04310, for the class boundary; the treatment of ignored pixels is ours.
    """
    if labels.ndim != 2 or (parcels is not None and parcels.shape != labels.shape):
        shapes = [array.shape for array in (labels, parcels) if array is not None]
        raise ValueError(f"labels and parcels must be (H, W), both of one shape; they are {shapes}")
    known = labels != IGNORE
    classes = labels.astype(np.int16)
    low = _window(np.where(known, classes, IGNORE), np.minimum)
    high = _window(np.where(known, classes, -1), np.maximum)
    bits = np.where(high > low, CLASS_BOUNDARY, 0).astype(np.uint8)
    if parcels is not None:
        bits[_window(parcels, np.maximum) > _window(parcels, np.minimum)] |= PARCEL_BOUNDARY
    edge = bits & (CLASS_BOUNDARY if parcels is None else PARCEL_BOUNDARY) != 0
    bits |= _distance(edge) << DISTANCE_SHIFT
    return bits if parcels is None else bits | np.uint8(OF_PARCELS)


def _distance(edge: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """One more than the chessboard distance to the nearest pixel of the edge, (H, W), from 1 to `MOST_DISTANCE`.

    Each round grows the edge by a pixel; a pixel is as far as there are rounds that have not reached it.
    """
    reached = edge.astype(np.uint8)
    distance = MOST_DISTANCE - reached
    for _ in range(MOST_DISTANCE - 2):
        reached = _window(reached, np.maximum)
        distance -= reached
    return distance


def _window(values: NDArray[Any], extreme: np.ufunc) -> NDArray[Any]:
    """The extreme of the 3 x 3 window around each pixel; a square window separates into rows and columns."""
    rows = values.copy()
    extreme(rows[1:], values[:-1], out=rows[1:])
    extreme(rows[:-1], values[1:], out=rows[:-1])
    square = rows.copy()
    extreme(square[:, 1:], rows[:, :-1], out=square[:, 1:])
    extreme(square[:, :-1], rows[:, 1:], out=square[:, :-1])
    return square
