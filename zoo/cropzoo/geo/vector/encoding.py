"""Encoding of the texts in shapefiles, whose declaration is often missing or wrong."""

from __future__ import annotations

import codecs
import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from cropzoo.errors import CropzooError, UsageError

_log = logging.getLogger("cropzoo")

_HEADER, _FIELD = 32, 32
"""Bytes of the header of a .dbf file, and of the description of a field."""

_CODE_PAGE = 29
"""Byte of a .dbf file with the number of its code page; 0 and 0x57 name none in particular."""

_ROWS = 1 << 23
"""Bytes of rows in memory."""

_ENOUGH = 1000
"""Texts outside ASCII after which a file that is valid UTF-8 so far is UTF-8."""


def check_encoding(encoding: str | None) -> str | None:
    """The encoding that a user gave, if Python knows it.

    Raises:
        UsageError: The encoding is unknown.
    """
    try:
        return codecs.lookup(encoding).name if encoding else None
    except LookupError:
        raise UsageError(
            f"--encoding is {encoding!r}; it is unknown; use one such as utf-8, cp1250 or latin-1"
        ) from None


def choose_encoding(path: Path, inner: str, what: str) -> str | None:
    """Encoding of the texts of a shapefile; None for the one that its files declare, or ISO-8859-1.

    Args:
        path: Path of the shapefile, or of the archive that contains it.
        inner: Name of the shapefile in the archive; empty without one.
        what: Content of the file, for messages.

    Raises:
        CropzooError: The texts are not valid in the declared encoding.
    """
    declared = _read_next_to(path, inner, ".cpg")
    utf8 = _check_texts(path, inner)
    if utf8 is None:
        return None
    name = (declared or b"").decode("ascii", "replace").strip()
    is_declared = name.upper().replace("-", "") in ("UTF8", "65001")
    if utf8:
        if not is_declared:
            said = f"its .cpg file declares {name!r}" if name else "it has no .cpg file that declares its encoding"
            _log.warning("%s %r: the texts are UTF-8 and are read as such, although %s", what, str(path), said)
        return "UTF-8"
    if is_declared:
        raise CropzooError(
            f"{what} {str(path)!r}; its .cpg file declares the encoding {name!r}, and its texts are not valid in it; "
            "give the encoding of the texts by --encoding, such as --encoding cp1250"
        )
    code_page = (_read_next_to(path, inner, ".dbf") or b"")[_CODE_PAGE : _CODE_PAGE + 1]
    if not name and code_page in (b"\0", b"\x57"):
        _log.warning(
            "%s %r: no .cpg file declares the encoding of the texts, and ISO-8859-1 is assumed; if names look wrong, "
            "give the encoding by --encoding, such as --encoding cp1250",
            what,
            str(path),
        )
    return None


def _check_texts(path: Path, inner: str) -> bool | None:
    with _open_next_to(path, inner, ".dbf") as file:
        return None if file is None else find_utf8(file)


def _read_next_to(path: Path, inner: str, suffix: str) -> bytes | None:
    with _open_next_to(path, inner, suffix) as file:
        return None if file is None else bytes(file.read(100))


@contextmanager
def _open_next_to(path: Path, inner: str, suffix: str) -> Iterator[Any]:
    """A file next to a shapefile on disk or in an archive, whatever the case of its suffix; None if there is none."""
    if inner:
        with zipfile.ZipFile(path) as archive:
            wanted = str(PurePosixPath(inner).with_suffix(suffix)).lower()
            names = [name for name in archive.namelist() if name.lower() == wanted]
            if not names:
                yield None
                return
            with archive.open(names[0]) as file:
                yield file
        return
    found = [each for each in (path.with_suffix(suffix), path.with_suffix(suffix.upper())) if each.is_file()]
    if not found:
        yield None
        return
    with found[0].open("rb") as file:
        yield file


def find_utf8(file: IO[bytes]) -> bool | None:
    """Whether the texts of a .dbf file are UTF-8; None if all are ASCII, so that it does not matter.

    Text in another encoding is practically never valid UTF-8.

    Args:
        file: The .dbf file, at its start.
    """
    header = file.read(_HEADER)
    if len(header) < _HEADER:
        return None
    start, length = (int.from_bytes(header[at : at + 2], "little") for at in (8, 10))
    columns = _text_columns(file.read(max(0, start - _HEADER)))
    found = 0
    while length and (data := file.read(max(1, _ROWS // length) * length)):
        rows = np.frombuffer(data[: len(data) // length * length], np.uint8).reshape(-1, length)
        for first, width in columns:
            texts = rows[:, first : first + width]
            for text in texts[(texts >= 128).any(axis=1)]:
                valid = _is_utf8(text.tobytes())
                if valid is False:
                    return False
                found += bool(valid)
        if found >= _ENOUGH:
            break
    return True if found else None


def _text_columns(descriptions: bytes) -> list[tuple[int, int]]:
    """Start and width of each column of texts in a row, whose first byte marks deleted rows."""
    columns, start = [], 1
    for at in range(0, len(descriptions) - _FIELD + 1, _FIELD):
        kind, width = descriptions[at + 11 : at + 12], descriptions[at + 16]
        if kind == b"C":
            width += descriptions[at + 17] << 8  # wide texts have their upper byte where numbers have their decimals
            columns.append((start, width))
        start += width
    return columns


def _is_utf8(text: bytes) -> bool | None:
    """Whether a text is UTF-8; None if the width of the field cuts its last letter, so that it is no evidence."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(text)
    except UnicodeDecodeError:
        return False
    return None if decoder.getstate()[0] else True
