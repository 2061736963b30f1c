"""Encoding of the texts in shapefiles, whose declaration is often missing or wrong."""

from __future__ import annotations

import codecs
from typing import IO

import numpy as np

from cropzoo.errors import UsageError

_HEADER, _FIELD = 32, 32
"""Bytes of the header of a .dbf file, and of the description of a field."""

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
