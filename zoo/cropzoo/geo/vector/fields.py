"""Values of attribute columns: crops, ids, years and texts, without a lossy conversion."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError, quote

Crop = int | str | None
"""Crop as stored in the file: a number in a column of numbers, a text in a column of texts; None if the field is empty.

"0101", "101" and "00" in a column of texts are three crops, and none of them is 0.
"""

_PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_NUMBER = re.compile(r"([+-]?)0*([0-9]{1,19})(\.0*)?")
_INT64 = range(-(2**63), 2**63)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEARS = range(1900, 2101)


def normalize_text(text: str) -> str:
    """Text without surrounding space, in Unicode form NFC: letters with accents exist in two forms that look alike."""
    return text.strip() if text.isascii() else unicodedata.normalize("NFC", text).strip()


def format_field(value: Any) -> str:
    """Normalized text of a field, empty for an empty field; integers are written without decimals."""
    # NaN and NaT differ from themselves.
    if value is None or (isinstance(value, float | date) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return normalize_text(str(value))


def is_plain_integer(text: str) -> bool:
    """Whether a text is a 64-bit integer as Python writes it: without a leading zero, plus sign or decimals."""
    return bool(_PLAIN_INTEGER.fullmatch(text)) and int(text) in _INT64


def read_number(text: str) -> int | None:
    """64-bit integer that a text means where numbers are expected: 101 for "0101" and "+101.0"; None for others."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    number = int(found[1] + found[2])
    return number if number in _INT64 else None


def parse_crops(values: Sequence[Any]) -> tuple[Crop, ...]:
    """Crops in a column: numbers if every field is a whole number or empty, otherwise texts as they are written."""
    texts = [format_field(value) for value in values]
    pairs = zip(values, texts, strict=True)
    if all(not text or (not isinstance(value, str) and is_plain_integer(text)) for value, text in pairs):
        return tuple(int(text) if text else None for text in texts)
    return tuple(text or None for text in texts)


def parse_years(values: Iterable[Any], path: Path, column: str) -> tuple[int, ...]:
    """Years in a column of years or dates.

    Args:
        values: Fields of the column.
        path: Path of the file, for messages.
        column: Name of the column, for messages.

    Raises:
        CropzooError: A field that is empty or not a year from 1900 to 2100.
    """
    years = []
    for value in values:
        text = format_field(value)
        year = read_number(text[:4] if _DAY.match(text) else text)
        if year is None or year not in _YEARS:
            raise CropzooError(
                f"parcels {str(path)!r}; column {column!r} contains {quote(text)}, which is not a year; "
                "set a year such as 2019 for every parcel, or remove parcels without one"
            )
        years.append(year)
    return tuple(years)


def parse_ids(values: Iterable[Any], path: Path, column: str) -> NDArray[np.int32]:
    """Parcel ids in a column.

    Args:
        values: Fields of the column.
        path: Path of the file, for messages.
        column: Name of the column, for messages.

    Raises:
        CropzooError: A field that is not an integer from 1 to 2147483647.
    """
    ids = []
    for value in values:
        text = format_field(value)
        if not is_plain_integer(text) or not 1 <= int(text) <= np.iinfo(np.int32).max:
            raise CropzooError(
                f"parcels {str(path)!r}; column {column!r} contains {quote(text)}; parcel ids are integers from 1 to "
                "2147483647 without leading zeros; choose another column, or none to number the parcels"
            )
        ids.append(int(text))
    return np.array(ids, np.int32)
