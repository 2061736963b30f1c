"""Lattice of the network's windows, and the blending of probabilities where windows overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cropzoo.geo.raster.grid import Window

_RIM = 4
"""One in `_RIM` pixels of the overlap, at the rim of a window, has no weight, because the network lacks the context of
its outermost pixels. A network with a smaller receptive field gives the same map as for the complete image at once."""


@dataclass(frozen=True)
class Lattice:
    """The windows of an image, anchored at its first pixel, so that results do not depend on chunks.

    The last window of a row or column is shifted inwards; an image smaller than a window has one window, which exceeds
    it. Weights decrease smoothly towards the rim of a window where it has a neighbor, and not at the image's edge.

    Args:
        height: Height of the image, px.
        width: Width of the image, px.
        size: Side of a window, px.
        overlap: Overlap of neighboring windows, px, less than `size`.
        upsample: Factor by which the network's output is finer than the image.
    """

    height: int
    width: int
    size: int
    overlap: int
    upsample: int = 1

    def windows(self, inside: Window) -> list[tuple[int, int]]:
        """First row and column of each window with weight in a part of the image, in row-major order."""
        rows = self._reaching(self.height, inside.row, inside.height)
        columns = self._reaching(self.width, inside.column, inside.width)
        return [(row, column) for row in rows for column in columns]

    def around(self, inside: Window) -> Window:
        """The part of the image that the windows of `inside` cover."""
        row, height = self._span(self.height, inside.row, inside.height)
        column, width = self._span(self.width, inside.column, inside.width)
        return Window(row, column, height, width)

    def weights(self, row: int, column: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights of a window's rows and columns at the output's resolution; a pixel's weight is their product."""
        return self._weights(self.height, row), self._weights(self.width, column)

    def sums(self, inside: Window) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Sums of the weights of all windows on each row and each column of a part of the image."""
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
    """Weighted means of probabilities over the windows of a part of an image.

    Args:
        lattice: Lattice of the image.
        inside: Part of the image.
        classes: Number of classes.
    """

    def __init__(self, lattice: Lattice, inside: Window, classes: int) -> None:
        self.lattice, self.inside = lattice, inside
        fine = lattice.upsample
        self._total = np.zeros((classes, fine * inside.height, fine * inside.width), np.float32)

    def add(self, row: int, column: int, probabilities: NDArray[np.float32]) -> None:
        """Add a window's probabilities, (K, s * size, s * size), s = `upsample`."""
        lattice, inside = self.lattice, self.inside
        fine = lattice.upsample
        side = fine * lattice.size
        from_row, to_row = _shared(fine * row, side, fine * inside.row, fine * inside.height)
        from_column, to_column = _shared(fine * column, side, fine * inside.column, fine * inside.width)
        down, across = lattice.weights(row, column)
        weights = down[from_row, None] * across[None, from_column]
        self._total[:, to_row, to_column] += probabilities[:, from_row, from_column] * weights

    def mean(self) -> NDArray[np.float32]:
        """The mean probabilities, (K, s * h, s * w), once all windows of `Lattice.windows` have been added."""
        down, across = self.lattice.sums(self.inside)
        mean: NDArray[np.float32] = self._total / (down[:, None] * across[None])
        return mean


@lru_cache(maxsize=1024)
def starts(length: int, size: int, stride: int) -> Sequence[int]:
    """First positions of windows that cover a length; the last window is shifted inwards to end with it."""
    last = max(length - size, 0)
    return (*range(0, last, stride), last)


@lru_cache(maxsize=64)
def _ramps(size: int, overlap: int, before: bool, after: bool) -> NDArray[np.float32]:
    """Weights of a window's pixels along one axis: a raised cosine in the overlap on sides with a neighbor."""
    rim = overlap // _RIM
    steps = (np.arange(size) - rim + 0.5) / max(overlap - 2 * rim, 1)
    ramp = np.sin(np.pi / 2 * steps.clip(0, 1)) ** 2
    weights = (ramp if before else np.ones(size)) * (ramp[::-1] if after else np.ones(size))
    frozen = weights.astype(np.float32)
    frozen.setflags(write=False)
    return frozen


def _shared(start: int, size: int, other: int, length: int) -> tuple[slice, slice]:
    """The intersection of two intervals, as slices of each."""
    first, end = max(start, other), min(start + size, other + length)
    return slice(first - start, end - start), slice(first - other, end - other)
