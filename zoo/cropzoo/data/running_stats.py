"""Count, mean and spread of bands, block by block: exact for the integers that images are stored in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError


class RunningStats:
    """Count, mean and spread of every band, taken in block by block and merged in any order.

    Integers of up to 16 bits are summed exactly, so that the result does not depend on how they were cut into blocks or
    on who merged what first. Other values go in as float64 and are merged as means and squared deviations.

    Args:
        bands: how many.

    Source: Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115 (pairwise update of variances).
    """

    def __init__(self, bands: int) -> None:
        self._whole = _Sums(0, [0] * bands, [0] * bands)
        self._real = _Spread(0, np.zeros(bands), np.zeros(bands))

    @property
    def bands(self) -> int:
        """How many bands there are."""
        return len(self._whole.sums)

    @property
    def count(self) -> int:
        """Values of each band taken in so far."""
        return self._whole.count + self._real.count

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each band, (C,); zero while there is no value."""
        return self._total().mean

    @property
    def squares(self) -> NDArray[np.float64]:
        """Sum of squared deviations from the mean of each band, (C,)."""
        return self._total().squares

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of each band, (C,), that of the population (divided by N)."""
        spread = self._total()
        return np.sqrt(spread.squares / max(spread.count, 1))

    def add(self, values: NDArray[Any], where: NDArray[np.bool_] | None = None) -> None:
        """Take in values of shape (C, ...), all of them or, of each band, those at the True of `where` (...)."""
        flat = values.reshape(len(values), -1)
        mask = None if where is None else np.asarray(where).reshape(-1)
        exact = flat.dtype.kind in "iu" and flat.dtype.itemsize <= 2
        for start in range(0, flat.shape[1], _BLOCK):
            block = flat[:, start : start + _BLOCK]
            used = None if mask is None else mask[start : start + _BLOCK]
            if exact:
                self._whole.add(block, used)
            else:
                self._real.add(block if used is None else block[:, used])

    def merge(self, other: RunningStats) -> None:
        """Take in all that another has taken in."""
        self._whole.merge(other._whole)
        self._real.merge(other._real)

    def as_dict(self) -> dict[str, Any]:
        """The whole state as plain numbers and lists, for a JSON file; `from_dict` brings it back to the last bit."""
        whole, real = self._whole, self._real
        return {
            "whole": {"count": whole.count, "sums": list(whole.sums), "squares": list(whole.squares)},
            "real": {"count": real.count, "mean": real.mean.tolist(), "squares": real.squares.tolist()},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> RunningStats:
        """What `as_dict` gave.

        Raises:
            CropzooError: for anything else.
        """
        try:
            whole, real = state["whole"], state["real"]
            moments = cls(len(whole["sums"]))
            moments._whole = _Sums(
                int(whole["count"]), [int(n) for n in whole["sums"]], [int(n) for n in whole["squares"]]
            )
            moments._real = _Spread(
                int(real["count"]), np.array(real["mean"], np.float64), np.array(real["squares"], np.float64)
            )
            lengths = {len(each) for each in (moments._whole.squares, moments._real.mean, moments._real.squares)}
        except (KeyError, TypeError, ValueError) as error:
            raise CropzooError(f"stored band moments {state!r}; they are not what was written; delete them") from error
        if lengths != {moments.bands}:
            raise CropzooError(f"stored band moments {state!r}; they are of different bands; delete them")
        return moments

    @classmethod
    def described(cls, count: int, mean: Sequence[float], std: Sequence[float]) -> RunningStats:
        """Those of `count` values of which only mean and standard deviation are known."""
        moments = cls(len(mean))
        moments._real = _Spread(count, np.array(mean, np.float64), np.array(std, np.float64) ** 2 * count)
        return moments

    def _total(self) -> _Spread:
        total = self._whole.spread()
        total.merge(self._real)
        return total


_BLOCK = 1 << 16
"""Values of a band at a time: their float64 copy stays in the processor's cache, and 2^16 squares of 16-bit integers
add up to less than 2^53, so that float64 holds every sum of them exactly."""


@dataclass
class _Sums:
    """Count, sum and sum of squares of integers, as Python integers, which have no end."""

    count: int
    sums: list[int]
    squares: list[int]

    def add(self, block: NDArray[Any], used: NDArray[np.bool_] | None) -> None:
        """Take in (C, N) integers of at most 16 bits, N <= `_BLOCK`."""
        values = np.empty(block.shape[1], np.float64)
        weights = None if used is None else used.astype(np.float64)  # multiplying is faster than picking
        for band, row in enumerate(block):
            if weights is None:
                values[:] = row
            else:
                np.multiply(row, weights, out=values)
            self.sums[band] += int(values.sum())
            self.squares[band] += int(values @ values)
        self.count += block.shape[1] if used is None else int(np.count_nonzero(used))

    def merge(self, other: _Sums) -> None:
        self.count += other.count
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        self.squares = [mine + theirs for mine, theirs in zip(self.squares, other.squares, strict=True)]

    def spread(self) -> _Spread:
        """The same as mean and squared deviations, each rounded once."""
        count = max(self.count, 1)
        pairs = list(zip(self.sums, self.squares, strict=True))
        mean = np.array([total / count for total, _ in pairs], np.float64)
        return _Spread(self.count, mean, np.array([(count * squares - total**2) / count for total, squares in pairs]))


@dataclass
class _Spread:
    """Count, mean and sum of squared deviations of floats."""

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    def add(self, block: NDArray[Any]) -> None:
        """Take in (C, N) values."""
        if block.shape[1] == 0:
            return
        values = block.astype(np.float64)
        mean = values.mean(axis=1)
        values -= mean[:, None]
        self.merge(_Spread(values.shape[1], mean, np.einsum("cn,cn->c", values, values)))

    def merge(self, other: _Spread) -> None:
        if other.count == 0:
            return
        total = self.count + other.count
        step = other.mean - self.mean
        self.squares = self.squares + other.squares + step**2 * (self.count * other.count / total)
        self.mean = self.mean + step * (other.count / total)
        self.count = total
