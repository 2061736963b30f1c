"""Class tables: read from classes.csv, or made from the codes in the files."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cropzoo import CropzooError, LabelClass
from cropzoo.data.crop_colors import color_classes
from cropzoo.data.legend import NO_PARCEL, find_codes, read_color, read_csv_rows
from cropzoo.errors import quote
from cropzoo.geo.vector.fields import is_plain_integer, read_number

MISSING = -(2**63)
"""Number of a pixel of unknown crop, which is ignored."""

TABLE = "classes.csv"
"""Name of the class table at the root, with the columns code, name and optionally color."""


def read_table(path: Path) -> list[LabelClass]:
    """Read the classes of a classes.csv in order.

    Raises:
        CropzooError: A column is missing, a code is not an integer or occurs twice, a name is empty or occurs twice, or
            a color is not "#rrggbb". The message names file and line.
    """
    rows: dict[str, LabelClass] = {}
    names: set[str] = set()
    for where, row in read_csv_rows(path):
        found = _read_row(row, where)
        _add_unique(rows, names, str(found.code), found, where)
    return list(color_classes(list(rows.values())))


def _read_row(row: Mapping[str, str], where: str) -> LabelClass:
    if "code" not in row or "name" not in row:
        raise CropzooError(f"{where}; 'code' or 'name' is missing; the header is: code,name,color")
    code = read_number(row["code"]) if re.fullmatch(r"-?[0-9]+", row["code"]) else None
    if code is None:
        raise CropzooError(
            f"{where}; the code is {quote(row['code'])}; it must be an integer of 64 bits, as in the label raster"
        )
    if not row["name"]:
        raise CropzooError(f"{where}; the name is empty; enter a name")
    return LabelClass(name=row["name"], code=code, color=read_color(row, where))


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


@dataclass(frozen=True)
class CropNumbers:
    """Numbers of the crops given as texts, for label rasters.

    Args:
        numbers: Number of each text; empty if crops are numbers.
        made_up: Numbers that are no codes of the source.
        table: Classes of classes.csv with these numbers as codes; None without a table.
    """

    numbers: Mapping[str, int]
    made_up: frozenset[int] = frozenset()
    table: Sequence[LabelClass] | None = None

    def find(self, text: str) -> int:
        """Return the number of a crop or of a code of a label raster; `MISSING` if there is none."""
        if text in self.numbers:
            return self.numbers[text]
        return int(text) if is_plain_integer(text) and int(text) not in self.made_up else MISSING

    def to_source(self, classes: Iterable[LabelClass]) -> tuple[LabelClass, ...]:
        """Return the classes with the codes of the source; None where it has none."""
        return tuple(replace(each, code=None) if each.code in self.made_up else each for each in classes)


def number_crops(texts: Collection[str], path: Path | None, ignored: Collection[str] = ()) -> CropNumbers:
    """Return the number of each crop given as text.

    Texts that are plain integers, such as "101", are their own numbers. Others, such as "WHT" or "0101", have the code
    of the table's row with this text as code, or else as name; without a table, they are numbered in sorted order.

    Args:
        texts: Crops of the parcels; empty if they are numbers.
        path: Table classes.csv; None without one.
        ignored: Texts that the table may lack.

    Raises:
        CropzooError: The table is not valid or lacks a crop.
    """
    plain = {str(text): code for text, code in find_codes(texts).items()}
    if path is None:
        if plain or not texts:
            return CropNumbers(plain)
        numbers = {text: number for number, text in enumerate(sorted(set(texts) - {"0"}), start=1)}
        return CropNumbers({"0": 0, **numbers}, frozenset(numbers.values()))
    if not texts:
        return CropNumbers({}, table=read_table(path))
    rows = _read_text_rows(path)
    made_up = frozenset(row.code for text, row in rows.items() if row.code is not None and not is_plain_integer(text))
    by_name = {row.name: row for row in rows.values()}
    found = {text: rows.get(text, by_name.get(text)) for text in texts}
    lacking = sorted(text for text, row in found.items() if row is None and text not in ignored)
    if lacking and not plain:
        raise CropzooError(
            f"class table {TABLE!r}; it has no class with the code or name {quote(lacking[0])}, a crop of the "
            "parcels; add it"
        )
    known = {text: row.code or 0 for text, row in found.items() if row is not None}
    return CropNumbers({**dict.fromkeys(texts, MISSING), **plain, **known}, made_up, list(rows.values()))


def _read_text_rows(path: Path) -> dict[str, LabelClass]:
    """Return the classes of a table by code as it is written; codes that are no integers have negative numbers."""
    lines = list(read_csv_rows(path))
    integers = [int(row["code"]) for _, row in lines if is_plain_integer(row.get("code", ""))]
    free = itertools.count(min([0, *integers]) - 1, -1)
    rows: dict[str, LabelClass] = {}
    names: set[str] = set()
    for where, row in lines:
        text = row.get("code", "")
        number = row if is_plain_integer(text) or not text else {**row, "code": str(next(free))}
        _add_unique(rows, names, text, _read_row(number, where), where)
    return dict(zip(rows, color_classes(list(rows.values())), strict=True))


def _add_unique(rows: dict[str, LabelClass], names: set[str], text: str, found: LabelClass, where: str) -> None:
    """Add a class, unless its code or name is taken."""
    if text in rows or found.name in names:
        raise CropzooError(
            f"{where}; code {quote(text)} or name {quote(found.name)} occurs twice; make codes and names unique"
        )
    rows[text] = found
    names.add(found.name)
