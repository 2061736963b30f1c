"""The class of a map that a declared crop belongs to."""

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
"""In place of a class: a crop is declared that the map does not tell."""

EMPTY = -1
"""In place of a class: no crop is declared."""

OTHER = "other crops"


@dataclass
class Matching:
    """Declared crops and the classes that they belong to, learnt as they come.

    Without a table a crop is the class of that name (its case does not count), by the parcel's column of names first,
    then by the crop itself; else the class with that code. A table (see `cropzoo.data.legend`) says it for every
    crop, and its classes are found in the map by name.

    Args:
        classes: of the map.
        table: of the user; the classes.csv of the dataset that the network was trained on fits.
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
                f"class table {str(self.table.path)!r}; none of its classes is one of the map's "
                f"({', '.join(each.name for each in self.classes)}); write the map's names in column `class`"
            )

    def indices(self, values: Sequence[Any], names: Sequence[Any]) -> NDArray[np.intp]:
        """(n,), the class of each crop, `EMPTY` without one, `UNKNOWN` for a crop that is none of the map's.

        Args:
            values: n fields of the crop column.
            names: n fields of the column of their names.
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
    """The map's class of each crop of a table, by the crop's text."""
    found = {}
    for row in table.rows:
        key = row.key or (OTHER if row.text == OTHERS else row.text)
        index = UNKNOWN if key == IGNORED else by_name.get(key.casefold(), UNKNOWN)
        found[row.text] = found[str(row.crop)] = index
    return found
