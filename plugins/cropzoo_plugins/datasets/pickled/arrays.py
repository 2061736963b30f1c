"""NumPy arrays from the calls in a pickle: the few calls that NumPy writes, implemented with checks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

_MAX_DIMENSIONS = 32
_MAX_LENGTH = 1 << 62
"""Maximum length of a dimension: multiplying numbers of a million digits takes hours."""

_NUMPY = {"multiarray _reconstruct": "reconstruct", "multiarray scalar": "scalar", "numeric _frombuffer": "frombuffer"}
NAMES = {
    **{f"numpy.{core}.{name}": kind for core in ("core", "_core") for name, kind in _NUMPY.items()},
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    "builtins bytes": "bytes",
    "__builtin__ bytes": "bytes",
}
"""Meaning of each name (module and attribute); NumPy 1 has `core`, NumPy 2 `_core`."""

_ORDERS: dict[Any, Literal["<", ">", "=", "|"]] = {"<": "<", ">": ">", "=": "=", "|": "|"}
_DTYPE = re.compile(r"[<>=|]?[biufcSU][1-9][0-9]{0,5}")


class Refused(Exception):
    """The file contains something that is not supported."""


@dataclass(eq=False)
class Name:
    """A known name on the stack; never part of the result."""

    kind: str


@dataclass(eq=False)
class DType:
    """A data type, whose byte order is set by BUILD."""

    dtype: np.dtype[Any]


@dataclass(eq=False)
class Array:
    """An array or scalar; `_reconstruct` makes an empty one that BUILD fills."""

    value: Any = None


def call_known_name(function: Any, arguments: Any) -> Any:
    """Return the result of a known name for the given arguments."""
    kind = function.kind if isinstance(function, Name) else ""
    if kind == "reconstruct" and isinstance(arguments[0], Name) and arguments[0].kind == "ndarray":
        return Array()
    if kind == "dtype":
        return DType(_dtype(arguments[0]))
    if kind == "scalar" and len(arguments) == 2:
        return Array(_array(arguments[1], arguments[0], (), "C")[()])
    if kind == "frombuffer" and len(arguments) == 4:
        return Array(_array(*arguments))
    if kind == "encode" and len(arguments) == 2 and type(arguments[0]) is str and arguments[1] == "latin1":
        return arguments[0].encode("latin-1")
    if kind == "bytes" and arguments == ():
        return b""
    raise Refused("it calls something that is not an array")


def set_state(target: Any, state: Any) -> None:
    """Fill an array, or set the byte order of a data type."""
    if isinstance(target, Array) and target.value is None and len(state) == 5 and state[0] == 1:
        _, shape, dtype, fortran, raw = state
        target.value = _array(raw, dtype, shape, "F" if fortran else "C")
    elif isinstance(target, DType) and len(state) >= 8 and state[0] in (3, 4):
        order, *parts = state[1:5]
        if any(parts) or any(state[8:]):
            raise Refused("it has an array of records or of dates")
        target.dtype = target.dtype.newbyteorder(_ORDERS[order])
    else:
        raise Refused("it sets the state of something that is not an array")


def _dtype(text: Any) -> np.dtype[Any]:
    """Return the data type of a name; refuse types that can contain Python objects."""
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):  # formatting nested lists can take forever
        raise Refused(f"it has an array of data type {text[:20] if isinstance(text, str) else type(text).__name__!r}")
    return np.dtype(text)


def _array(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    """Return the array of the given bytes, without a copy."""
    if not isinstance(dtype, DType):
        raise Refused("it has an array without a data type")
    if isinstance(raw, str):  # bytes, written by Python 2
        raw = raw.encode("latin-1")
    if not isinstance(raw, bytes | bytearray):
        raise Refused("it has an array that is not a block of bytes")
    valid = type(shape) is tuple and all(type(length) is int and 0 <= length <= _MAX_LENGTH for length in shape)
    if not valid or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("the shape of an array is not valid")
    wanted = dtype.dtype.itemsize
    for length in shape:
        wanted *= length
    if wanted != len(raw):
        raise ValueError(f"an array of {wanted} bytes has {len(raw)}")
    return np.ndarray(shape, dtype.dtype, buffer=raw, order="F" if order == "F" else "C")
