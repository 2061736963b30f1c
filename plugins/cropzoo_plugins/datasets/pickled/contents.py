"""What is in a pickled sample, checked before it is used; every message names the file and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError
from cropzoo_plugins.datasets.pickled.unpickler import load_pickle

_LARGEST = 2**53
"""Whole numbers up to it are exact as floats too."""


class Contents:
    """The arrays of one file by their keys; nothing in it can run code, see `pickled.unpickler`.

    Args:
        path: of the pickle, a dict of arrays.

    Raises:
        CropzooError: a file that is missing, cut off, dangerous, or no dict.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found = load_pickle(path)
        if not isinstance(self._found, dict):
            raise self.error(f"it holds a {type(self._found).__name__}; it must hold a dict of arrays")

    def error(self, problem: str) -> CropzooError:
        """An error that starts with the file's name."""
        return CropzooError(f"sample {str(self.path)!r}; {problem}; copy it again, or take it off the list of samples")

    def numbers(self, key: str, dimensions: tuple[int, ...], kinds: str = "iuf") -> NDArray[Any]:
        """The array of that key, of numbers in the machine's byte order.

        Args:
            key: in the dict.
            dimensions: how many it may have.
            kinds: of NumPy: i and u integers, f floats, b booleans.

        Raises:
            CropzooError: no such key, no numbers, other dimensions, or an empty one.
        """
        if key not in self._found:
            known = ", ".join(sorted(str(name)[:40] for name in self._found)[:40]) or "none"
            raise self.error(f"it has no {key!r}; its keys are {known}")
        array = np.asarray(self._plain(key))
        if array.dtype.kind not in kinds or array.ndim not in dimensions or 0 in array.shape:
            counts = " or ".join(map(str, dimensions))
            raise self.error(
                f"{key!r} is {array.dtype} of shape {array.shape}; it must be numbers in {counts} dimensions, not empty"
            )
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def _plain(self, key: str) -> Any:
        """The array, number or flat list of numbers of that key: lists of lists can be made to take all memory."""
        found = self._found[key]
        kind = type(found).__name__
        if isinstance(found, list | tuple):
            if all(isinstance(item, int | float | np.generic) for item in found):
                return found
            kind = f"{kind} with more than numbers in it"
        elif isinstance(found, np.ndarray | np.generic | int | float):
            return found
        raise self.error(f"{key!r} is a {kind}; it must be an array")

    def whole(self, key: str, dimensions: tuple[int, ...]) -> NDArray[np.int64]:
        """The array of that key as integers; some datasets store labels as floats.

        Raises:
            CropzooError: as `numbers`, and for a number that is not whole.
        """
        array = self.numbers(key, dimensions, "iufb")
        fractions = array.dtype.kind == "f" and not (np.isfinite(array).all() and (np.rint(array) == array).all())
        if fractions or max(abs(float(array.min())), abs(float(array.max()))) > _LARGEST:
            raise self.error(f"{key!r} holds numbers that are not whole, or too large")
        return array.astype(np.int64)

    def fit(self, key: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
        """Refuse an array of another shape."""
        if array.shape != shape:
            raise self.error(f"{key!r} has shape {array.shape}; with the others it must be {shape}")

    def labels(self, key: str, codes: NDArray[np.int64], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices of crop codes.

        Args:
            key: where they come from, for messages.
            codes: of any shape.
            table: the index of each code from 0 on, 255 to ignore it.

        Raises:
            CropzooError: a code that the table doesn't reach.
        """
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= len(table):
            wrong = low if low < 0 else high
            raise self.error(f"{key!r} holds {wrong}; its codes are 0 to {len(table) - 1}")
        found: NDArray[np.uint8] = table[codes]
        return found
