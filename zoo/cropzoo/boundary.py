"""Which pixels lie at a boundary of classes or of parcels: numpy, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.samples import IGNORE

CLASS_BOUNDARY = 1
"""The bit of a pixel whose 3 x 3 window holds more than one class."""

PARCEL_BOUNDARY = 2
"""The bit of a pixel whose 3 x 3 window holds more than one parcel."""


def boundary_bits(labels: NDArray[Any], parcels: NDArray[Any] | None = None) -> NDArray[np.uint8]:
    """Whether the 3 x 3 window of each pixel, clipped at the image's edge, holds another class or another parcel.

    Two parcels of one crop that touch have no class boundary; the parcel boundary is there for them.

    Args:
        labels: (H, W), class indices, 255 = ignore. An ignored neighbour says nothing about classes, so it makes no
            boundary; a window of one class and ignored pixels is interior. An ignored pixel itself gets a bit by the
            classes around it, and no score looks at it.
        parcels: (H, W), parcel ids, 0 = no parcel, which counts as one more parcel. None leaves the second bit zero.

    Returns:
        (H, W), uint8: `CLASS_BOUNDARY` and `PARCEL_BOUNDARY` added up.

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
    return bits


def _window(values: NDArray[Any], extreme: np.ufunc) -> NDArray[Any]:
    """The extreme of the 3 x 3 window around each pixel; a square window separates into rows and columns."""
    rows = values.copy()
    extreme(rows[1:], values[:-1], out=rows[1:])
    extreme(rows[:-1], values[1:], out=rows[:-1])
    square = rows.copy()
    extreme(square[:, 1:], rows[:, :-1], out=square[:, 1:])
    extreme(square[:, :-1], rows[:, 1:], out=square[:, :-1])
    return square
