"""Running count, mean and variance of bands, exact for integers of up to 16 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError

_BLOCK = 1 << 16
"""Values of a band per block: their float64 copy fits in the processor's cache, and 2^16 squares of 16-bit integers
add up to less than 2^53, so float64 holds each sum exactly."""


class RunningStats:
    """Running count, mean and variance of each band, updated with arrays and merged in any order.

    Integers of up to 16 bits are summed exactly, so the result does not depend on how they were divided into blocks or
    on the order of merges. Other values are converted to float64 and merged as means and squared deviations.

    Args:
        bands: Number of bands.

    Source: Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115 (pairwise update of variances).
    """

    def __init__(self, bands: int) -> None:
        self._exact = _ExactSums(0, [0] * bands, [0] * bands)
        self._float = _Moments(0, np.zeros(bands), np.zeros(bands))

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self._exact.sums)

    @property
    def count(self) -> int:
        """Number of values of each band added so far."""
        return self._exact.count + self._float.count

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each band, (C,); zero before the first value."""
        return self._total().mean

    @property
    def squares(self) -> NDArray[np.float64]:
        """Sum of squared deviations from the mean of each band, (C,)."""
        return self._total().squares

    @property
    def std(self) -> NDArray[np.float64]:
        """Population standard deviation of each band (divided by N), (C,)."""
        total = self._total()
        return np.sqrt(total.squares / max(total.count, 1))

    def add(self, values: NDArray[Any], where: NDArray[np.bool_] | None = None) -> None:
        """Add values (C, ...); `where` (...), bool, selects the values to add, None selects all."""
        flat = values.reshape(len(values), -1)
        mask = None if where is None else np.asarray(where).reshape(-1)
        exact = flat.dtype.kind in "iu" and flat.dtype.itemsize <= 2
        for start in range(0, flat.shape[1], _BLOCK):
            block = flat[:, start : start + _BLOCK]
            used = None if mask is None else mask[start : start + _BLOCK]
            if exact:
                self._exact.add(block, used)
            else:
                self._float.add(block if used is None else block[:, used])

    def merge(self, other: RunningStats) -> None:
        """Add the values of another object."""
        self._exact.merge(other._exact)
        self._float.merge(other._float)

    def as_dict(self) -> dict[str, Any]:
        """Return the state as numbers and lists for a JSON file; `from_dict` restores it exactly."""
        exact, inexact = self._exact, self._float
        return {
            "whole": {"count": exact.count, "sums": list(exact.sums), "squares": list(exact.squares)},
            "real": {"count": inexact.count, "mean": inexact.mean.tolist(), "squares": inexact.squares.tolist()},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> RunningStats:
        """Return the object with a state that `as_dict` returned.

        Raises:
            CropzooError: The state is not one that `as_dict` returned.
        """
        try:
            exact, inexact = state["whole"], state["real"]
            stats = cls(len(exact["sums"]))
            stats._exact = _ExactSums(
                int(exact["count"]), [int(n) for n in exact["sums"]], [int(n) for n in exact["squares"]]
            )
            stats._float = _Moments(
                int(inexact["count"]), np.array(inexact["mean"], np.float64), np.array(inexact["squares"], np.float64)
            )
            lengths = {len(each) for each in (stats._exact.squares, stats._float.mean, stats._float.squares)}
        except (KeyError, TypeError, ValueError) as error:
            raise CropzooError(f"stored band moments {state!r}; they are not valid; delete them") from error
        if lengths != {stats.bands}:
            raise CropzooError(f"stored band moments {state!r}; their numbers of bands differ; delete them")
        return stats

    @classmethod
    def from_moments(cls, count: int, mean: Sequence[float], std: Sequence[float]) -> RunningStats:
        """Return the object for `count` values of which only mean and standard deviation are known."""
        stats = cls(len(mean))
        stats._float = _Moments(count, np.array(mean, np.float64), np.array(std, np.float64) ** 2 * count)
        return stats

    def _total(self) -> _Moments:
        total = self._exact.to_moments()
        total.merge(self._float)
        return total


@dataclass
class _ExactSums:
    """Count, sum and sum of squares of integers, as Python integers of unlimited size."""

    count: int
    sums: list[int]
    squares: list[int]

    def add(self, block: NDArray[Any], used: NDArray[np.bool_] | None) -> None:
        """Add (C, N) integers of at most 16 bits, N <= `_BLOCK`."""
        values = np.empty(block.shape[1], np.float64)
        weights = None if used is None else used.astype(np.float64)  # multiplying is faster than indexing
        for band, row in enumerate(block):
            if weights is None:
                values[:] = row
            else:
                np.multiply(row, weights, out=values)
            self.sums[band] += int(values.sum())
            self.squares[band] += int(values @ values)
        self.count += block.shape[1] if used is None else int(np.count_nonzero(used))

    def merge(self, other: _ExactSums) -> None:
        self.count += other.count
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        self.squares = [mine + theirs for mine, theirs in zip(self.squares, other.squares, strict=True)]

    def to_moments(self) -> _Moments:
        """Return mean and squared deviations, each rounded once."""
        count = max(self.count, 1)
        pairs = list(zip(self.sums, self.squares, strict=True))
        mean = np.array([total / count for total, _ in pairs], np.float64)
        return _Moments(self.count, mean, np.array([(count * squares - total**2) / count for total, squares in pairs]))


@dataclass
class _Moments:
    """Count, mean and sum of squared deviations of floats."""

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    def add(self, block: NDArray[Any]) -> None:
        """Add (C, N) values."""
        if block.shape[1] == 0:
            return
        values = block.astype(np.float64)
        mean = values.mean(axis=1)
        values -= mean[:, None]
        self.merge(_Moments(values.shape[1], mean, np.einsum("cn,cn->c", values, values)))

    def merge(self, other: _Moments) -> None:
        if other.count == 0:
            return
        total = self.count + other.count
        step = other.mean - self.mean
        self.squares = self.squares + other.squares + step**2 * (self.count * other.count / total)
        self.mean = self.mean + step * (other.count / total)
        self.count = total
