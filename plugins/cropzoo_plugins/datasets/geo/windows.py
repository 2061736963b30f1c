"""Windows on the grid of the images, and their assignment to train, val and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from cropzoo import CropzooError
from cropzoo.data.splits import SPLITS, split_blocks
from cropzoo.geo.raster.grid import Window

_TOLERANCE = 1e-3
"""Tolerance in pixels for bounds that were transformed between CRSs."""
_MIN_STRIP = 4
"""A strip at the edge is used if it is at least one in this many parts of a window wide."""
_MIN_BLOCKS = 10
"""Minimum number of blocks, if there are enough windows: with fewer blocks the shares are inexact."""

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """A grid of pixels: upper left corner of pixel (0, 0) and pixel size, in units of the CRS."""

    west: float
    north: float
    xres: float
    yres: float

    def bounds(self, window: Window) -> Bounds:
        """Return west, south, east and north of a window."""
        west, north = self.west + window.column * self.xres, self.north - window.row * self.yres
        return west, north - window.height * self.yres, west + window.width * self.xres, north

    def transform(self, window: Window) -> list[float]:
        """Return the six numbers of the transform of a window."""
        west, _, _, north = self.bounds(window)
        return [self.xres, 0.0, west, 0.0, -self.yres, north]

    def crop_to(self, bounds: Bounds) -> tuple[Frame, int, int]:
        """Return the grid that starts at the corner of the bounds, and the rows and columns that cover them."""
        west, south, east, north = bounds
        first = int(np.floor((west - self.west) / self.xres + _TOLERANCE))
        top = int(np.floor((self.north - north) / self.yres + _TOLERANCE))
        last = int(np.ceil((east - self.west) / self.xres - _TOLERANCE))
        bottom = int(np.ceil((self.north - south) / self.yres - _TOLERANCE))
        frame = Frame(self.west + first * self.xres, self.north - top * self.yres, self.xres, self.yres)
        return frame, bottom - top, last - first


def make_windows(area: Any, frame: Frame, size: int) -> tuple[Frame, list[Window]]:
    """Return the grid of an area and the windows of `size` pixels that intersect it, in reading order.

    Windows do not overlap. The rest at the lower and right edge is used for smaller windows if it is at least a quarter
    of a window wide. An area smaller than a window is one window.

    Args:
        area: Polygon or multi-polygon in the CRS of the images.
        frame: Grid of the images.
        size: Side of a window in pixels.
    """
    cropped, height, width = frame.crop_to(area.bounds)
    rows, columns = _divide(height, size), _divide(width, size)
    windows = [Window(row, column, tall, wide) for row, tall in rows for column, wide in columns]
    boxes = shapely.box(*np.array([cropped.bounds(window) for window in windows]).T)
    shapely.prepare(area)
    touched = shapely.intersects(area, boxes) & ~shapely.touches(area, boxes)
    return cropped, [window for window, keep in zip(windows, touched.tolist(), strict=True) if keep]


def _divide(length: int, size: int) -> list[tuple[int, int]]:
    """Return start and size of the windows along one axis."""
    full, rest = divmod(length, size)
    pieces = [(number * size, size) for number in range(full)]
    if rest and (not full or rest * _MIN_STRIP >= size):
        pieces.append((full * size, rest))
    return pieces


def split_windows(
    windows: Sequence[Window], size: int, block: int, gap: int, shares: Sequence[float], seed: int
) -> dict[str, list[int]]:
    """Assign windows to splits at random, in blocks of neighboring windows.

    Args:
        windows: Windows from `make_windows`, or some of them.
        size: Side of a window in pixels.
        block: Side of a block in windows; reduced if there would be too few blocks.
        gap: Windows between two blocks, which are in no split.
        shares: Shares of train, val and test.
        seed: Random seed of the assignment.

    Returns:
        Positions of the windows of each split.

    Raises:
        UsageError: The shares are not valid.
        CropzooError: There are fewer blocks than splits with a share above 0.
    """
    wanted = sum(share > 0 for share in shares)
    for side in range(block, 0, -1):
        groups = _group_windows(windows, size, side, gap)
        if len(groups) >= _MIN_BLOCKS:
            break
    if len(groups) < wanted:
        raise CropzooError(
            f"images and labels share {len(windows)} windows of {size} pixels, in {len(groups)} blocks; {wanted} "
            "splits need one each; use smaller windows (option 'window'), a smaller 'gap', or more images"
        )
    assigned = split_blocks(1, len(groups), size=1, gap=0, seed=seed, shares=shares)
    return {name: sorted(number for part in assigned[name] for number in groups[part.column]) for name in SPLITS}


def _group_windows(windows: Sequence[Window], size: int, side: int, gap: int) -> list[list[int]]:
    """Return the positions of the windows of each block."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, window in enumerate(windows):
        row, row_in = divmod(window.row // size, side + gap)
        column, column_in = divmod(window.column // size, side + gap)
        if row_in < side and column_in < side:
            groups.setdefault((row, column), []).append(number)
    return [groups[place] for place in sorted(groups)]
