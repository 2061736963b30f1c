"""Folds: blocks of ground, years, or what a column of the parcels says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError

FIXED = {"train": 1, "val": 2, "test": 3}
"""Folds of a split that the parcel file names."""


def block_of(row: int, column: int, block: int) -> tuple[int, int]:
    """Which block of that many pixels a window starts in."""
    return row // block, column // block


def fitting_block(block: int, window: int, sizes: Sequence[tuple[int, int]], folds: int) -> int:
    """The block size to use: the one asked for, halved until twice as many blocks as folds fit, down to one window.

    Args:
        block: asked for, pixels.
        window: pixels; blocks hold whole windows.
        sizes: (height, width) of the tiles in pixels.
        folds: how many folds.
    """
    across = max(block // window, 1)
    while across > 1 and _count(across * window, sizes) < 2 * folds:
        across //= 2
    return across * window


def _count(block: int, sizes: Sequence[tuple[int, int]]) -> int:
    return sum(-(-height // block) * -(-width // block) for height, width in sizes)


def deal(counts: NDArray[np.int64], folds: int, seed: int) -> list[int]:
    """A fold, from 1, for every block, so that each class is spread over the folds as evenly as it goes.

    The block with the largest share of any class comes first; each goes to the fold that lacks most of what it holds.
    Every fold gets a block at least. The same seed deals the same way.

    Args:
        counts: (blocks, classes), pixels of each class in each block.
        folds: how many.
        seed: breaks ties.

    Raises:
        CropzooError: fewer blocks than folds.

    Source: after Sechidis et al. 2011, doi:10.1007/978-3-642-23808-6_10 (iterative stratification), by pixels.
    """
    blocks = len(counts)
    if blocks < folds:
        raise CropzooError(f"split into {folds} folds; there are {blocks} blocks of ground; use smaller windows")
    shares = counts / np.maximum(counts.sum(axis=0, keepdims=True), 1)
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(blocks)
    order = shuffled[np.argsort(-shares[shuffled].max(axis=1, initial=0), kind="stable")]
    lacks = np.full((folds, counts.shape[1]), 1 / folds)
    empty = set(range(folds))
    dealt = np.zeros(blocks, np.int64)
    for position, block in enumerate(order):
        open_folds = sorted(empty) if blocks - position == len(empty) else range(folds)
        need = [float(lacks[fold] @ shares[block]) for fold in open_folds]
        fold = list(open_folds)[int(np.argmax(need))]
        lacks[fold] -= shares[block]
        empty.discard(fold)
        dealt[block] = fold + 1
    return [int(fold) for fold in dealt]
