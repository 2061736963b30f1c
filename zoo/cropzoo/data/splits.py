"""Splits of one raster in space: windows for train, val and test with gaps between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.geo.raster.grid import Window

SPLITS = ("train", "val", "test")


Regions = dict[str, list[Window]]
"""The windows of each split, by its name."""


def halves(height: int, width: int, *, axis: str = "columns", gap: int = 2, val_share: float = 0.25) -> Regions:
    """One half to learn from, the other to test on, a strip of `gap` pixels between them.

    With `axis="columns"` a north-up raster's west half holds train and val and its east half is test; with "rows" it is
    north and south. Val is the last part of the first half along the other axis (the south end of the west half),
    `val_share` of it, with a strip of `gap` pixels before it.

    The gap keeps mixed pixels and small windows from reaching across a cut. It does not keep parcels apart: one that is
    wider than the gap and lies across the cut has pixels on both sides, and soil and weather are alike for much farther
    than that. On small rasters such parcels are many, and scores are too good for it; on large ones a larger gap helps.

    Args:
        height: rows of the raster.
        width: columns of the raster.
        axis: "columns" or "rows", the axis that is cut in two.
        gap: pixels between any two splits; they belong to none.
        val_share: val's share of the first half; 0 leaves val empty.

    Returns:
        "train", "val" and "test", a window each.

    Raises:
        UnknownName: for another axis.
        UsageError: a negative gap or a share outside [0, 1).
        CropzooError: the raster is too small for the gap.
    """
    if axis not in ("columns", "rows"):
        raise UnknownName("split axis", axis, ("columns", "rows"))
    if not 0 <= val_share < 1:
        raise UsageError(f"split 'halves'; val_share is {val_share!r}; it must be at least 0 and less than 1")
    _check_gap("halves", gap)
    cut, along = (width, height) if axis == "columns" else (height, width)
    first = (cut - gap) // 2
    val = max(1, round(val_share * (along - gap))) if val_share else 0
    train = along - val - (gap if val else 0)
    if first < 1 or train < 1:
        raise CropzooError(
            f"split 'halves' of a raster of {height} x {width} pixels; a gap of {gap} pixels and a val_share of "
            f"{val_share!r} leave nothing to train on; use a smaller gap or a larger raster"
        )

    def window(across: int, across_size: int, start: int, size: int) -> Window:
        return (
            Window(start, across, size, across_size) if axis == "columns" else Window(across, start, across_size, size)
        )

    return {
        "train": [window(0, first, 0, train)],
        "val": [window(0, first, along - val, val)] if val else [],
        "test": [window(first + gap, cut - first - gap, 0, along)],
    }


def blocks(
    height: int,
    width: int,
    *,
    size: int = 32,
    gap: int = 2,
    seed: int | Sequence[int] = 0,
    shares: Sequence[float] = (0.6, 0.2, 0.2),
) -> Regions:
    """A grid of blocks, dealt to the splits at random, strips of `gap` pixels between all of them.

    As many blocks as fit best at about `size` pixels a side; what does not divide evenly makes some a pixel larger.

    Args:
        height: rows of the raster.
        width: columns of the raster.
        size: side of a block in pixels.
        gap: pixels between any two blocks; they belong to none.
        seed: the same seed deals the same way.
        shares: of train, val and test; they count relative to their sum. A share above 0 gets a block at least.

    Returns:
        "train", "val" and "test", each a list of windows in reading order.

    Raises:
        UsageError: a negative gap, a size below 1, shares that are not three numbers >= 0 with one for train.
        CropzooError: fewer blocks than splits that want one.
    """
    if size < 1:
        raise UsageError(f"split 'blocks'; the block size is {size!r}; it must be 1 pixel or more")
    _check_gap("blocks", gap)
    if len(shares) != len(SPLITS) or min(shares) < 0 or not shares[0] > 0:
        raise UsageError(
            f"split 'blocks'; shares is {tuple(shares)!r}; give three numbers, of train, val and test, train's above 0"
        )
    grid = [
        Window(row, column, rows, columns)
        for row, rows in _cut(height, size, gap)
        for column, columns in _cut(width, size, gap)
    ]
    wanted = sum(share > 0 for share in shares)
    if len(grid) < wanted:
        raise CropzooError(
            f"split 'blocks' of a raster of {height} x {width} pixels; blocks of {size} pixels make {len(grid)} and "
            f"{wanted} splits want one; use a smaller block size"
        )
    order = np.random.default_rng(seed).permutation(len(grid))
    ends = np.cumsum(_deal(len(grid), shares))
    dealt = np.split(order, ends[:-1])
    return {name: [grid[i] for i in sorted(mine.tolist())] for name, mine in zip(SPLITS, dealt, strict=True)}


def _check_gap(split: str, gap: int) -> None:
    if gap < 0:
        raise UsageError(f"split {split!r}; the gap is {gap!r}; it must be 0 pixels or more")


def _cut(length: int, size: int, gap: int) -> list[tuple[int, int]]:
    """Start and size of the pieces of about `size` pixels that `length` holds, `gap` apart."""
    pieces = max(1, round((length + gap) / (size + gap)))
    while pieces > 1 and length - (pieces - 1) * gap < pieces:
        pieces -= 1
    base, longer = divmod(length - (pieces - 1) * gap, pieces)
    sizes = [base + (i < longer) for i in range(pieces)]
    starts = [sum(sizes[:i]) + i * gap for i in range(pieces)]
    return list(zip(starts, sizes, strict=True))


def _deal(count: int, shares: Sequence[float]) -> list[int]:
    """`count` in proportion to `shares` by largest remainder, at least 1 for a share above 0."""
    dealt = [int(share > 0) for share in shares]
    for _ in range(count - sum(dealt)):
        lack = [
            share / sum(shares) * count - have if share > 0 else -np.inf
            for share, have in zip(shares, dealt, strict=True)
        ]
        dealt[int(np.argmax(lack))] += 1
    return dealt
