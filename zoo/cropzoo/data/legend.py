"""Class tables (CSV files) and legends: the classes of the crops of parcels."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.crop_colors import color_classes
from cropzoo.data.sample import HEX_COLOR, IGNORE, LabelClass
from cropzoo.errors import CropzooError, UnknownName, quote
from cropzoo.geo.vector.fields import Crop, is_plain_integer, normalize_text, read_number

OTHERS = "*"
"""Code of the row for all crops without a row."""

IGNORED = "ignore"
"""Class of crops whose pixels are ignored."""

KEPT = "keep"
"""Class of crops that are classes of their own, for the row of all crops without a row."""

NO_PARCEL = LabelClass(name="none declared", code=0, color="#c9c9c4")
"""Class of pixels outside all parcels, unless a table names it otherwise."""

MAX_CLASSES = 254
"""Number of classes that fit in a byte with the ignored pixels and a void class."""

OTHER = "other crops"
"""Class of merged rare crops."""


@dataclass(frozen=True)
class CropRow:
    """One row of a class table.

    Args:
        text: Crop as written in the table.
        name: Name of the crop; "" if none.
        group: Class of the crop; "" if the crop is a class of its own.
        color: Color of the class; "" if none.
    """

    text: str
    name: str
    group: str
    color: str

    def crop(self, texts: bool) -> Crop:
        """Crop of the row in a parcel file: the text as it is written if crops are texts, otherwise its number."""
        number = None if texts else read_number(self.text)
        return self.text if number is None else number

    @property
    def key(self) -> str:
        """Name shared by all crops of the class; "" if the crop has no name."""
        key = self.name if self.group.lower() == KEPT else self.group or self.name
        return IGNORED if key.lower() == IGNORED else key


@dataclass(frozen=True)
class CropTable:
    """The rows of a class table in the order of the file."""

    path: Path
    rows: tuple[CropRow, ...]

    def by_crop(self, texts: bool) -> dict[Crop, CropRow]:
        """Return the row of each crop.

        Args:
            texts: Whether the crops of the parcels are texts, which are compared as they are written. Otherwise they
                are numbers, and a code such as 0101 means 101.

        Raises:
            CropzooError: Two codes are one number.
        """
        found: dict[Crop, CropRow] = {}
        for row in self.rows:
            other = found.setdefault(row.crop(texts), row)
            if other is not row:
                raise CropzooError(
                    f"class table {str(self.path)!r}; codes {quote(other.text)} and {quote(row.text)} are one crop, "
                    "since the crops of the parcels are numbers; keep one of the rows"
                )
        return found


def read_csv_rows(path: Path, what: str = "class table") -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of a CSV file: the location of each row, for messages, and its fields by column.

    Args:
        path: Path of the file.
        what: Content of the file, for messages.

    Raises:
        CropzooError: The file cannot be read, or is not a CSV file in UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            # Spreadsheets write semicolons in locales with a decimal comma.
            mark = ";" if ";" in header and "," not in header else ","
            rows = list(csv.DictReader(file, skipinitialspace=True, delimiter=mark))
    except OSError as error:
        raise CropzooError(f"{what} {str(path)!r}; {error.strerror}; check its name") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CropzooError(
            f"{what} {str(path)!r}; it is not a CSV file in UTF-8 ({error}); save it as CSV in UTF-8"
        ) from error
    for line, row in enumerate(rows, start=2):
        yield (
            f"{what} {str(path)!r} line {line}",
            {
                normalize_text(name): normalize_text(value)
                for name, value in row.items()
                if name is not None and value is not None
            },
        )


def read_color(row: Mapping[str, str], where: str) -> str:
    """Return the color of a row in lower case; "" if it has none.

    Raises:
        CropzooError: The color is not "#rrggbb".
    """
    color = row.get("color", row.get("colour", ""))
    if color and not HEX_COLOR.fullmatch(color):
        raise CropzooError(f"{where}; the color is {quote(color)}; use a color like '#8fb339', or leave it empty")
    return color.lower()


def read_crop_table(path: Path) -> CropTable:
    """Read the crops of a CSV file with the columns code, name, class and color; only code is required.

    `code` is a crop as in the parcel file; 0 means pixels outside all parcels, `*` all crops without a row.
    Crops with the same `class` form one class, a crop without a class is a class of its own, and the class `ignore` is
    ignored. In row `*`, the class `keep` makes each crop a class of its own; without a class they form one. The
    classes.csv of a prepared dataset is also accepted: its column `sources` lists the crops of each class.

    Raises:
        CropzooError: Column or field `code` is missing, a crop occurs twice, two classes have the same name, or a color
            is not "#rrggbb". The message names file and line.
    """
    rows: list[CropRow] = []
    texts: set[str] = set()
    classes: set[str] = set()
    for where, fields in read_csv_rows(path):
        if "code" not in fields:
            raise CropzooError(f"{where}; column 'code' is missing; the header is: code,name,class,color")
        name, color = fields.get("name", ""), read_color(fields, where)
        sources = [source for source in fields.get("sources", "").split(";") if source]
        if sources:
            found = [CropRow(source, name, name, color) for source in sources]
        elif fields["code"]:
            text = fields["code"]
            found = [CropRow(text, name, fields.get("class", ""), color)]
        elif "sources" in fields:
            continue  # the void class of a prepared dataset has neither code nor crops
        else:
            raise CropzooError(f"{where}; the code is empty; enter the crop as in the parcel file, or '*'")
        for row in found:
            if row.text in texts:
                raise CropzooError(f"{where}; code {quote(row.text)} occurs twice; keep one row for each crop")
            if row.name in classes and not row.group:
                raise CropzooError(
                    f"{where}; name {quote(row.name)} occurs twice; rename one crop, or enter the same class for both "
                    "to merge them"
                )
            texts.add(row.text)
            classes |= {row.name} if row.name and not row.group else set()
            rows.append(row)
    if not rows:
        raise CropzooError(f"class table {str(path)!r}; it has no rows; add one for each crop")
    return CropTable(path, tuple(rows))


@dataclass(frozen=True)
class Legend:
    """Classes, and the class of each crop.

    Args:
        classes: Classes by label index. The first is the area outside all parcels, code 0, even if it has no pixel,
            unless that area is ignored. The code of a class is that of its first crop; it is None if the crops are
            texts that are no numbers.
        index_of: Label index of each crop of the parcels, 255 to ignore it. The key None means parcels without a
            crop.
        sources: Crops of each class, joined by ";"; empty for the area outside all parcels.
        background: Label of pixels outside all parcels, for `rasterize_labels`: 0, or 255 if they are ignored.
        rare: Number of pixels of each class with too few, by name; these are ignored or merged in "other crops".
    """

    classes: tuple[LabelClass, ...]
    index_of: Mapping[Crop, int]
    sources: tuple[str, ...]
    background: int = 0
    rare: Mapping[str, int] = field(default_factory=dict)

    def indices(self, crops: Iterable[Crop]) -> NDArray[np.int64]:
        """Return the label index of each of n crops, (n,), for `rasterize_labels`."""
        return np.array([self.index_of[crop] for crop in crops], np.int64)


def sort_crops(crops: Iterable[int | str]) -> list[int | str]:
    """Return the different crops in order: by number if all are whole numbers, otherwise as texts."""
    found = set(crops)
    codes = find_codes(found)
    return sorted(found, key=lambda crop: (codes.get(crop, 0), str(crop)))


def find_codes(crops: Collection[Crop]) -> dict[Crop, int]:
    """Return the code of each crop; empty unless all of them are whole numbers, or texts that write one plainly.

    Texts such as "WHT" or "0101" have no codes: numbers made up for them could be taken for those of a register.
    """
    if not all(is_plain_integer(str(crop)) for crop in crops):
        return {}
    return {crop: int(str(crop)) for crop in crops}


def drop_made_up_codes(classes: Sequence[LabelClass]) -> tuple[LabelClass, ...]:
    """Return the classes of a file of an earlier version without the codes that cropzoo may have made up.

    Earlier versions numbered crops given as texts 1, 2, ... and stored these numbers as codes. Codes that equal the
    label indices cannot be distinguished from such numbers, unless the classes are named by them; they become None.
    """
    codes = [each.code for each in classes]
    if codes != list(range(len(classes))) or all(each.name == str(each.code) for each in classes[1:]):
        return tuple(classes)
    return (*classes[:1], *(replace(each, code=None) for each in classes[1:]))


@dataclass
class _Group:
    """A class while a legend is built."""

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
    ignore_background: bool = False,
) -> Legend:
    """Return the legend of crops: one class per crop in sorted order, unless a table defines the classes.

    Args:
        crops: Crops of the parcels, numbers or strings.
        names: Name of each of the crops, "" if unknown; the first name of a crop is used. Names of the table have
            precedence.
        table: Names, colors, order and merging of the classes; see `read_crop_table`.
        pixels: Number of pixels of each crop (not class); 0 for crops that are missing. Classes without pixels are left
            out and get the label 255. None keeps all classes.
        min_pixels: Minimum number of pixels of a class; classes with fewer are rare.
        rare: "ignore" sets rare classes to 255, "merge" merges them into the class "other crops".
        ignore_background: Whether the area outside all parcels, and crop 0, are ignored also without a table that says
            so.

    Raises:
        UnknownName: `rare` has another value.
        CropzooError: The table lacks a crop, no class is left, or there are more than 254 classes.
    """
    if rare not in ("ignore", "merge"):
        raise UnknownName("treatment of rare classes", rare, ("ignore", "merge"))
    present = sort_crops(crop for crop in crops if crop is not None)
    named: dict[Crop, str] = {}
    for crop, name in zip(crops, names, strict=False):
        if name:
            named.setdefault(crop, name)
    zero = [crop for crop in present if crop in (0, "0")]
    outside = _Group(NO_PARCEL.name, NO_PARCEL.color, list(zero))
    declared = [crop for crop in present if crop not in zero]
    background = 0
    if table is None:
        groups = [_Group(named.get(crop) or str(crop), crops=[crop]) for crop in declared]
    else:
        groups, background = _group_by_table(declared, outside, named, table)
    if ignore_background or background == IGNORE:
        background = IGNORE
        outside.crops = [crop for crop in outside.crops if crop not in zero]
    groups, few = _drop_rare(groups, pixels, min_pixels, rare == "merge")
    if not 1 <= len(groups) < MAX_CLASSES:
        problem = f"{len(groups) + 1} classes are more than {MAX_CLASSES}" if groups else "no class has a pixel"
        raise CropzooError(
            f"classes of the parcels; {problem}; merge or ignore crops with a class table (--classes), "
            "or change --min-pixels"
        )
    if background != IGNORE or outside.crops:
        groups = [outside, *groups]
    index_of: dict[Crop, int] = {None: IGNORE, **dict.fromkeys(present, IGNORE)}
    for index, group in enumerate(groups):
        index_of.update(dict.fromkeys(group.crops, index))
    return Legend(
        classes=_to_classes(groups, find_codes(declared), outside if background != IGNORE else None),
        index_of=index_of,
        sources=tuple(";".join(map(str, group.crops)) for group in groups),
        background=background,
        rare=few,
    )


def _group_by_table(
    crops: Sequence[Crop], outside: _Group, named: Mapping[Crop, str], table: CropTable
) -> tuple[list[_Group], int]:
    """Return the classes of a table in its order, and the label outside all parcels; updates the group of that area."""
    texts = any(isinstance(crop, str) for crop in (*crops, *outside.crops))
    line_of = table.by_crop(texts)
    others = [crop for crop in crops if crop not in line_of]
    if others and OTHERS not in line_of:
        lacking = ", ".join(quote(crop) if isinstance(crop, str) else str(crop) for crop in others)
        raise CropzooError(
            f"class table {str(table.path)!r}; it lacks {lacking}, crops of the parcels; add a row for each, or "
            f"one with code {OTHERS} for all crops without a row: '{OTHERS},,{KEPT},' keeps each as a class, "
            f"'{OTHERS},,,' merges them"
        )
    background, rows = 0, list(table.rows)
    for row in [row for row in rows if row.crop(texts) in (0, "0")]:
        rows.remove(row)
        outside.color = row.color or outside.color
        background = IGNORE if row.key == IGNORED else 0
        outside.label = (row.key if row.key != IGNORED else row.name) or outside.label
    groups: dict[str, _Group] = {outside.label: outside}
    for row in rows:
        if row.text == OTHERS and row.group.lower() == KEPT:
            groups |= {f"code {crop}": _Group(named.get(crop) or str(crop), crops=[crop]) for crop in others}
            continue
        if row.text == OTHERS:
            key, label, members = row.key or OTHER, row.key or OTHER, others
        else:
            members = [crop for crop in (row.crop(texts),) if crop in crops]
            # Crops without a name in the table stay separate even if the parcel file has the same name for both.
            key, label = (
                row.key or f"code {row.text}",
                row.key or named.get(members[0] if members else None) or row.text,
            )
        group = groups.setdefault(key, _Group(label))
        group.color = group.color or row.color
        group.crops += members
    groups.pop(IGNORED, None)
    return [group for group in groups.values() if group is not outside and group.crops], background


def _drop_rare(
    groups: list[_Group], pixels: Mapping[Crop, int] | None, minimum: int, merge: bool
) -> tuple[list[_Group], dict[str, int]]:
    """Return the classes with enough pixels, including the merged rare ones, and the pixels of each rare class."""
    if pixels is None:
        return groups, {}
    counts = [sum(pixels.get(crop, 0) for crop in group.crops) for group in groups]
    few = {group.label: count for group, count in zip(groups, counts, strict=True) if count < max(1, minimum)}
    kept = [group for group, count in zip(groups, counts, strict=True) if count >= max(1, minimum)]
    lost = [group for group, count in zip(groups, counts, strict=True) if count < max(1, minimum)]
    other = next((group for group in kept if group.label == OTHER), None)
    if merge and (other or sum(few.values()) >= max(1, minimum)):
        if other is None:
            other = _Group(OTHER, next((group.color for group in lost if group.label == OTHER), ""))
            kept.append(other)
        other.crops += [crop for group in lost for crop in group.crops]
    return kept, few


def _to_classes(groups: Sequence[_Group], codes: Mapping[Crop, int], outside: _Group | None) -> tuple[LabelClass, ...]:
    """Return the classes with unique names, codes and colors; `outside`, the area outside all parcels, has code 0."""
    classes: list[LabelClass] = []
    for group in groups:
        first = group.crops[0] if group.crops else 0
        code = 0 if group is outside else codes.get(first)
        name = group.label
        if any(name == other.name for other in classes):
            name = f"{name} ({first})"
        classes.append(LabelClass(name=name, code=code, color=group.color))
    return color_classes(classes)
