"""No pickle runs anything, takes memory that it does not fill, or ends in another error, whatever it holds."""

from __future__ import annotations

import copyreg
import os
import pickle
import re
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cropzoo import CropzooError
from cropzoo_plugins.datasets.pickled.unpickler import load_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sample.pickle"


def refusal(file: Path, content: bytes) -> str:
    """Why a file of this content is refused: a message that names the file and stays short."""
    file.write_bytes(content)
    with pytest.raises(CropzooError, match=re.escape(str(file))) as caught:
        load_pickle(file)
    message = str(caught.value)
    assert len(message) < 700
    return message


class Reduced:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.result = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.result


class Subclass(np.ndarray):
    """An array whose state a file could set."""


class WithState:
    """Takes any state."""

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("a file set the state of an object")


def boom(*_: Any, **__: Any) -> None:
    raise AssertionError("a file called a function")


OBJECTS: dict[str, Any] = {
    "os.system": Reduced(os.system, "exit 1"),
    "eval": Reduced(eval, "boom()"),
    "exec": Reduced(exec, "boom()"),
    "getattr": Reduced(getattr, "text", "upper"),
    "import": Reduced(__import__, "os"),
    "open": Reduced(open, os.devnull),
    "bytearray of a size": Reduced(bytearray, 10**12),
    "bytes of a size": Reduced(bytes, 10**12),
    "a function here": Reduced(boom),
    "partial": partial(boom),
    "numpy.load": Reduced(np.load, "x.npy", None, True),
    "numpy.zeros": Reduced(np.zeros, 10**12),
    "numpy.frombuffer": Reduced(np.frombuffer, b"abcd"),
    "numpy.memmap": Reduced(np.memmap, os.devnull),
    "ndarray itself": Reduced(np.ndarray, (10**12,)),
    "an object": WithState(),
    "a class": WithState,
    "a built-in": len,
    "NumPy's ndarray": np.ndarray,
    "a data type": np.dtype("i2"),
    "OrderedDict": OrderedDict(a=1),
    "Decimal": Decimal(1),
    "a set": {1, 2},
    "a frozen set": frozenset((1, 2)),
    "a complex number": 1j,
    "an array of objects": np.array([None, {}], object),
    "objects among records": np.zeros(2, [("a", "i4"), ("b", "O")]),
    "objects within records": np.zeros(2, [("a", [("b", "O")])]),
    "objects in a sub-array": np.zeros(2, [("a", "O", (2, 2))]),
    "records": np.zeros(2, [("a", "i4")]),
    "dates": np.zeros(2, "M8[D]"),
    "a subclass of ndarray": np.arange(3).view(Subclass),
    "a masked array": np.ma.masked_array([1, 2], [True, False]),
    "a recarray": np.rec.array([(1, 2.0)]),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", OBJECTS)
def test_anything_else_is_refused(file: Path, name: str, protocol: int) -> None:
    wanted = r"sample.pickle'; it .*; only NumPy arrays, .* do not trust this file"
    assert re.search(wanted, refusal(file, pickle.dumps({"img": OBJECTS[name]}, protocol)))
    assert re.search(wanted, refusal(file, pickle.dumps(OBJECTS[name], protocol)))


ARRAY = pickle.dumps(np.arange(3, dtype=np.int16), 2)
STATE = ARRAY[ARRAY.index(b"(K\x01K\x03\x85") :]
DTYPE = b"cnumpy\ndtype\n"
MAKE = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY = b"cnumpy\nndarray\n"


def text(value: str) -> bytes:
    """Opcode of a short text."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


STREAMS: dict[str, tuple[bytes, str]] = {
    "os.system by GLOBAL": (b"cos\nsystem\n(S'exit 1'\ntR.", "uses 'os.system'"),
    "os.system by INST": (b"(S'exit 1'\nios\nsystem\n.", "uses INST"),
    "os.system by OBJ": (b"(cos\nsystem\nS'exit 1'\no.", "uses 'os.system'"),
    "OBJ of what is known": (b"(" + NDARRAY + b"K\1o.", "uses OBJ"),
    "NEWOBJ of what is known": (b"\x80\2" + NDARRAY + b"K\1\x85\x81.", "uses NEWOBJ"),
    "NEWOBJ_EX of what is known": (b"\x80\4" + NDARRAY + b"K\1\x85}\x92.", "uses NEWOBJ_EX"),
    "dotted attribute": (
        b"\x80\4" + text("numpy.core.multiarray") + text("_reconstruct.__globals__") + b"\x93.",
        "uses 'numpy.core.multiarray._reconstruct.__globals__'",
    ),
    "dotted module": (b"\x80\4" + text("numpy.core.multiarray") + text("os.system") + b"\x93.", "uses"),
    "attribute of numpy": (b"\x80\4" + text("numpy") + text("ndarray.__class__") + b"\x93.", "uses"),
    "a name cut elsewhere": (b"\x80\4" + text("numpy.core.multiarray _reconstruct") + text("") + b"\x93.", "uses"),
    "a name that is a number": (b"\x80\4K\1K\2\x93.", "not a valid pickle"),
    "_codecs.decode": (b"c_codecs\ndecode\n(S'x'\nS'rot13'\ntR.", "uses '_codecs.decode'"),
    "_codecs.encode otherwise": (b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.", "calls something that is not an array"),
    "bytes of a list": (b"c__builtin__\nbytes\n(]tR.", "calls something that is not an array"),
    "a call of a text": (b"S'system'\n(S'x'\ntR.", "calls something that is not an array"),
    "a call of an array": (ARRAY[:-1] + b"(tR.", "calls something that is not an array"),
    "another class to reconstruct": (MAKE + b"(" + DTYPE + b"(K\0tS'b'\ntR.", "calls something that is not an array"),
    "a state set on a dict": (b"}}b.", "sets the state of something"),
    "a state set on a list": (b"](K\1K\2K\3K\4K\5tb.", "sets the state of something"),
    "a state set twice": (ARRAY[:-1] + STATE, "sets the state of something"),
    "a state set on a name": (NDARRAY + b"}b.", "sets the state of something"),
    "a persistent id": (b"P1\n.", "uses PERSID"),
    "a persistent id of a value": (b"K\1Q.", "uses BINPERSID"),
    "extension 1": (b"\x80\2\x82\1.", "uses EXT1"),
    "extension 2": (b"\x80\2\x83\1\0.", "uses EXT2"),
    "extension 4": (b"\x80\2\x84\1\0\0\0.", "uses EXT4"),
    "a buffer from outside": (b"\x80\5\x97.", "uses NEXT_BUFFER"),
    "a read-only buffer": (b"\x80\5\x97\x98.", "uses NEXT_BUFFER"),
    "DUP": (b"K\1" + b"2.", "uses DUP"),
    "an array without contents": (MAKE + b"(" + NDARRAY + b"(K\0tS'b'\ntR.", "without its contents"),
    "it in a list": (b"](" + MAKE + b"(" + NDARRAY + b"(K\0tS'b'\ntRe.", "without its contents"),
    "a dict as key": (b"}(}K\1u.", "key that is neither text nor a number"),
    "a tuple as key": (b"}((K\1tK\1u.", "key that is neither text nor a number"),
    "a key without value": (b"}(K\1u.", "not a valid pickle"),
    "text": (b"path,label\n1,2\n", "not a valid pickle"),
    "nothing": (b"", "not a valid pickle"),
    "zeros": (b"\0" * 50, "not a valid pickle"),
    "no end": (b"K\1", "not a valid pickle"),
    "an end at once": (b".", "not a valid pickle"),
    "an empty stack": (b"a.", "not a valid pickle"),
    "values below a mark": (b"K\1(\x85.", "not a valid pickle"),
    "no mark": (b"K\1t.", "not a valid pickle"),
    "a place that holds nothing": (b"h\5.", "not a valid pickle"),
    "an append to a number": (b"K\1K\2a.", "not a valid pickle"),
    "a zip": (b"PK\3\4" + b"\0" * 30, "not a valid pickle"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_no_pickler_writes(file: Path, name: str) -> None:
    content, message = STREAMS[name]
    assert re.search(message, refusal(file, content))


DOUBLED = b"]q\0" + b"".join(b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(40))
"""Forty lists, each twice in the next: to show, copy or compare the last takes 2^40 steps."""


@pytest.mark.parametrize(
    ("first", "lists"), [(b"(" + DOUBLED + b"t", b"h" + bytes([40])), (b"", b"]" * 50_000 + b"a" * 49_999)]
)
def test_what_cannot_be_shown_is_not_shown(file: Path, first: bytes, lists: bytes) -> None:
    start = b"\x80\4" + first
    assert "data type 'list'" in refusal(file, start + DTYPE + b"(" + lists + b"tR.")
    dtype = DTYPE + text("i2") + b"\x85R"
    assert "not a valid pickle" in refusal(file, start + dtype + b"(K\3" + lists + b"NNNK\2K\2K\0tb.")
    assert re.search(
        "records or of dates|truncated", refusal(file, start + dtype + b"(K\3\x8c\1<" + lists + b"NNK\2K\2K\0tb.")
    )
    assert "not a valid pickle" in refusal(file, start + lists + b"K\1\x93.")
    assert "calls something that is not an array" in refusal(file, start + lists + b"(K\1tR.")
    assert "shape of an array is not valid" in refusal(file, start + array_of("i2", lists, b"")[2:] + b".")


def test_a_registered_extension(file: Path) -> None:
    """A code of copyreg means a name; it is refused before anyone looks it up."""
    copyreg.add_extension(__name__, "boom", 240)
    try:
        assert "uses EXT1" in refusal(file, b"\x80\2\x82\xf0(tR.")
    finally:
        copyreg.remove_extension(__name__, "boom", 240)


def test_nothing_is_imported(file: Path) -> None:
    assert "this" not in sys.modules
    assert "uses 'this.s'" in refusal(file, b"cthis\ns\n.")
    assert "this" not in sys.modules


def array_of(dtype: str, shape: bytes, raw: bytes, *, state: bytes = b"") -> bytes:
    """A pickle of an array with these parts; `state` is of its data type."""
    made = DTYPE + text(dtype) + b"\x89\x88\x87R"
    order = state or b"(K\3" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    bytes_ = b"B" + struct.pack("<I", len(raw)) + raw
    return b"\x80\4" + MAKE + NDARRAY + b"K\0\x85C\1b\x87R(K\1" + shape + made + order + b"\x89" + bytes_ + b"tb."


HUGE = b"\x8a\x08" + struct.pack("<q", 10**15)
LONG = b"\x8b" + struct.pack("<i", 400_000) + b"\x7f" * 400_000
SIZES: dict[str, tuple[bytes, str]] = {
    "a giant array of few bytes": (array_of("i2", HUGE + b"\x85", b"abcd"), "2000000000000000 bytes has 4"),
    "a product over 64 bits": (array_of("i2", HUGE + HUGE + HUGE + b"\x87", b""), "bytes has 0"),
    "a negative length": (array_of("i2", b"J\xff\xff\xff\xff\x85", b""), "shape of an array is not valid"),
    "lengths that cancel out": (
        array_of("i1", b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86", b"a"),
        "shape of an array is not valid",
    ),
    "a shape of text": (array_of("i1", b"\x8c\1a\x85", b"a"), "shape of an array is not valid"),
    "a shape that is a number": (array_of("i1", b"K\1", b"a"), "shape of an array is not valid"),
    "40 dimensions": (array_of("i1", b"(" + b"K\1" * 40 + b"t", b"a"), "shape of an array is not valid"),
    "no bytes and a giant shape": (array_of("i2", HUGE + HUGE + b"K\0\x87", b""), "not a valid pickle"),
    "too few bytes": (array_of("i2", b"K\3\x85", b"abcd"), "6 bytes has 4"),
    "too many bytes": (array_of("i2", b"K\1\x85", b"abcd"), "2 bytes has 4"),
    "an unknown data type": (array_of("q9", b"K\1\x85", b"a"), "data type 'q9'"),
    "a data type without end": (array_of("S" + "9" * 200, b"K\1\x85", b"a"), "data type 'S99"),
    "a data type that is an expression": (array_of("i4,O", b"K\1\x85", b"a"), "data type 'i4,O'"),
    "a data type that does not exist": (array_of("i3", b"K\1\x85", b"abc"), "not a valid pickle"),
    "fields on a plain type": (
        array_of("V8", b"K\1\x85", b"a" * 8, state=b"(K\3\x8c\1|N\x8c\1a\x85}K\x08K\1K\x3ftb"),
        "data type 'V8'",
    ),
    "fields on integers": (
        array_of("i8", b"K\1\x85", b"a" * 8, state=b"(K\3\x8c\1|N\x8c\1a\x85}K\x08K\1K\x3ftb"),
        "records or of dates",
    ),
    "a type of no bytes": (array_of("S0", HUGE + b"\x85", b""), "data type 'S0'"),
    "a length of a million digits": (array_of("i2", LONG + b"\x85", b""), "shape of an array is not valid"),
    "an unknown byte order": (
        array_of("i2", b"K\1\x85", b"ab", state=b"(K\3\x8c\1xNNNK\2K\2K\0tb"),
        "not a valid pickle",
    ),
    "a text of giant length": (b"\x80\4\x8d" + struct.pack("<Q", 2**62) + b"abc.", "not a valid pickle"),
    "bytes of giant length": (b"\x80\4\x8e" + struct.pack("<Q", 2**62) + b"abc.", "not a valid pickle"),
    "bytearray of giant length": (b"\x80\5\x96" + struct.pack("<Q", 2**62) + b"abc.", "not a valid pickle"),
    "a frame of giant length": (b"\x80\4\x95" + struct.pack("<Q", 2**62) + b"K", "not a valid pickle"),
    "a number of giant length": (b"\x80\2\x8b" + struct.pack("<i", 2**31 - 1) + b"abc.", "not a valid pickle"),
    "a number of a negative length": (b"\x80\2\x8b" + struct.pack("<i", -1) + b"abc.", "not a valid pickle"),
    "a number of many digits": (b"L" + b"9" * 100_000 + b"L\n.", "not a valid pickle"),
    "deep lists": (b"]" * 50_000 + b"a" * 49_999 + b".", "over 32 containers within containers"),
    "deep tuples": (b"K\1" + b"\x85" * 50_000 + b".", "over 32 containers within containers"),
    "deep dicts": (b"}K\1" * 50_000 + b"}" + b"s" * 50_000 + b".", "over 32 containers within containers"),
    "marks alone": (b"(" * 50_000 + b".", "not a valid pickle"),
    "a list in itself": (b"]q\0h\0a.", "over 32 containers within containers"),
    "a dict in itself by a tuple": (b"}q\0K\1h\0\x85s.", "over 32 containers within containers"),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_not_believed(file: Path, name: str) -> None:
    content, message = SIZES[name]
    assert re.search(message, refusal(file, content))


MEGABYTE = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
BLOCK = DTYPE + text("S999999") + b"\x85RB" + struct.pack("<I", 999_999) + b"a" * 999_999 + b"\x86"
STATE_OF_TEXT = (
    b"(K\1J" + struct.pack("<i", 1 << 20) + b"\x85" + DTYPE + text("i1") + b"\x85R\x89" + MEGABYTE + b"t\x94"
)
AGAIN: dict[str, bytes] = {
    "bytes": b"(c_codecs\nencode\n\x94" + MEGABYTE + text("latin1") + b"\x86\x94t](" + b"h\0h\1R" * 50,
    "scalars": b"(cnumpy.core.multiarray\nscalar\n\x94" + BLOCK + b"\x94t](" + b"h\0h\1R" * 50,
    "arrays": b"(" + MAKE + b"\x94" + NDARRAY + b"K\0\x85C\1b\x87\x94" + STATE_OF_TEXT + b"t](" + b"h\0h\1Rh\2b" * 50,
}


@pytest.mark.parametrize("name", AGAIN)
def test_what_stands_once_is_not_copied_again_and_again(file: Path, name: str) -> None:
    """Five bytes of a file could make a megabyte each."""
    assert "more bytes than the file has" in refusal(file, b"\x80\4" + AGAIN[name] + b"e.")


def test_keys_that_all_have_one_hash(file: Path) -> None:
    """A dict of 40,000 of them took 12 seconds, of 400,000 an hour."""
    keys = (b"\x8a\x0a" + (number * sys.hash_info.modulus).to_bytes(10, "little") + b"N" for number in range(1, 9))
    assert "a number of over 60 bits as a key" in refusal(file, b"\x80\2}(" + b"".join(keys) + b"u.")
