"""What the columns of a parcel file hold: crops, texts, years and ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError

Crop = int | str | None
"""A crop as the file writes it; digits are a number; None where the field is empty."""

_NUMBER = re.compile(r"[+-]?\d+(\.0*)?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEARS = range(1900, 2101)


def crop_of(value: Any) -> Crop:
    """A number for a whole number or digits, None for an empty field, else the text without spaces around it."""
    text = text_of(value)
    if _NUMBER.fullmatch(text):
        return int(text.partition(".")[0])
    return text or None


def text_of(value: Any) -> str:
    """The text of a field without spaces around it, empty for an empty field; whole numbers have no decimals."""
    # NaN, and the day that is none, differ from themselves.
    if value is None or (isinstance(value, float | date) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def crops_of(values: Sequence[Any]) -> tuple[Crop, ...]:
    """The crops of a column: numbers, or texts if any of them is one; digits are texts then."""
    crops = tuple(map(crop_of, values))
    if any(isinstance(crop, str) for crop in crops):
        return tuple(text_of(value) or None for value in values)
    return crops


def years_of(values: Iterable[Any], path: Path, column: str) -> tuple[int, ...]:
    """The years of a column that holds years or days.

    Raises:
        CropzooError: naming the file: a field that is empty or no year from 1900 to 2100.
    """
    years = []
    for value in values:
        text = text_of(value)
        year = crop_of(text[:4] if _DAY.match(text) else text)
        if not isinstance(year, int) or year not in _YEARS:
            raise CropzooError(
                f"parcels {str(path)!r}; column {column!r} holds {text!r}, which is no year; "
                "write a year like 2019 for every parcel, or remove those without"
            )
        years.append(year)
    return tuple(years)


def ids_of(values: Iterable[Any], path: Path, column: str) -> NDArray[np.int32]:
    """The parcel ids of a column.

    Raises:
        CropzooError: naming the file: a field that is no whole number from 1 to 2147483647.
    """
    ids = []
    for value in values:
        number = crop_of(value)
        if not isinstance(number, int) or not 1 <= number <= np.iinfo(np.int32).max:
            raise CropzooError(
                f"parcels {str(path)!r}; column {column!r} holds {text_of(value)!r}; ids of parcels are whole numbers "
                "from 1 to 2147483647; name another column, or none, and the parcels are numbered"
            )
        ids.append(number)
    return np.array(ids, np.int32)
