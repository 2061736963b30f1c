"""A patch written one date at a time: a series of any length, without ever holding it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cropzoo.files import replacing
from cropzoo.layout.names import clear_file, series_file


class SeriesWriter:
    """Series and cloud mask of one patch, as context: both files get their names when the block ends well.

    Args:
        folder: of the dataset.
        id: of the patch.
        shape: (T, C, H, W) of the series.
        dtype: of the series.

    Raises:
        CropzooError: a file that cannot be written.
    """

    def __init__(self, folder: Path, id: str, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
        length, _, height, width = shape
        self._targets = {
            "series": (series_file(folder, id), shape, dtype),
            "clear": (clear_file(folder, id), (length, height, width), np.dtype(np.bool_)),
        }
        self._length, self._written = length, 0
        self._files: dict[str, IO[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> SeriesWriter:
        with ExitStack() as stack:
            for name, (path, shape, dtype) in self._targets.items():
                scratch = stack.enter_context(replacing(path))
                self._files[name] = stack.enter_context(scratch.open("wb"))
                header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                npy.write_array_header_1_0(self._files[name], header)
            self._stack = stack.pop_all()
        return self

    def add(self, values: NDArray[Any], clear: NDArray[np.bool_]) -> None:
        """Write the next date: values (C, H, W) of the series' dtype, and where they are clear (H, W)."""
        for name, array in (("series", values), ("clear", clear)):
            _, shape, dtype = self._targets[name]
            if array.shape != shape[1:] or array.dtype != dtype:
                raise ValueError(f"{name} is {array.shape} of {array.dtype}; it must be {shape[1:]} of {dtype}")
            self._files[name].write(np.ascontiguousarray(array).data)
        self._written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._written != self._length:
            error = ValueError(f"{self._written} of {self._length} dates were written")
            self._stack.__exit__(type(error), error, None)
            raise error
        self._stack.__exit__(kind, error, trace)
