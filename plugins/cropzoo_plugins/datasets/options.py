"""Checks of options that several datasets share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cropzoo import UsageError
from cropzoo.geo.vector.fields import normalize_text

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")


def need_root(dataset: str, root: str | Path) -> Path:
    """Return the folder of a dataset.

    Raises:
        UsageError: No folder is given.
    """
    if not str(root):
        raise UsageError(f"dataset {dataset!r}; the folder of its files is not given; give --set dataset.root=FOLDER")
    return Path(root).expanduser()


def whole_numbers(dataset: str, option: str, value: object) -> tuple[int, ...]:
    """Parse an option of integers: one, several, or a comma-separated text as from the command line.

    Raises:
        UsageError: The value is none of these.
    """
    given: Sequence[object] = (value,)
    if isinstance(value, str):
        given = value.split(",")
    elif isinstance(value, Sequence):
        given = value
    if not all(type(item) is int or (isinstance(item, str) and _WHOLE.fullmatch(item)) for item in given):
        raise UsageError(
            f"dataset {dataset!r}; option {option!r} is {value!r}; it must be comma-separated integers; "
            f"for example dataset.{option}=4,5"
        )
    return tuple(int(str(item)) for item in given)


def crop_texts(dataset: str, option: str, value: object) -> tuple[str, ...]:
    """Parse an option of crops given as texts: one, several, or a comma-separated text as from the command line.

    Raises:
        UsageError: The value is none of these.
    """
    given: Sequence[object] = value.split(",") if isinstance(value, str) else (value,)
    if isinstance(value, Sequence) and not isinstance(value, str):
        given = value
    texts = [normalize_text(str(item)) for item in given if isinstance(item, str) or type(item) is int]
    if len(texts) < len(given) or not all(texts):
        raise UsageError(
            f"dataset {dataset!r}; option {option!r} is {value!r}; it must be comma-separated crops as in the parcel "
            f"file; for example dataset.{option}=0101,WHT"
        )
    return tuple(texts)


def at_least(dataset: str, option: str, value: Any, minimum: int) -> int:
    """Return the value of an option if it is an integer that is not below the minimum.

    Raises:
        UsageError: The value is not such an integer.
    """
    if type(value) is not int or value < minimum:
        raise UsageError(
            f"dataset {dataset!r}; option {option!r} is {value!r}; it must be an integer >= {minimum}; correct it"
        )
    return value
