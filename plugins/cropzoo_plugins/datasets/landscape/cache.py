"""Cache of arrays on disk; incomplete files are made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError
from cropzoo.io import atomic_write

Arrays = dict[str, NDArray[np.generic]]

ArraySpecs = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and dtype of arrays by name."""


def load_or_make(folder: Path, stem: str, specs: ArraySpecs, make: Callable[[], Arrays]) -> Arrays:
    """Return cached arrays, memory-mapped; make and write those that are missing, truncated or of another shape.

    Args:
        folder: Folder of the files, one `STEM.NAME.npy` per array; created if necessary.
        stem: Stem of the file names.
        specs: Shape and dtype of each array by name.
        make: Function that returns all arrays by name.

    Raises:
        CropzooError: The folder cannot be written.
    """
    found = {name: _read(folder / f"{stem}.{name}.npy", shape, dtype) for name, (shape, dtype) in specs.items()}
    arrays = {name: array for name, array in found.items() if array is not None}
    if len(arrays) == len(specs):
        return arrays
    made = make()
    for name in specs:
        if name not in arrays:
            arrays[name] = made[name]
            write_file(folder / f"{stem}.{name}.npy", partial(np.save, arr=made[name]))
    return arrays


def write_file(path: Path, save: Callable[[IO[bytes]], None]) -> None:
    """Write a file atomically with the function `save`.

    Raises:
        CropzooError: The folder cannot be written.
    """
    try:
        with atomic_write(path) as scratch, scratch.open("wb") as file:
            save(file)
    except CropzooError as error:
        raise CropzooError(
            f"cache file: {error}; free some space, or choose another folder with option cache or the variable "
            "CROPZOO_CACHE"
        ) from error


def _read(path: Path, shape: tuple[int, ...], dtype: str) -> NDArray[np.generic] | None:
    try:
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    return array if array.shape == shape and array.dtype == np.dtype(dtype) else None
