"""The class table: from classes.csv, or made of the codes that the files hold."""

from __future__ import annotations

import colorsys
import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cropzoo import CropzooError, LabelClass

TABLE = "classes.csv"
"""The class table's file at the root: a header with code, name and, if you like, colour."""

_NONE = LabelClass(name="none declared", code=0, colour="#c9c9c4")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_GOLDEN = 0.618033988749895
"""Steps of the golden ratio around the colour circle keep any number of hues apart."""


def palette(count: int) -> list[str]:
    """Distinct colours of medium lightness, "#rrggbb"; the first ones are the same for every count."""
    colours = []
    for i in range(count):
        hue = (0.11 + i * _GOLDEN) % 1
        red, green, blue = colorsys.hls_to_rgb(hue, (0.52, 0.38, 0.68)[i % 3], (0.62, 0.55, 0.7)[i % 3])
        colours.append(f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}")
    return colours


def read_table(path: Path) -> list[LabelClass]:
    """The classes of a classes.csv in its order.

    Raises:
        CropzooError: naming file and line: a column is missing, a code is no whole number or occurs twice, a name is
            empty or occurs twice, a colour is not "#rrggbb".
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise CropzooError(f"class table {str(path)!r}; it is no CSV in UTF-8 ({error}); save it as such") from error
    colours = palette(len(rows))
    classes: list[LabelClass] = []
    for line, (row, colour) in enumerate(zip(rows, colours, strict=True), start=2):
        found = _read_row(row, colour, f"class table {str(path)!r} line {line}")
        if any(found.code == other.code or found.name == other.name for other in classes):
            raise CropzooError(
                f"class table {str(path)!r} line {line}; code {found.code} or name {found.name!r} stands there twice; "
                "give every class its own"
            )
        classes.append(found)
    return classes


def _read_row(row: Mapping[str, str | None], colour: str, where: str) -> LabelClass:
    if row.get("code") is None or row.get("name") is None:
        raise CropzooError(f"{where}; 'code' or 'name' is missing; the header is: code,name,colour")
    name, code = (row["name"] or "").strip(), (row["code"] or "").strip()
    colour = (row.get("colour") or "").strip() or colour
    if not re.fullmatch(r"-?\d+", code):
        raise CropzooError(f"{where}; the code is {code!r}; it must be a whole number, as in the label raster")
    if not name:
        raise CropzooError(f"{where}; the name is empty; name the class")
    if not _COLOUR.fullmatch(colour):
        raise CropzooError(f"{where}; the colour is {colour!r}; write it like '#8fb339', or leave it empty")
    return LabelClass(name=name, code=int(code), colour=colour.lower())


def make_table(codes: Iterable[int], names: Mapping[int, str]) -> list[LabelClass]:
    """Classes for the codes in order: named by `names` where it has one, else by the code; 0 is "none declared"."""
    ordered = sorted(set(codes))
    colours = iter(palette(len(ordered)))
    classes: list[LabelClass] = []
    for code in ordered:
        if code == 0 and 0 not in names:
            classes.append(_NONE)
            continue
        name = names.get(code, "") or str(code)
        if any(name == other.name for other in classes):
            name = f"{name} ({code})"
        classes.append(LabelClass(name=name, code=code, colour=next(colours)))
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
