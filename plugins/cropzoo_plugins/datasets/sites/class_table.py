"""Class tables: read from classes.csv, or made from the codes in the files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cropzoo import CropzooError, LabelClass
from cropzoo.data.crop_colors import color_classes
from cropzoo.data.legend import NO_PARCEL, read_color, read_csv_rows

TABLE = "classes.csv"
"""Name of the class table at the root, with the columns code, name and optionally color."""


def read_table(path: Path) -> list[LabelClass]:
    """Read the classes of a classes.csv in order.

    Raises:
        CropzooError: A column is missing, a code is not an integer or occurs twice, a name is empty or occurs twice, or
            a color is not "#rrggbb". The message names file and line.
    """
    classes: list[LabelClass] = []
    for where, row in read_csv_rows(path):
        found = _read_row(row, where)
        if any(found.code == other.code or found.name == other.name for other in classes):
            raise CropzooError(
                f"{where}; code {found.code} or name {found.name!r} occurs twice; make codes and names unique"
            )
        classes.append(found)
    return list(color_classes(classes))


def _read_row(row: Mapping[str, str], where: str) -> LabelClass:
    if "code" not in row or "name" not in row:
        raise CropzooError(f"{where}; 'code' or 'name' is missing; the header is: code,name,color")
    if not re.fullmatch(r"-?\d+", row["code"]):
        raise CropzooError(f"{where}; the code is {row['code']!r}; it must be an integer, as in the label raster")
    if not row["name"]:
        raise CropzooError(f"{where}; the name is empty; enter a name")
    return LabelClass(name=row["name"], code=int(row["code"]), color=read_color(row, where))


def make_table(codes: Iterable[int], names: Mapping[int, str]) -> list[LabelClass]:
    """Make classes of codes in increasing order, named by `names` or else by the code; 0 is "none declared"."""
    ordered = sorted(set(codes))
    classes: list[LabelClass] = []
    for code in ordered:
        if code == 0 and 0 not in names:
            classes.append(NO_PARCEL)
            continue
        name = names.get(code, "") or str(code)
        if any(name == other.name for other in classes):
            name = f"{name} ({code})"
        classes.append(LabelClass(name=name, code=code, color=""))
    return list(color_classes(classes))


def number_texts(texts: Iterable[str], table: list[LabelClass] | None) -> dict[str, int]:
    """Return a code for each crop given as text: that of the table's class of this name, or 1, 2, ... in sorted order.

    Raises:
        CropzooError: The table has no class of that name.
    """
    ordered = sorted(set(texts))
    if table is None:
        return {text: number for number, text in enumerate(ordered, start=1)}
    codes = {found.name: found.code for found in table}
    for text in ordered:
        if text not in codes:
            raise CropzooError(f"class table {TABLE!r}; it has no class named {text!r}, a crop of the parcels; add it")
    return {text: codes[text] for text in ordered}
