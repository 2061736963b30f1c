"""Pickles of arrays are read to the last bit; what is cut off, spoilt or too large is an error."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cropzoo import CropzooError
from cropzoo_plugins.datasets.pickled.unpickler import load_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

CONTENT = {
    "img": np.arange(48, dtype=np.int16).reshape(2, 3, 2, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(20)[::3],
    "swapped": np.arange(3, dtype=">i4"),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "half": np.array([0.5], np.float16),
    "text": np.array(["ab", "c"]),
    "bytes": np.array([b"ab", b"c"]),
    "empty": np.zeros((0, 3), np.uint8),
    "year": np.array(2016, np.int32),
    "scalar": np.float32(0.1),
    "plain": [1, -1, 10**30, 2.5, None, True, "Rußwurm", b"\xff\0", b"", (), [], {}, (1, (2, {"a": [3]}))],
    "shared": (np.arange(2),) * 2,
    3: "a number as key",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sample.pickle"


def check_same(found: Any, wanted: Any) -> None:
    """Equal values of equal types, arrays of equal type and shape."""
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray):
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_array_equal(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            check_same(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            check_same(one, other)
    else:
        assert found == wanted


def refusal(file: Path, content: bytes) -> str:
    """Why a file of this content is refused: a message that names the file and stays short."""
    file.write_bytes(content)
    with pytest.raises(CropzooError) as caught:
        load_pickle(file)
    message = str(caught.value)
    assert str(file) in message
    assert len(message) < 700
    return message


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_pickled_comes_back(file: Path, protocol: int) -> None:
    file.write_bytes(pickle.dumps(CONTENT, protocol))
    check_same(load_pickle(file), CONTENT)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_names_of_numpy_1(file: Path, protocol: int) -> None:
    written = pickle.dumps(CONTENT, protocol)
    for module in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + module, b"numpy.core." + module
        written = written.replace(b"\x8c" + bytes([len(new)]) + new, b"\x8c" + bytes([len(old)]) + old)
        written = written.replace(new + b"\n", old + b"\n")
    assert b"numpy._core" not in written
    without_frames = b"".join(_without_frames(written)) if protocol >= 4 else written
    file.write_bytes(without_frames)
    check_same(load_pickle(file), CONTENT)


def _without_frames(written: bytes) -> list[bytes]:
    """The pickle without its frames, whose lengths no longer hold."""
    return [written[:2], *(part[8:] if number else part for number, part in enumerate(written[2:].split(b"\x95")))]


def test_byte_strings_of_python_2(file: Path) -> None:
    """Protocol 2 of Python 2: keys and raw data are byte strings."""
    raw = bytes(range(0, 256, 32))
    dtype = b"cnumpy\ndtype\nU\x02u1K\0K\1\x87R(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R(K\1K\x08\x85" + dtype
    file.write_bytes(b"\x80\2}U\3img" + array + b"\x89U\x08" + raw + b"tbs.")
    check_same(load_pickle(file), {"img": np.frombuffer(raw, np.uint8)})


def test_arrays_are_not_copied_and_lists_not_shared_with_the_file(file: Path) -> None:
    file.write_bytes(pickle.dumps({"a": np.arange(3)}, 5))
    first, second = load_pickle(file), load_pickle(file)
    first["a"][0] = 9
    assert second["a"][0] == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_is_cut_off(file: Path, protocol: int) -> None:
    whole = pickle.dumps(CONTENT, protocol)
    for length in (*range(0, len(whole) - 1, 23), len(whole) - 1):
        wanted = "sample.pickle'; it is not a valid pickle of arrays|array that is not a block"
        assert re.search(wanted, refusal(file, whole[:length]))


def test_a_giant_place_in_the_memo_takes_no_memory(file: Path) -> None:
    file.write_bytes(b"\x80\2]r\xfe\xff\xff\xffj\xfe\xff\xff\xff\x86.")
    check_same(load_pickle(file), ([], []))


def test_lists_that_share_lists_are_looked_at_once(file: Path) -> None:
    """Twenty-five lists, each twice in the next, are 2^25 paths."""
    doubled = b"".join(b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(25))
    file.write_bytes(b"\x80\2]q\0" + doubled + b".")
    assert len(load_pickle(file)) == 2


def test_a_file_of_too_many_steps(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cropzoo_plugins.datasets.pickled.unpickler._MAX_STEPS", 100)
    assert "over 100 steps" in refusal(file, b"](" + b"N" * 97 + b"e.")
    file.write_bytes(b"](" + b"N" * 96 + b"e.")
    assert load_pickle(file) == [None] * 96


def test_a_file_that_is_too_large(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cropzoo_plugins.datasets.pickled.unpickler.MAX_BYTES", 100)
    assert "over 100 bytes and cannot be a sample" in refusal(file, pickle.dumps(np.zeros(100)))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CropzooError, match=r"gone.pickle'; there is no such file; check the dataset's folder"):
        load_pickle(tmp_path / "gone.pickle")
    with pytest.raises(CropzooError, match="there is no such file"):
        load_pickle(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # reading one would wait for ever
    with pytest.raises(CropzooError, match="there is no such file"):
        load_pickle(tmp_path / "pipe")


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bytes_changed_at_random_never_do_more_than_fail(file: Path, protocol: int) -> None:
    rng = np.random.default_rng(protocol)
    whole = np.frombuffer(pickle.dumps({k: CONTENT[k] for k in ("img", "half", "scalar")}, protocol), np.uint8)
    failed = 0
    for _ in range(300):
        spoilt = whole.copy()
        spoilt[rng.integers(0, len(spoilt), 3)] = rng.integers(0, 256, 3)
        file.write_bytes(spoilt.tobytes())
        try:
            load_pickle(file)
        except CropzooError:
            failed += 1
    assert failed > 50
