"""The user's table of crops, classes.csv, and colours for classes that have none."""

from __future__ import annotations

import colorsys
import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cropzoo.errors import CropzooError
from cropzoo.parcels.fields import Crop, crop_of

OTHERS = "*"
"""The code of a line that stands for every crop without a line of its own."""

IGNORED = "ignore"
"""The class of crops whose pixels no loss and no score looks at."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_GOLDEN = 0.618033988749895
"""Steps of the golden ratio around the colour circle keep any number of hues apart."""


@dataclass(frozen=True)
class CropRow:
    """A line: the crop as the parcel file has it, its name, the class that it belongs to, the class's colour."""

    crop: Crop
    text: str
    name: str
    group: str
    colour: str

    @property
    def key(self) -> str:
        """What it has in common with other crops of its class; "" if it has no name."""
        key = self.group or self.name
        return IGNORED if key.lower() == IGNORED else key


@dataclass(frozen=True)
class CropTable:
    """The lines of a file in order."""

    path: Path
    rows: tuple[CropRow, ...]


def palette(count: int) -> list[str]:
    """Distinct colours of medium lightness, "#rrggbb"; the first ones are the same for every count."""
    colours = []
    for i in range(count):
        hue = (0.11 + i * _GOLDEN) % 1
        red, green, blue = colorsys.hls_to_rgb(hue, (0.52, 0.38, 0.68)[i % 3], (0.62, 0.55, 0.7)[i % 3])
        colours.append(f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}")
    return colours


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each line under a CSV's header: where it is, for messages, and those of its fields that are there, by column.

    Raises:
        CropzooError: the file cannot be read, or is no CSV in UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            # Spreadsheets of half of Europe write semicolons.
            mark = ";" if ";" in header and "," not in header else ","
            rows = list(csv.DictReader(file, skipinitialspace=True, delimiter=mark))
    except OSError as error:
        raise CropzooError(f"class table {str(path)!r}; {error.strerror}; check its name") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CropzooError(f"class table {str(path)!r}; it is no CSV in UTF-8 ({error}); save it as such") from error
    for line, row in enumerate(rows, start=2):
        yield (
            f"class table {str(path)!r} line {line}",
            {name.strip(): value.strip() for name, value in row.items() if name is not None and value is not None},
        )


def read_colour(row: Mapping[str, str], where: str) -> str:
    """The colour of a line in lower case, "" where it has none.

    Raises:
        CropzooError: it is not "#rrggbb".
    """
    colour = row.get("colour", "")
    if colour and not _COLOUR.fullmatch(colour):
        raise CropzooError(f"{where}; the colour is {colour!r}; write it like '#8fb339', or leave it empty")
    return colour.lower()


def read_crop_table(path: Path) -> CropTable:
    """The crops of a CSV with the columns code, name, class, colour, of which all but the first may be missing.

    `code` is a crop as in the parcel file; 0 is ground without parcel, `*` every crop without a line of its own. Crops
    with the same `class` are one class, a crop with none is a class of its own, and class `ignore` is ignored. The
    classes.csv of a prepared dataset is such a table too: it has a column `sources` with the crops of each class.

    Raises:
        CropzooError: naming file and line: no column or field `code`, a crop twice, one name for two classes, a colour
            that is not "#rrggbb".
    """
    rows: list[CropRow] = []
    for where, fields in read_lines(path):
        if "code" not in fields:
            raise CropzooError(f"{where}; column 'code' is missing; the header is: code,name,class,colour")
        name, colour = fields.get("name", ""), read_colour(fields, where)
        sources = [source for source in fields.get("sources", "").split(";") if source]
        if sources:
            found = [CropRow(crop_of(source), source, name, name, colour) for source in sources]
        elif fields["code"]:
            text = fields["code"]
            found = [CropRow(crop_of(text), text, name, fields.get("class", ""), colour)]
        elif "sources" in fields:
            continue  # the void class of a prepared dataset has neither code nor crops
        else:
            raise CropzooError(f"{where}; the code is empty; write the crop as the parcel file has it, or '*'")
        for row in found:
            _check_new(row, rows, where)
            rows.append(row)
    if not rows:
        raise CropzooError(f"class table {str(path)!r}; it has no line under its header; add one for each crop")
    return CropTable(path, tuple(rows))


def _check_new(row: CropRow, rows: list[CropRow], where: str) -> None:
    for other in rows:
        if row.text == other.text:
            raise CropzooError(f"{where}; code {row.text!r} stands there twice; keep one line for each crop")
        if row.name and row.name == other.name and not row.group and not other.group:
            raise CropzooError(
                f"{where}; name {row.name!r} stands there twice; rename one crop, or write the same class for both "
                "to make them one class"
            )
