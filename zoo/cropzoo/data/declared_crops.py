"""Matching of declared crops to the classes of a map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.legend import IGNORED, KEPT, OTHERS, CropRow, CropTable
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.geo.vector.fields import Crop, format_field, is_plain_integer, normalize_text, parse_crops

UNKNOWN = -2
"""Index of a declared crop that is none of the map's classes."""

EMPTY = -1
"""Index of a parcel without a declared crop."""

OTHER = "other crops"


@dataclass
class CropMatcher:
    """Matches declared crops to the classes of a map and counts the crops without a class.

    Without a table, a crop belongs to the class of the same name, ignoring case: the name in the parcel's column of
    names is tried first, then the crop itself. Otherwise it belongs to the class with the same code, if the classes
    have codes: those of a map whose training data name the crops by texts have none. A table (see
    `cropzoo.data.legend`) assigns every crop to a class; its classes are found in the map by name. Crops that a table
    keeps as they are (`*,,keep`) are matched as without a table.

    Args:
        classes: Classes of the map.
        table: Table of crops and classes, such as the classes.csv of the training dataset.
        unknown: Number of parcels by crop without a class.
    """

    classes: Sequence[LabelClass]
    table: CropTable | None = None
    unknown: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._by_name = {normalize_text(each.name).casefold(): index for index, each in enumerate(self.classes)}
        self._by_code = {each.code: index for index, each in enumerate(self.classes) if self.has_codes}
        self._by_table = {} if self.table is None else _table_classes(self.table, self._by_name)
        if self.table is not None and not any(index >= 0 for index in self._by_table.values()):
            raise CropzooError(
                f"class table {str(self.table.path)!r}; none of its classes is a class of the map "
                f"({', '.join(each.name for each in self.classes)}); use the map's class names in column `class`"
            )

    @property
    def has_codes(self) -> bool:
        """Whether crops given as numbers can be compared with the codes of the classes."""
        return all(each.code is not None for each in self.classes)

    def indices(self, values: Sequence[Any], names: Sequence[Any]) -> NDArray[np.intp]:
        """Class index of each crop, (n,): `EMPTY` without a crop, `UNKNOWN` for a crop without a class in the map.

        Args:
            values: Values of the crop column, n.
            names: Values of the column of crop names, n.
        """
        crops = parse_crops(values)
        rows = {} if self.table is None else self.table.by_crop(any(isinstance(crop, str) for crop in crops))
        found = np.full(len(crops), EMPTY, np.intp)
        for position, (crop, name) in enumerate(zip(crops, map(format_field, names), strict=True)):
            if crop is None:
                continue
            found[position] = self._find(crop, name, rows)
            if found[position] == UNKNOWN:
                self.unknown[f"{crop} ({name})" if name and name != str(crop) else str(crop)] += 1
        return found

    def _find(self, crop: int | str, name: str, rows: Mapping[Crop, CropRow]) -> int:
        if self.table is not None:
            row = rows.get(crop, rows.get(OTHERS))
            if row is None or row.text != OTHERS or row.group.lower() != KEPT:
                return UNKNOWN if row is None else self._by_table[row.text]
        for text in (name, str(crop)):
            if text.casefold() in self._by_name:
                return self._by_name[text.casefold()]
        return self._by_code.get(int(crop), UNKNOWN) if is_plain_integer(str(crop)) else UNKNOWN


def _table_classes(table: CropTable, by_name: Mapping[str, int]) -> dict[str, int]:
    """Class index in the map of each crop in a table, by the crop's text."""
    found = {}
    for row in table.rows:
        key = row.key or (OTHER if row.text == OTHERS else row.text)
        index = UNKNOWN if key == IGNORED else by_name.get(key.casefold(), UNKNOWN)
        found[row.text] = index
    return found
