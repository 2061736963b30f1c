"""The classes that the crops of parcels make: as they are, or merged, ignored, named and coloured by a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError, UnknownName
from cropzoo.parcels.crop_table import IGNORED, OTHERS, CropRow, CropTable, palette, read_crop_table
from cropzoo.parcels.fields import Crop
from cropzoo.samples import IGNORE, LabelClass

__all__ = ["GROUND", "Legend", "make_legend", "palette", "read_crop_table"]

GROUND = LabelClass(name="none declared", code=0, colour="#c9c9c4")
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
        background: what `rasterise` is to give ground without parcel: 0, or 255 where the table ignores it.
        rare: names of the classes that had too few pixels, and how many; they are ignored or in "other crops".
    """

    classes: tuple[LabelClass, ...]
    index_of: Mapping[Crop, int]
    sources: tuple[str, ...]
    background: int = 0
    rare: Mapping[str, int] = field(default_factory=dict)

    def indices(self, crops: Iterable[Crop]) -> NDArray[np.int64]:
        """(n,), the index of each of n crops, as `rasterise` takes them."""
        return np.array([self.index_of[crop] for crop in crops], np.int64)


@dataclass
class _Group:
    """A class in the making."""

    label: str
    colour: str = ""
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
        table: names, colours, order, merging; see `read_crop_table`.
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
    ground = _Group(GROUND.name, GROUND.colour, [crop for crop in present if crop in (0, "0")])
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
        ground.colour = row.colour or ground.colour
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
        group.colour = group.colour or row.colour
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
            other = _Group(OTHER, next((group.colour for group in lost if group.label == OTHER), ""))
            kept.append(other)
        other.crops += [crop for group in lost for crop in group.crops]
    return kept, few


def _name(groups: Sequence[_Group], numbers: Mapping[Crop, int]) -> tuple[LabelClass, ...]:
    """The classes with a code, a name and a colour of their own."""
    colours = iter(palette(len(groups)))
    classes: list[LabelClass] = []
    for group in groups:
        first = group.crops[0] if group.crops else 0
        code = 0 if not classes else first if isinstance(first, int) else numbers[first]
        name = group.label
        if any(name == other.name for other in classes):
            name = f"{name} ({first})"
        classes.append(LabelClass(name=name, code=code, colour=group.colour or next(colours)))
    return tuple(classes)
