"""Arrays on disk that are either whole or made again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError

Arrays = dict[str, NDArray[np.generic]]
Layout = Mapping[str, tuple[tuple[int, ...], str]]


def default_folder() -> Path:
    """CROPZOO_CACHE, else ~/.cache/cropzoo."""
    return Path(os.environ.get("CROPZOO_CACHE") or Path.home() / ".cache" / "cropzoo")


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
            write(folder / f"{stem}.{name}.npy", lambda file, array=made[name]: np.save(file, array))
    return whole


def write(path: Path, save: Callable[..., None]) -> None:
    """Let `save` write a file beside `path`, then give it that name, so that no reader ever sees half of it.

    Raises:
        CropzooError: the folder can't be written.
    """
    beside = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            beside = file.name
            save(file)
        os.replace(beside, path)
    except OSError as error:
        if beside:
            Path(beside).unlink(missing_ok=True)
        raise CropzooError(
            f"cache file {str(path)!r}; it can't be written ({error.strerror or error}); free some space, or choose "
            "another folder by the option cache or the variable CROPZOO_CACHE"
        ) from error


def _read(path: Path, shape: tuple[int, ...], dtype: str) -> NDArray[np.generic] | None:
    try:
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    return array if array.shape == shape and array.dtype == np.dtype(dtype) else None
