"""Which classes the labels have, and the label index of every pixel."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import IGNORE, CropzooError, LabelClass
from cropzoo_plugins.datasets.geo.labels import NOWHERE
from cropzoo_plugins.datasets.sites.classes import TABLE, make_table, read_table


class Legend:
    """The classes that have a training pixel, in order of their values, and the way from values to their indices.

    Args:
        root: of the labels; a table classes.csv (code, name, color) there names classes and gives their order.
        codes: the crop code of a value; the value itself where it says nothing.
        names: of codes.
        train: values in the training windows.
        values: values in all windows.
        ignore_codes: codes that are no class.

    Attributes:
        classes: by label index.
        ignored: names of the classes without a training pixel.

    Raises:
        CropzooError: fewer than 2 classes or more than 255, or a code that classes.csv lacks.
    """

    def __init__(
        self,
        root: Path,
        codes: Mapping[int, int],
        names: Mapping[int, str],
        train: Collection[int],
        values: Collection[int],
        ignore_codes: Collection[int],
    ) -> None:
        code_of = {value: codes.get(value, value) for value in sorted(values) if value != NOWHERE}
        used = {value: code for value, code in code_of.items() if code not in ignore_codes}
        table = _table(root / TABLE, used.values(), names)
        trained = {code for value, code in used.items() if value in train}
        self.classes: tuple[LabelClass, ...] = tuple(entry for entry in table if entry.code in trained)
        self.ignored = tuple(entry.name for entry in table if entry.code not in trained)
        if not 2 <= len(self.classes) <= IGNORE:
            raise CropzooError(
                f"labels in {str(root)!r}; {len(self.classes)} classes have a training pixel; training and scoring "
                f"need 2 to {IGNORE}; check the region, options 'ignore_codes' and 'split_seed', or merge classes by "
                "the 'classes' of option 'label_options'"
            )
        index = {entry.code: number for number, entry in enumerate(self.classes)}
        self._known = np.array(sorted(used), np.int64)
        self._index = np.array([index.get(used[value], IGNORE) for value in sorted(used)], np.uint8)

    def labels(self, values: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Label indices of values, 255 for what is no class."""
        near = np.minimum(np.searchsorted(self._known, values), len(self._known) - 1)
        found: NDArray[np.uint8] = np.where(self._known[near] == values, self._index[near], np.uint8(IGNORE))
        return found


def _table(path: Path, codes: Iterable[int], names: Mapping[int, str]) -> list[LabelClass]:
    """A class for each code: of classes.csv, in its order, if there is one, else named by `names`."""
    wanted: dict[int, Any] = dict.fromkeys(codes)
    if not path.is_file():
        made = {entry.code: entry for entry in make_table(wanted, names)}
        return [made[code] for code in wanted]
    table = [entry for entry in read_table(path) if entry.code in wanted]
    missing = sorted(wanted.keys() - {entry.code for entry in table})
    if missing:
        raise CropzooError(
            f"class table {str(path)!r}; it lacks {', '.join(map(str, missing))}, which the labels hold; "
            "add a line for each code, or name it in option 'ignore_codes'"
        )
    return table
