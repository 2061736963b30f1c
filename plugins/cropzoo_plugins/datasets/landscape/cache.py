"""Arrays on disk that are either whole or made again."""

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
Layout = Mapping[str, tuple[tuple[int, ...], str]]


def cached(folder: Path, stem: str, layout: Layout, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of that stem, memory-mapped; made and written where one is missing, cut short or of another layout.

    Args:
        folder: where they lie, one `STEM.NAME.npy` each; made if need be.
        stem: of their file names.
        layout: shape and dtype by name.
        make: gives them all by name.

    Raises:
        CropzooError: the folder can't be written.
    """
    found = {name: _read(folder / f"{stem}.{name}.npy", shape, dtype) for name, (shape, dtype) in layout.items()}
    whole = {name: array for name, array in found.items() if array is not None}
    if len(whole) == len(layout):
        return whole
    made = make()
    for name in layout:
        if name not in whole:
            whole[name] = made[name]
            write(folder / f"{stem}.{name}.npy", partial(np.save, arr=made[name]))
    return whole


def write(path: Path, save: Callable[[IO[bytes]], None]) -> None:
    """Let `save` write the file, whole or not at all.

    Raises:
        CropzooError: the folder can't be written.
    """
    try:
        with atomic_write(path) as scratch, scratch.open("wb") as file:
            save(file)
    except CropzooError as error:
        raise CropzooError(
            f"cache file: {error}; free some space, or choose another folder by the option cache or the variable "
            "CROPZOO_CACHE"
        ) from error


def _read(path: Path, shape: tuple[int, ...], dtype: str) -> NDArray[np.generic] | None:
    try:
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    return array if array.shape == shape and array.dtype == np.dtype(dtype) else None
