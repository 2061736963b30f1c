"""Windows of a network on a lattice, and the blending of what it says where they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cropzoo.geo.raster.grid import Window

_RIM = 4
"""A quarter of the overlap at a window's rim has no weight: a network knows little of what surrounds its outermost
pixels. One whose reach is that short gives the same map as if it had seen the whole image at once."""


@dataclass(frozen=True)
class Lattice:
    """The windows of an image, anchored at its first pixel, so that what a pixel gets depends on no chunk.

    The last window of a row or column is moved inwards; an image smaller than a window has one, which reaches beyond
    it. Weights fall smoothly towards the rim of a window where another one goes on, and do not at the image's edge.

    Args:
        height, width: of the image, px.
        size: side of a window, px.
        overlap: of neighboring windows, px, less than `size`.
        upsample: how many times finer than the image the network's answer is.
    """

    height: int
    width: int
    size: int
    overlap: int
    upsample: int = 1

    def windows(self, inside: Window) -> list[tuple[int, int]]:
        """First row and column of each window that has weight in a part of the image, in rows."""
        rows = self._reaching(self.height, inside.row, inside.height)
        columns = self._reaching(self.width, inside.column, inside.width)
        return [(row, column) for row in rows for column in columns]

    def around(self, inside: Window) -> Window:
        """The part of the image that those windows see."""
        row, height = self._span(self.height, inside.row, inside.height)
        column, width = self._span(self.width, inside.column, inside.width)
        return Window(row, column, height, width)

    def weights(self, row: int, column: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The weights of a window's rows and of its columns, `upsample` times finer; a pixel's is their product."""
        return self._weights(self.height, row), self._weights(self.width, column)

    def sums(self, inside: Window) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The sum of the weights of all windows on each row and on each column of a part of the image."""
        return (
            self._sum(self.height, inside.row, inside.height),
            self._sum(self.width, inside.column, inside.width),
        )

    def _reaching(self, length: int, start: int, count: int) -> list[int]:
        fine, found = self.upsample, []
        for first in starts(length, self.size, self.size - self.overlap):
            weighty = np.flatnonzero(self._weights(length, first)) + fine * first
            if weighty[0] < fine * (start + count) and weighty[-1] >= fine * start:
                found.append(first)
        return found

    def _span(self, length: int, start: int, count: int) -> tuple[int, int]:
        found = self._reaching(length, start, count)
        return found[0], min(found[-1] + self.size, length) - found[0]

    def _weights(self, length: int, first: int) -> NDArray[np.float32]:
        before, after = first > 0, first + self.size < length
        return _ramps(self.size * self.upsample, self.overlap * self.upsample, before, after)

    def _sum(self, length: int, start: int, count: int) -> NDArray[np.float32]:
        fine = self.upsample
        total = np.zeros(fine * count, np.float32)
        for first in self._reaching(length, start, count):
            here, there = _shared(fine * first, fine * self.size, fine * start, fine * count)
            total[there] += self._weights(length, first)[here]
        return total


class Blend:
    """Weighted means of probabilities over the windows of a part of an image, added in a fixed order.

    Args:
        lattice: of the image.
        inside: the part.
        classes: of the probabilities.
    """

    def __init__(self, lattice: Lattice, inside: Window, classes: int) -> None:
        self.lattice, self.inside = lattice, inside
        fine = lattice.upsample
        self._total = np.zeros((classes, fine * inside.height, fine * inside.width), np.float32)

    def add(self, row: int, column: int, probabilities: NDArray[np.float32]) -> None:
        """Take in a window's probabilities, (K, s * size, s * size)."""
        lattice, inside = self.lattice, self.inside
        fine = lattice.upsample
        side = fine * lattice.size
        from_row, to_row = _shared(fine * row, side, fine * inside.row, fine * inside.height)
        from_column, to_column = _shared(fine * column, side, fine * inside.column, fine * inside.width)
        down, across = lattice.weights(row, column)
        weights = down[from_row, None] * across[None, from_column]
        self._total[:, to_row, to_column] += probabilities[:, from_row, from_column] * weights

    def mean(self) -> NDArray[np.float32]:
        """The probabilities, (K, s * h, s * w); right where all windows of `Lattice.windows` were added."""
        down, across = self.lattice.sums(self.inside)
        mean: NDArray[np.float32] = self._total / (down[:, None] * across[None])
        return mean


@lru_cache(maxsize=1024)
def starts(length: int, size: int, stride: int) -> Sequence[int]:
    """Where windows start that cover a length; the last one is moved inwards, so that it ends where the length does."""
    last = max(length - size, 0)
    return (*range(0, last, stride), last)


@lru_cache(maxsize=64)
def _ramps(size: int, overlap: int, before: bool, after: bool) -> NDArray[np.float32]:
    """Weights of a window's pixels along one axis: a raised cosine in the overlap on the sides that have neighbors."""
    rim = overlap // _RIM
    steps = (np.arange(size) - rim + 0.5) / max(overlap - 2 * rim, 1)
    ramp = np.sin(np.pi / 2 * steps.clip(0, 1)) ** 2
    weights = (ramp if before else np.ones(size)) * (ramp[::-1] if after else np.ones(size))
    frozen = weights.astype(np.float32)
    frozen.setflags(write=False)
    return frozen


def _shared(start: int, size: int, other: int, length: int) -> tuple[slice, slice]:
    """What two stretches of a line have in common, in the pixels of each."""
    first, end = max(start, other), min(start + size, other + length)
    return slice(first - start, end - start), slice(first - other, end - other)
