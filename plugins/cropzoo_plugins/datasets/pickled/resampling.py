"""Coarser bands on the grid of the finest."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def enlarge(images: NDArray[Any], times: int) -> NDArray[Any]:
    """Images on a grid `times` finer, bilinear between the centers of pixels, the outermost repeated beyond them.

    Integers are rounded back to their type: at most half a digital number, 5e-5 of reflectance, is lost, and a series
    stays as small as it is stored. This is the rule of `align_corners=False`, and that of published readers.

    Args:
        images: (..., h, w), integer or float.
        times: at least 1.

    Returns:
        (..., times * h, times * w), of the same dtype.
    """
    if times == 1:
        return images
    height, width = images.shape[-2:]
    wide = images.astype(np.float32).reshape(-1, width) @ weights(width, times).T
    both = weights(height, times) @ wide.reshape(-1, height, times * width)
    if images.dtype.kind in "iu":
        np.rint(both, out=both)
    return both.reshape(*images.shape[:-2], times * height, times * width).astype(images.dtype)


@lru_cache(maxsize=16)
def weights(count: int, times: int) -> NDArray[np.float32]:
    """What each of `count` pixels in a row gives to each of times * count finer ones, (times * count, count)."""
    centers = np.clip((np.arange(count * times) + 0.5) / times - 0.5, 0, count - 1)
    before = np.floor(centers).astype(np.intp)
    after = np.minimum(before + 1, count - 1)
    share = (centers - before).astype(np.float32)
    found = np.zeros((count * times, count), np.float32)
    rows = np.arange(count * times)
    found[rows, before] = 1 - share
    found[rows, after] += share
    return found
