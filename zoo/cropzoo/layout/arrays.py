"""Opening .npy files of others: checked by their header, without reading a pixel."""

from __future__ import annotations

import math
import mmap
import os
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError


def open_array(path: Path, kinds: str, dimensions: int, what: str) -> NDArray[Any]:
    """The array in a .npy file, memory-mapped: pixels are read when they are used, and given back when it goes.

    Args:
        path: of the file.
        kinds: letters of numpy's kinds that it may hold, such as "iuf" for numbers.
        dimensions: how many it must have.
        what: what it should hold, in words, for messages.

    Raises:
        CropzooError: a file that is missing, cut off, or holds something else.
    """
    again = "copy or prepare the dataset again"
    try:
        # Not np.load: it also opens archives and pickles, and reads the header anew each time, half of a crop's cost.
        with path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            header = _header(str(path), status.st_size, status.st_mtime_ns)
            shape, dtype = header.shape, header.dtype
            wrong = dtype.kind not in kinds or len(shape) != dimensions or min(shape, default=0) < 1
            if not wrong:
                length = header.offset + math.prod(shape) * dtype.itemsize
                if status.st_size < length:
                    raise ValueError(f"it has {status.st_size} bytes of {length}")
                mapped = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise CropzooError(f"{str(path)!r} is missing; it should hold {what}; {again}") from error
    except (OSError, ValueError, SyntaxError, TypeError, EOFError, TokenError, ArithmeticError, *_TOO_MUCH) as error:
        reason = str(error)[:200] or type(error).__name__
        raise CropzooError(
            f"{str(path)!r} cannot be read as {what}; it is cut off or no .npy file ({reason}); {again}"
        ) from error
    if wrong:
        raise CropzooError(
            f"{str(path)!r} holds {dtype} of shape {shape}; it must be {what} "
            f"({_KINDS[kinds]}, {dimensions} dimensions, none of them empty); {again}"
        )
    return np.ndarray(shape, dtype, mapped, header.offset, order="F" if header.fortran else "C")


_TOO_MUCH = (MemoryError, RecursionError)
"""How Python's parser gives up on a header of many brackets or signs."""

_KINDS = {"iuf": "numbers", "iu": "whole numbers", "b": "True and False"}


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int


@lru_cache(maxsize=1 << 14)
def _header(path: str, size: int, modified: int) -> _Header:
    """What the start of a .npy file tells; kept for as long as size and time of change are the same."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        if version not in _READERS:
            raise ValueError(f"its version is {version}")
        shape, fortran, dtype = _READERS[version](file)
        return _Header(shape, fortran, dtype, file.tell())


_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
