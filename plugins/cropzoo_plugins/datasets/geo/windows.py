"""Windows on the images' grid, and which of them are for training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from cropzoo import CropzooError
from cropzoo.data.splits import SPLITS, blocks
from cropzoo.geo.raster.grid import Window

_TOLERANCE = 1e-3
"""Of a pixel: bounds that went through another CRS are that far off without meaning it."""
_SHORTEST = 4
"""A strip at the edge is used if it is at least this part of a window wide."""
_BLOCKS = 10
"""Blocks that are dealt to the splits, if the windows suffice: fewer would miss the shares by far."""

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """A grid of pixels: the corner of its pixel (0, 0), and the size of a pixel, in units of the CRS."""

    west: float
    north: float
    xres: float
    yres: float

    def bounds(self, window: Window) -> Bounds:
        """West, south, east and north of a window."""
        west, north = self.west + window.column * self.xres, self.north - window.row * self.yres
        return west, north - window.height * self.yres, west + window.width * self.xres, north

    def transform(self, window: Window) -> list[float]:
        """The six numbers of a window's transform."""
        west, _, _, north = self.bounds(window)
        return [self.xres, 0.0, west, 0.0, -self.yres, north]

    def moved(self, bounds: Bounds) -> tuple[Frame, int, int]:
        """The same grid from the corner of these bounds on, and how many rows and columns hold them."""
        west, south, east, north = bounds
        first = int(np.floor((west - self.west) / self.xres + _TOLERANCE))
        top = int(np.floor((self.north - north) / self.yres + _TOLERANCE))
        last = int(np.ceil((east - self.west) / self.xres - _TOLERANCE))
        bottom = int(np.ceil((self.north - south) / self.yres - _TOLERANCE))
        frame = Frame(self.west + first * self.xres, self.north - top * self.yres, self.xres, self.yres)
        return frame, bottom - top, last - first


def cut_windows(area: Any, frame: Frame, size: int) -> tuple[Frame, list[Window]]:
    """The windows of `size` pixels that an area touches, in reading order, and the grid that they are counted on.

    Windows do not overlap. What is left at the lower and right edge makes smaller ones if it is at least a quarter of
    a window wide, and is not used otherwise; an area smaller than a window is one of its own size.

    Args:
        area: a polygon, or several, in the images' CRS.
        frame: the images' grid.
        size: in pixels.
    """
    moved, height, width = frame.moved(area.bounds)
    rows, columns = _pieces(height, size), _pieces(width, size)
    windows = [Window(row, column, tall, wide) for row, tall in rows for column, wide in columns]
    boxes = shapely.box(*np.array([moved.bounds(window) for window in windows]).T)
    shapely.prepare(area)
    touched = shapely.intersects(area, boxes) & ~shapely.touches(area, boxes)
    return moved, [window for window, keep in zip(windows, touched.tolist(), strict=True) if keep]


def _pieces(length: int, size: int) -> list[tuple[int, int]]:
    """Start and size of the windows along one side."""
    full, rest = divmod(length, size)
    pieces = [(number * size, size) for number in range(full)]
    if rest and (not full or rest * _SHORTEST >= size):
        pieces.append((full * size, rest))
    return pieces


def deal_windows(
    windows: Sequence[Window], size: int, block: int, gap: int, shares: Sequence[float], seed: int
) -> dict[str, list[int]]:
    """Positions of the windows of each split: blocks of neighbors go to one split together, at random.

    Args:
        windows: as `cut_windows` gives them; some may be missing.
        size: of a window in pixels.
        block: side of a block in windows; smaller where that makes too few blocks.
        gap: windows between two blocks, which are in no split.
        shares: of train, val and test.
        seed: the same seed deals the same way.

    Raises:
        UsageError: wrong shares.
        CropzooError: fewer windows than splits that want one.
    """
    wanted = sum(share > 0 for share in shares)
    for side in range(block, 0, -1):
        groups = _groups(windows, size, side, gap)
        if len(groups) >= _BLOCKS:
            break
    if len(groups) < wanted:
        raise CropzooError(
            f"images and labels share {len(windows)} windows of {size} pixels, in {len(groups)} blocks; {wanted} "
            "splits want one each; use smaller windows (option 'window'), a smaller 'gap', or more images"
        )
    dealt = blocks(1, len(groups), size=1, gap=0, seed=seed, shares=shares)
    return {name: sorted(number for part in dealt[name] for number in groups[part.column]) for name in SPLITS}


def _groups(windows: Sequence[Window], size: int, side: int, gap: int) -> list[list[int]]:
    """Positions of the windows of each block."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, window in enumerate(windows):
        row, row_in = divmod(window.row // size, side + gap)
        column, column_in = divmod(window.column // size, side + gap)
        if row_in < side and column_in < side:
            groups.setdefault((row, column), []).append(number)
    return [groups[place] for place in sorted(groups)]
