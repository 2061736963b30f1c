"""Checks of options that several datasets have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cropzoo import UsageError

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")


def need_root(dataset: str, root: str | Path) -> Path:
    """The folder of a dataset.

    Raises:
        UsageError: when none is given.
    """
    if not str(root):
        raise UsageError(f"dataset {dataset!r}; it needs to know where the files are; give --set dataset.root=FOLDER")
    return Path(root).expanduser()


def whole_numbers(dataset: str, option: str, value: object) -> tuple[int, ...]:
    """Whole numbers from one, from several or from a text of them with commas, as options come from a command line.

    Raises:
        UsageError: for anything else.
    """
    given: Sequence[object] = (value,)
    if isinstance(value, str):
        given = value.split(",")
    elif isinstance(value, Sequence):
        given = value
    if not all(type(item) is int or (isinstance(item, str) and _WHOLE.fullmatch(item)) for item in given):
        raise UsageError(
            f"dataset {dataset!r}; option {option!r} is {value!r}; it must be whole numbers with commas between them; "
            f"give for example dataset.{option}=4,5"
        )
    return tuple(int(str(item)) for item in given)


def at_least(dataset: str, option: str, value: Any, least: int) -> int:
    """The value, if it is a whole number of at least so much.

    Raises:
        UsageError: if not.
    """
    if type(value) is not int or value < least:
        raise UsageError(
            f"dataset {dataset!r}; option {option!r} is {value!r}; it must be a whole number, {least} or more"
        )
    return value
