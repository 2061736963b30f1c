"""Spatial splits of a raster: windows of train, val and test with gaps between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.geo.raster.grid import Window

SPLITS = ("train", "val", "test")

Regions = dict[str, list[Window]]
"""Windows of each split, by name."""


def split_halves(height: int, width: int, *, axis: str = "columns", gap: int = 2, val_share: float = 0.25) -> Regions:
    """Split a raster into two halves, one for train and val, the other for test.

    With `axis="columns"` the west half of a north-up raster contains train and val and the east half is test; with
    "rows" these are the north and the south half. Val is the last part of the first half along the other axis (the
    south end of the west half). Strips of `gap` pixels separate the splits.

    The gap separates mixed pixels and small windows, but not parcels: a parcel that crosses the boundary has pixels in
    both splits, and soil and weather are correlated over longer distances. Scores on small rasters are therefore too
    optimistic; use a larger gap on large rasters.

    Args:
        height: Number of rows of the raster.
        width: Number of columns of the raster.
        axis: Axis that is divided, "columns" or "rows".
        gap: Pixels between any two splits, which belong to none.
        val_share: Share of val in the first half; 0 leaves val empty.

    Returns:
        One window each for "train", "val" and "test".

    Raises:
        UnknownName: Another axis.
        UsageError: A negative gap, or a share outside [0, 1).
        CropzooError: The raster is too small for the gap.
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


def split_blocks(
    height: int,
    width: int,
    *,
    size: int = 32,
    gap: int = 2,
    seed: int | Sequence[int] = 0,
    shares: Sequence[float] = (0.6, 0.2, 0.2),
) -> Regions:
    """Assign the blocks of a grid to the splits at random, with strips of `gap` pixels between the blocks.

    The side of a block is about `size` pixels; blocks are a pixel larger where the raster does not divide evenly.

    Args:
        height: Number of rows of the raster.
        width: Number of columns of the raster.
        size: Side of a block in pixels.
        gap: Pixels between any two blocks, which belong to none.
        seed: Random seed of the assignment.
        shares: Shares of train, val and test, relative to their sum. A split with a share above 0 gets at least one
            block.

    Returns:
        Windows of "train", "val" and "test" in reading order.

    Raises:
        UsageError: A negative gap, a size below 1, or shares that are not three numbers >= 0 with train's above 0.
        CropzooError: There are fewer blocks than splits with a share above 0.
    """
    if size < 1:
        raise UsageError(f"split 'blocks'; the block size is {size!r}; it must be 1 pixel or more")
    _check_gap("blocks", gap)
    if len(shares) != len(SPLITS) or min(shares) < 0 or not shares[0] > 0:
        raise UsageError(
            f"split 'blocks'; shares is {tuple(shares)!r}; give three numbers for train, val, test, the first above 0"
        )
    grid = [
        Window(row, column, rows, columns)
        for row, rows in _divide(height, size, gap)
        for column, columns in _divide(width, size, gap)
    ]
    wanted = sum(share > 0 for share in shares)
    if len(grid) < wanted:
        raise CropzooError(
            f"split 'blocks' of a raster of {height} x {width} pixels; blocks of {size} pixels make {len(grid)} and "
            f"{wanted} splits need one each; use a smaller block size"
        )
    order = np.random.default_rng(seed).permutation(len(grid))
    ends = np.cumsum(_apportion(len(grid), shares))
    assigned = np.split(order, ends[:-1])
    return {name: [grid[i] for i in sorted(mine.tolist())] for name, mine in zip(SPLITS, assigned, strict=True)}


def _check_gap(split: str, gap: int) -> None:
    if gap < 0:
        raise UsageError(f"split {split!r}; the gap is {gap!r}; it must be 0 pixels or more")


def _divide(length: int, size: int, gap: int) -> list[tuple[int, int]]:
    """Return start and size of pieces of about `size` pixels, `gap` apart, that fill `length` pixels."""
    pieces = max(1, round((length + gap) / (size + gap)))
    while pieces > 1 and length - (pieces - 1) * gap < pieces:
        pieces -= 1
    base, longer = divmod(length - (pieces - 1) * gap, pieces)
    sizes = [base + (i < longer) for i in range(pieces)]
    starts = [sum(sizes[:i]) + i * gap for i in range(pieces)]
    return list(zip(starts, sizes, strict=True))


def _apportion(count: int, shares: Sequence[float]) -> list[int]:
    """Divide `count` in proportion to `shares` by largest remainder, with at least 1 for a share above 0."""
    counts = [int(share > 0) for share in shares]
    for _ in range(count - sum(counts)):
        lack = [
            share / sum(shares) * count - have if share > 0 else -np.inf
            for share, have in zip(shares, counts, strict=True)
        ]
        counts[int(np.argmax(lack))] += 1
    return counts
