"""Safe reader of pickled arrays: nothing that a file names is imported or called.

The standard `pickle` module runs code that a file names. This module only parses the opcodes and interprets those that
make NumPy arrays and scalars, lists, tuples, dicts, numbers and text. It knows the few names that NumPy writes and
refuses all other names and opcodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from pickletools import genops
from typing import Any

import numpy as np

from cropzoo.errors import CropzooError
from cropzoo_plugins.datasets.pickled.arrays import NAMES, Array, Name, Refused, call_known_name, set_state

MAX_BYTES = 1 << 28
"""Maximum size of a file; samples have about a million bytes. Reading takes up to three times as much memory."""

_MAX_STEPS = 1_000_000
"""Maximum number of opcodes: an empty list takes one byte in the file and 64 in memory."""

_MAX_DEPTH = 32
"""Maximum nesting of containers, so that recursive code is safe."""

_CONSTANTS = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
))  # fmt: skip
_SINGLE = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUT = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
_GET = frozenset(("GET", "BINGET", "LONG_BINGET"))
_SIZED_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_KEYS = (str, bytes, int, float)
_MAX_KEY_BITS = 60
"""Maximum bits of a number: longer ones can be made to have equal hashes, which makes dicts slow."""


def load_pickle(path: Path) -> Any:
    """Read a pickle of NumPy arrays and containers, of any protocol, written by Python 2 or 3 and NumPy 1 or 2.

    Arrays and scalars may contain booleans, integers, floats, complex numbers or fixed-width text. Byte strings of
    Python 2 become str (Latin-1). Sizes in the file are not trusted: an array takes as many bytes as the file has.

    Args:
        path: Path of a regular file of at most `MAX_BYTES` bytes.

    Raises:
        CropzooError: The file cannot be read, is truncated or not a pickle, has other content, or is nested deeper than
            32 containers. The message names the file.
    """
    where = f"pickle {str(path)!r}"
    try:
        if not path.is_file():
            raise CropzooError(f"{where}; there is no such file; check the dataset's folder and its lists of files")
        if path.stat().st_size > MAX_BYTES:
            raise CropzooError(
                f"{where}; it has over {MAX_BYTES} bytes and cannot be a sample; remove it from the dataset"
            )
        data = path.read_bytes()
    except OSError as error:
        raise CropzooError(
            f"{where}; it cannot be read ({error.strerror}); check the file and its permissions"
        ) from error
    try:
        value = _Machine().run(data)
        _check_nesting(value)
    except Refused as error:
        raise CropzooError(
            f"{where}; {error}; only NumPy arrays, lists, tuples, dicts, numbers and text are read, as anything else "
            "could run code; do not trust this file, or save it as those types"
        ) from None
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, AssertionError) as error:
        reason = str(error).split("\n")[0][:200] or type(error).__name__
        raise CropzooError(
            f"{where}; it is not a valid pickle of arrays (truncated?) ({reason}); copy or download it again"
        ) from error
    return value


class _Arguments(tuple[Any, ...]):
    """A tuple that contains other than values: arguments of a name, or the state of an array."""


_VALUES = (str, bytes, bytearray, bool, int, float, type(None), list, tuple, dict)


def _value(item: Any) -> Any:
    """Return the value of a stack item that a container or the result may contain."""
    if isinstance(item, Array):
        if item.value is None:
            raise ValueError("an array without its contents")
        return item.value
    if type(item) not in _VALUES:
        raise Refused("it stores a name or a data type as a value")
    return item


class _Machine:
    """Stack machine of the pickle format, for the opcodes of data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.room = 0

    def run(self, data: bytes) -> Any:
        """Return the value that the opcodes up to STOP leave on the stack."""
        self.room = 2 * len(data)  # text is decoded to bytes, and bytes to an array
        for steps, (opcode, argument, _) in enumerate(genops(data)):
            if steps >= _MAX_STEPS:
                raise Refused(f"it has over {_MAX_STEPS} steps")
            name = opcode.name
            if name == "STOP":
                return _value(self.stack.pop())
            if name in _CONSTANTS:
                self.stack.append(argument)
            elif name in _SINGLE:
                self.stack.append(_SINGLE[name])
            elif name in _PUT:
                self.memo[len(self.memo) if argument is None else int(argument)] = self.stack[-1]
            elif name in _GET:
                self.stack.append(self.memo[int(argument or 0)])
            elif name in _SIZED_TUPLES:
                self._push_tuple(self._take(_SIZED_TUPLES[name]))
            elif name not in ("PROTO", "FRAME"):
                self._step(name, argument)
        raise ValueError("it has no STOP opcode")

    def _step(self, name: str, argument: Any) -> None:
        if name == "MARK":
            self.marks.append(len(self.stack))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._push_name(argument if name == "GLOBAL" else " ".join(self._take(2)))
        elif name == "TUPLE":
            self._push_tuple(self._to_mark())
        elif name in ("EMPTY_LIST", "LIST"):
            self.stack.append([_value(item) for item in (self._to_mark() if name == "LIST" else ())])
        elif name in ("APPEND", "APPENDS"):
            items = self._to_mark() if name == "APPENDS" else self._take(1)
            self._top(list).extend(_value(item) for item in items)
        elif name in ("EMPTY_DICT", "DICT"):
            self.stack.append(dict(_pairs(self._to_mark() if name == "DICT" else ())))
        elif name in ("SETITEM", "SETITEMS"):
            items = self._to_mark() if name == "SETITEMS" else self._take(2)
            self._top(dict).update(_pairs(items))
        elif name == "REDUCE":
            function, arguments = self._take(2)
            self.stack.append(self._count_bytes(call_known_name(function, arguments)))
        elif name == "BUILD":
            target, state = self._take(2)
            set_state(target, state)
            self.stack.append(self._count_bytes(target))
        else:
            raise Refused(f"it uses {name}")

    def _count_bytes(self, item: Any) -> Any:
        """Return the value; refuse a file that makes more bytes than it contains."""
        value = item.value if isinstance(item, Array) else item
        if isinstance(value, np.ndarray | np.generic):
            self.room -= value.nbytes
        elif isinstance(value, bytes):
            self.room -= len(value)
        if self.room < 0:
            raise Refused("it makes more bytes than the file has")
        return item

    def _push_name(self, name: str) -> None:
        if name not in NAMES:
            raise Refused(f"it uses {name[:100].replace(' ', '.', 1)!r}")
        self.stack.append(Name(NAMES[name]))

    def _push_tuple(self, items: Sequence[Any]) -> None:
        items = [item.value if isinstance(item, Array) and item.value is not None else item for item in items]
        plain = all(type(item) in _VALUES or isinstance(item, np.ndarray | np.generic) for item in items)
        self.stack.append(tuple(items) if plain else _Arguments(items))

    def _take(self, count: int) -> list[Any]:
        """Pop the topmost items, never from below the last mark."""
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise ValueError("too few values on its stack")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _to_mark(self) -> list[Any]:
        items = self.stack[self.marks[-1] :]
        del self.stack[self.marks.pop() :]
        return items

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"it adds to something that is not a {kind.__name__}")
        return self.stack[-1]


def _pairs(items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, _KEYS):  # hashing nested tuples can take forever
            raise Refused("it has a dict with a key that is neither text nor a number")
        if isinstance(key, int) and key.bit_length() > _MAX_KEY_BITS:
            raise Refused(f"it has a dict with a number of over {_MAX_KEY_BITS} bits as a key")
        yield key, _value(value)


def _check_nesting(value: Any) -> None:
    """Refuse containers that contain themselves or are nested too deep; each container is visited once."""
    depth: dict[int, int] = {}
    waiting = [(value, False)]
    while waiting:
        item, seen = waiting.pop()
        if not isinstance(item, list | tuple | dict):
            continue
        inside = list(item.values()) if isinstance(item, dict) else item
        if seen:
            depth[id(item)] = 1 + max((depth.get(id(other), 0) for other in inside), default=0)
            if depth[id(item)] > _MAX_DEPTH:
                raise Refused(f"it has over {_MAX_DEPTH} containers within containers")
        elif id(item) not in depth:
            depth[id(item)] = _MAX_DEPTH + 1  # until it is done, so that a container in itself is too deep
            waiting.append((item, True))
            waiting.extend((other, False) for other in inside if isinstance(other, list | tuple | dict))
