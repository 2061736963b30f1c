"""The class table: from classes.csv, or made of the codes that the files hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cropzoo import CropzooError, LabelClass
from cropzoo.data.legend import GROUND, palette, read_color, read_lines

TABLE = "classes.csv"
"""The class table's file at the root: a header with code, name and, if you like, color."""


def read_table(path: Path) -> list[LabelClass]:
    """The classes of a classes.csv in its order.

    Raises:
        CropzooError: naming file and line: a column is missing, a code is no whole number or occurs twice, a name is
            empty or occurs twice, a color is not "#rrggbb".
    """
    lines = list(read_lines(path))
    classes: list[LabelClass] = []
    for (where, row), color in zip(lines, palette(len(lines)), strict=True):
        found = _read_row(row, color, where)
        if any(found.code == other.code or found.name == other.name for other in classes):
            raise CropzooError(
                f"{where}; code {found.code} or name {found.name!r} stands there twice; give every class its own"
            )
        classes.append(found)
    return classes


def _read_row(row: Mapping[str, str], color: str, where: str) -> LabelClass:
    if "code" not in row or "name" not in row:
        raise CropzooError(f"{where}; 'code' or 'name' is missing; the header is: code,name,color")
    if not re.fullmatch(r"-?\d+", row["code"]):
        raise CropzooError(f"{where}; the code is {row['code']!r}; it must be a whole number, as in the label raster")
    if not row["name"]:
        raise CropzooError(f"{where}; the name is empty; name the class")
    return LabelClass(name=row["name"], code=int(row["code"]), color=read_color(row, where) or color)


def make_table(codes: Iterable[int], names: Mapping[int, str]) -> list[LabelClass]:
    """Classes for the codes in order: named by `names` where it has one, else by the code; 0 is "none declared"."""
    ordered = sorted(set(codes))
    colors = iter(palette(len(ordered)))
    classes: list[LabelClass] = []
    for code in ordered:
        if code == 0 and 0 not in names:
            classes.append(GROUND)
            continue
        name = names.get(code, "") or str(code)
        if any(name == other.name for other in classes):
            name = f"{name} ({code})"
        classes.append(LabelClass(name=name, code=code, color=next(colors)))
    return classes


def number_texts(texts: Iterable[str], table: list[LabelClass] | None) -> dict[str, int]:
    """A code for each crop that a parcel file writes as text: the table's class of that name, else 1, 2, ... in order.

    Raises:
        CropzooError: the table has no class of that name.
    """
    ordered = sorted(set(texts))
    if table is None:
        return {text: number for number, text in enumerate(ordered, start=1)}
    codes = {found.name: found.code for found in table}
    for text in ordered:
        if text not in codes:
            raise CropzooError(f"class table {TABLE!r}; it has no class named {text!r}, a crop of the parcels; add it")
    return {text: codes[text] for text in ordered}
