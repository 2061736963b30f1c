"""Matching of declared crops to the classes of a map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.legend import IGNORED, OTHERS, CropTable
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.geo.vector.parcel_table import format_field, parse_crop

UNKNOWN = -2
"""Index of a declared crop that is none of the map's classes."""

EMPTY = -1
"""Index of a parcel without a declared crop."""

OTHER = "other crops"


@dataclass
class CropMatcher:
    """Matches declared crops to the classes of a map and counts the crops without a class.

    Without a table, a crop belongs to the class of the same name, ignoring case: the name in the parcel's column of
    names is tried first, then the crop itself. Otherwise it belongs to the class with the same code. A table (see
    `cropzoo.data.legend`) assigns every crop to a class; its classes are found in the map by name.

    Args:
        classes: Classes of the map.
        table: Table of crops and classes, such as the classes.csv of the training dataset.
        unknown: Number of parcels by crop without a class.
    """

    classes: Sequence[LabelClass]
    table: CropTable | None = None
    unknown: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._by_name = {each.name.casefold(): index for index, each in enumerate(self.classes)}
        self._by_code = {each.code: index for index, each in enumerate(self.classes)}
        self._by_table = {} if self.table is None else _table_classes(self.table, self._by_name)
        if self.table is not None and not any(index >= 0 for index in self._by_table.values()):
            raise CropzooError(
                f"class table {str(self.table.path)!r}; none of its classes is a class of the map "
                f"({', '.join(each.name for each in self.classes)}); use the map's class names in column `class`"
            )

    def indices(self, values: Sequence[Any], names: Sequence[Any]) -> NDArray[np.intp]:
        """Class index of each crop, (n,): `EMPTY` without a crop, `UNKNOWN` for a crop without a class in the map.

        Args:
            values: Values of the crop column, n.
            names: Values of the column of crop names, n.
        """
        found = np.full(len(values), EMPTY, np.intp)
        for position, fields in enumerate(zip(values, names, strict=True)):
            crop, name = map(format_field, fields)
            if not crop:
                continue
            found[position] = self._find(crop, name)
            if found[position] == UNKNOWN:
                self.unknown[f"{crop} ({name})" if name and name != crop else crop] += 1
        return found

    def _find(self, crop: str, name: str) -> int:
        code = parse_crop(crop)
        if self.table is not None:
            other = self._by_table.get(OTHERS, UNKNOWN)
            return self._by_table.get(crop, self._by_table.get(str(code), other))
        for text in (name, crop):
            if text.casefold() in self._by_name:
                return self._by_name[text.casefold()]
        return self._by_code.get(code, UNKNOWN) if isinstance(code, int) else UNKNOWN


def _table_classes(table: CropTable, by_name: Mapping[str, int]) -> dict[str, int]:
    """Class index in the map of each crop in a table, by the crop's text."""
    found = {}
    for row in table.rows:
        key = row.key or (OTHER if row.text == OTHERS else row.text)
        index = UNKNOWN if key == IGNORED else by_name.get(key.casefold(), UNKNOWN)
        found[row.text] = found[str(row.crop)] = index
    return found
