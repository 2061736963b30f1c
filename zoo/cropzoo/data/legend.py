"""The classes that the crops of parcels make: as they are, or merged, ignored, named and colored by a table."""

from __future__ import annotations

import colorsys
import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import IGNORE, LabelClass
from cropzoo.errors import CropzooError, UnknownName
from cropzoo.geo.vector.parcel_table import Crop, parse_crop

OTHERS = "*"
"""The code of a line that stands for every crop without a line of its own."""

IGNORED = "ignore"
"""The class of crops whose pixels no loss and no score looks at."""

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_GOLDEN = 0.618033988749895
"""Steps of the golden ratio around the color circle keep any number of hues apart."""


@dataclass(frozen=True)
class CropRow:
    """A line: the crop as the parcel file has it, its name, the class that it belongs to, the class's color."""

    crop: Crop
    text: str
    name: str
    group: str
    color: str

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
    """Distinct colors of medium lightness, "#rrggbb"; the first ones are the same for every count."""
    colors = []
    for i in range(count):
        hue = (0.11 + i * _GOLDEN) % 1
        red, green, blue = colorsys.hls_to_rgb(hue, (0.52, 0.38, 0.68)[i % 3], (0.62, 0.55, 0.7)[i % 3])
        colors.append(f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}")
    return colors


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


def read_color(row: Mapping[str, str], where: str) -> str:
    """The color of a line in lower case, "" where it has none.

    Raises:
        CropzooError: it is not "#rrggbb".
    """
    color = row.get("color", row.get("colour", ""))
    if color and not _COLOR.fullmatch(color):
        raise CropzooError(f"{where}; the color is {color!r}; write it like '#8fb339', or leave it empty")
    return color.lower()


def read_crop_table(path: Path) -> CropTable:
    """The crops of a CSV with the columns code, name, class, color, of which all but the first may be missing.

    `code` is a crop as in the parcel file; 0 is ground without parcel, `*` every crop without a line of its own. Crops
    with the same `class` are one class, a crop with none is a class of its own, and class `ignore` is ignored. The
    classes.csv of a prepared dataset is such a table too: it has a column `sources` with the crops of each class.

    Raises:
        CropzooError: naming file and line: no column or field `code`, a crop twice, one name for two classes, a color
            that is not "#rrggbb".
    """
    rows: list[CropRow] = []
    for where, fields in read_lines(path):
        if "code" not in fields:
            raise CropzooError(f"{where}; column 'code' is missing; the header is: code,name,class,color")
        name, color = fields.get("name", ""), read_color(fields, where)
        sources = [source for source in fields.get("sources", "").split(";") if source]
        if sources:
            found = [CropRow(parse_crop(source), source, name, name, color) for source in sources]
        elif fields["code"]:
            text = fields["code"]
            found = [CropRow(parse_crop(text), text, name, fields.get("class", ""), color)]
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


__all__ = ["GROUND", "Legend", "make_legend", "palette", "read_crop_table"]

GROUND = LabelClass(name="none declared", code=0, color="#c9c9c4")
"""Ground without parcel, unless a table names it otherwise."""

MOST = 254
"""Classes that a byte holds beside the ignored pixels and a void class."""

OTHER = "other crops"
"""The class of rare crops that are merged."""


@dataclass(frozen=True)
class Legend:
    """Classes and where each crop belongs.

    Args:
        classes: by label index; the first is ground without parcel, code 0, also where it has no pixel. The code of a
            class is that of its first crop; texts have the codes 1, 2, ... in sorted order.
        index_of: the index of every crop of the parcels, 255 for those to ignore, None (no crop) among them.
        sources: of each class, its crops joined by ";"; empty for ground without parcel.
        background: what `rasterize_labels` is to give ground without parcel: 0, or 255 where the table ignores it.
        rare: names of the classes that had too few pixels, and how many; they are ignored or in "other crops".
    """

    classes: tuple[LabelClass, ...]
    index_of: Mapping[Crop, int]
    sources: tuple[str, ...]
    background: int = 0
    rare: Mapping[str, int] = field(default_factory=dict)

    def indices(self, crops: Iterable[Crop]) -> NDArray[np.int64]:
        """(n,), the index of each of n crops, as `rasterize_labels` takes them."""
        return np.array([self.index_of[crop] for crop in crops], np.int64)


@dataclass
class _Group:
    """A class in the making."""

    label: str
    color: str = ""
    crops: list[Crop] = field(default_factory=list)


def make_legend(
    crops: Sequence[Crop],
    names: Sequence[str] = (),
    table: CropTable | None = None,
    pixels: Mapping[Crop, int] | None = None,
    *,
    min_pixels: int = 0,
    rare: str = "ignore",
) -> Legend:
    """The classes of crops: each crop is one, in their order, unless a table says otherwise.

    Args:
        crops: of parcels, numbers or texts.
        names: of each of the crops, "" where unknown; the first one counts, and a table's before it.
        table: names, colors, order, merging; see `read_crop_table`.
        pixels: of each crop (not of its class); crops that are missing there have none. A class without pixels is left
            out, and 255 where it occurs after all. None keeps all classes.
        min_pixels: a class with fewer is rare.
        rare: "ignore" makes rare classes 255, "merge" makes them one class, "other crops".

    Raises:
        UnknownName: for another way with rare classes.
        CropzooError: a crop that the table lacks; no class, or more than 254.
    """
    if rare not in ("ignore", "merge"):
        raise UnknownName("way with rare classes", rare, ("ignore", "merge"))
    present = sorted({crop for crop in crops if crop is not None}, key=lambda crop: (isinstance(crop, str), crop))
    named: dict[Crop, str] = {}
    for crop, name in zip(crops, names, strict=False):
        if name:
            named.setdefault(crop, name)
    ground = _Group(GROUND.name, GROUND.color, [crop for crop in present if crop in (0, "0")])
    declared = [crop for crop in present if crop not in ground.crops]
    background = 0
    if table is None:
        groups = [_Group(named.get(crop) or str(crop), crops=[crop]) for crop in declared]
    else:
        groups, background = _group(declared, ground, named, table)
    groups, few = _drop_rare(groups, pixels, min_pixels, rare == "merge")
    if not 1 <= len(groups) < MOST:
        problem = f"{len(groups) + 1} classes are more than {MOST}" if groups else "no class has a pixel"
        raise CropzooError(
            f"the classes of the parcels; {problem}; merge or ignore crops by a table (--classes), "
            "or change --min-pixels"
        )
    groups = [ground, *groups]
    index_of: dict[Crop, int] = {None: IGNORE, **dict.fromkeys(present, IGNORE)}
    for index, group in enumerate(groups):
        index_of.update(dict.fromkeys(group.crops, index or background))
    return Legend(
        classes=_name(groups, {crop: number for number, crop in enumerate(declared, start=1)}),
        index_of=index_of,
        sources=tuple(";".join(map(str, group.crops)) for group in groups),
        background=background,
        rare=few,
    )


def _group(
    crops: Sequence[Crop], ground: _Group, named: Mapping[Crop, str], table: CropTable
) -> tuple[list[_Group], int]:
    """Classes by a table, in its order, and the index of ground without parcel; that is named, and may get crops."""
    texts = any(isinstance(crop, str) for crop in crops)
    line_of: dict[Crop, CropRow] = {row.text if texts else row.crop: row for row in table.rows}
    others = [crop for crop in crops if crop not in line_of]
    if others and OTHERS not in line_of:
        raise CropzooError(
            f"class table {str(table.path)!r}; it lacks {', '.join(map(repr, others))}, crops of the parcels; "
            f"add a line for each, or one with code {OTHERS} for all that have none"
        )
    background, rows = 0, list(table.rows)
    for row in [row for row in rows if row.crop == 0]:
        rows.remove(row)
        ground.color = row.color or ground.color
        background = IGNORE if row.key == IGNORED else 0
        ground.label = (row.key if row.key != IGNORED else row.name) or ground.label
    groups: dict[str, _Group] = {ground.label: ground}
    for row in rows:
        if row.text == OTHERS:
            key, label, here = row.key or OTHER, row.key or OTHER, others
        else:
            here = [crop for crop in (row.text, row.crop) if crop in crops and line_of.get(crop) is row][:1]
            # Crops without a name of their own stay apart even where the parcel file has one name for both.
            key, label = row.key or f"code {row.text}", row.key or named.get(here[0] if here else None) or row.text
        group = groups.setdefault(key, _Group(label))
        group.color = group.color or row.color
        group.crops += here
    groups.pop(IGNORED, None)
    return [group for group in groups.values() if group is not ground and group.crops], background


def _drop_rare(
    groups: list[_Group], pixels: Mapping[Crop, int] | None, least: int, merge: bool
) -> tuple[list[_Group], dict[str, int]]:
    """Classes with enough pixels, one of all others if these are merged and are enough, and pixels of the others."""
    if pixels is None:
        return groups, {}
    counts = [sum(pixels.get(crop, 0) for crop in group.crops) for group in groups]
    few = {group.label: count for group, count in zip(groups, counts, strict=True) if count < max(1, least)}
    kept = [group for group, count in zip(groups, counts, strict=True) if count >= max(1, least)]
    lost = [group for group, count in zip(groups, counts, strict=True) if count < max(1, least)]
    other = next((group for group in kept if group.label == OTHER), None)
    if merge and (other or sum(few.values()) >= max(1, least)):
        if other is None:
            other = _Group(OTHER, next((group.color for group in lost if group.label == OTHER), ""))
            kept.append(other)
        other.crops += [crop for group in lost for crop in group.crops]
    return kept, few


def _name(groups: Sequence[_Group], numbers: Mapping[Crop, int]) -> tuple[LabelClass, ...]:
    """The classes with a code, a name and a color of their own."""
    colors = iter(palette(len(groups)))
    classes: list[LabelClass] = []
    for group in groups:
        first = group.crops[0] if group.crops else 0
        code = 0 if not classes else first if isinstance(first, int) else numbers[first]
        name = group.label
        if any(name == other.name for other in classes):
            name = f"{name} ({first})"
        classes.append(LabelClass(name=name, code=code, color=group.color or next(colors)))
    return tuple(classes)
