"""How a landscape finer than a pixel becomes pixels: a blur, then the mean over the pixel."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from cropzoo_plugins.datasets.landscape.land import FINE, STEP
from cropzoo_plugins.datasets.landscape.noise import Floats

MARGIN = 16
"""Cells of the fine map around a block that its pixels still see: 40 m, beyond which the widest blur is under 1e-5."""

BLUR = {10: 11.0, 20: 20.0}
"""Full width at half maximum of the blur in meters, by pixel size.

Optics and the resampling to the product's grid together. With the mean over the pixel, the contrast left at the Nyquist
frequency is .64 * exp(-(pi / 2 * blur / pixel)^2 / (4 ln 2)): .22 at 10 m and .26 at 20 m, within the .15 to .30 that
the mission requires.
"""


def shares(units: NDArray[np.int64], count: int, pixel: int) -> Floats:
    """The share of each unit in the light of each pixel.

    Args:
        units: positions of units on the fine map of a block with `MARGIN` cells on each side, (F, F).
        count: number of units.
        pixel: 10 or 20, meters.

    Returns:
        (count, H, W), float64; they add up to 1 at every pixel.
    """
    kernel = _kernel(units.shape[0], pixel)
    found = np.empty((count, len(kernel), len(kernel)))
    for unit in range(count):
        mask = units == unit
        rows, columns = (_extent(mask.any(axis=axis)) for axis in (1, 0))
        found[unit] = kernel[:, rows] @ mask[rows, columns].astype(np.float64) @ kernel[:, columns].T
    return found


def _extent(used: NDArray[np.bool_]) -> slice:
    """From the first to the last True, so that a small unit costs little."""
    places = np.flatnonzero(used)
    return slice(places[0], places[-1] + 1)


@cache
def _kernel(cells: int, pixel: int) -> Floats:
    """Weights of fine cells along one axis for each pixel, (H, F), rows adding up to 1."""
    per_pixel = FINE * pixel // 10
    sigma = BLUR[pixel] / STEP / np.sqrt(8 * np.log(2))
    pixels = (cells - 2 * MARGIN) // per_pixel
    inside = MARGIN + np.arange(pixels * per_pixel)
    blur = np.exp(-0.5 * ((np.arange(cells)[None] - inside[:, None]) / sigma) ** 2)
    blur /= blur.sum(axis=1, keepdims=True)
    return np.asarray(blur.reshape(pixels, per_pixel, cells).mean(axis=1))
