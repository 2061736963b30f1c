"""Reader of pickled samples: arrays are checked before they are used, and messages name the file and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError
from cropzoo_plugins.datasets.pickled.unpickler import load_pickle

_YEARS = (1972, 2100)
"""First and last plausible year of a satellite image."""

_LARGEST = 2**53
"""Largest integer up to which all integers are exact in float64."""


class SampleFile:
    """Arrays of a pickled sample by key. Reading the file cannot run code, see `pickled.unpickler`.

    Args:
        path: Path of the pickle, a dict of arrays.

    Raises:
        CropzooError: The file is missing, truncated, dangerous, or not a dict.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found = load_pickle(path)
        if not isinstance(self._found, dict):
            raise self.error(f"it contains a {type(self._found).__name__}; it must contain a dict of arrays")

    def error(self, problem: str) -> CropzooError:
        """Return an error that names the file."""
        return CropzooError(
            f"sample {str(self.path)!r}; {problem}; copy it again, or remove it from the list of samples"
        )

    def read_numbers(self, key: str, dimensions: tuple[int, ...], kinds: str = "iuf") -> NDArray[Any]:
        """Return an array of numbers in native byte order.

        Args:
            key: Key in the dict.
            dimensions: Allowed numbers of dimensions.
            kinds: Allowed kinds of NumPy data types: i and u integers, f floats, b booleans.

        Raises:
            CropzooError: The key is missing, or the array is empty or has another data type or number of dimensions.
        """
        if key not in self._found:
            known = ", ".join(sorted(str(name)[:40] for name in self._found)[:40]) or "none"
            raise self.error(f"it has no {key!r}; its keys are {known}")
        array = np.asarray(self._find_array(key))
        if array.dtype.kind not in kinds or array.ndim not in dimensions or 0 in array.shape:
            counts = " or ".join(map(str, dimensions))
            raise self.error(
                f"{key!r} is {array.dtype} of shape {array.shape}; it must be numbers in {counts} dimensions, not empty"
            )
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def _find_array(self, key: str) -> Any:
        """Return the array, number or flat list of a key; nested lists are refused as they can exhaust the memory."""
        found = self._found[key]
        kind = type(found).__name__
        if isinstance(found, list | tuple):
            if all(isinstance(item, int | float | np.generic) for item in found):
                return found
            kind = f"{kind} with more than numbers in it"
        elif isinstance(found, np.ndarray | np.generic | int | float):
            return found
        raise self.error(f"{key!r} is a {kind}; it must be an array")

    def read_integers(self, key: str, dimensions: tuple[int, ...]) -> NDArray[np.int64]:
        """Return an array of integers; floats with integer values are accepted, as some datasets store labels so.

        Raises:
            CropzooError: As in `read_numbers`, or a number is not an integer.
        """
        array = self.read_numbers(key, dimensions, "iufb")
        fractions = array.dtype.kind == "f" and not (np.isfinite(array).all() and (np.rint(array) == array).all())
        if fractions or max(abs(float(array.min())), abs(float(array.max()))) > _LARGEST:
            raise self.error(f"{key!r} contains numbers that are not integers, or too large")
        return array.astype(np.int64)

    def check_shape(self, key: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
        """Raise an error if the array has another shape."""
        if array.shape != shape:
            raise self.error(f"{key!r} has shape {array.shape}; to match the other arrays it must be {shape}")

    def map_labels(self, key: str, codes: NDArray[np.int64], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Map crop codes to label indices.

        Args:
            key: Key of the codes, for messages.
            codes: Crop codes, any shape.
            table: Label index of each code from 0 on, 255 to ignore it.

        Raises:
            CropzooError: A code is not in the table.
        """
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= len(table):
            wrong = low if low < 0 else high
            raise self.error(f"{key!r} contains {wrong}; expected codes in [0, {len(table) - 1}]")
        found: NDArray[np.uint8] = table[codes]
        return found


def days_since_1970(file: SampleFile, doy: NDArray[np.int64], year: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Convert days of the year, 1 to 366, to days since 1970-01-01.

    Raises:
        CropzooError: A year is implausible, or a day does not exist in its year.
    """
    years = np.broadcast_to(np.asarray(year, np.int64), doy.shape)
    implausible = years[(years < _YEARS[0]) | (years > _YEARS[1])]
    if implausible.size:
        raise file.error(f"an image is of the year {int(implausible[0])}")
    first = (years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    next_first = (years - 1969).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    days = first + doy - 1
    wrong = doy[(doy < 1) | (days >= next_first)]
    if wrong.size:
        raise file.error(f"an image is of day {int(wrong[0])} of its year")
    return days


def sort_days(days: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the positions of the days in increasing order; of several images of one day, the first one is kept."""
    return np.unique(days, return_index=True)[1]
