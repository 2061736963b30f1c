"""Classes of the labels, and the label index of each value."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import IGNORE, CropzooError, LabelClass
from cropzoo_plugins.datasets.geo.labels import NO_LABEL
from cropzoo_plugins.datasets.sites.class_table import TABLE, make_table, read_table


class ValueLegend:
    """The classes with training pixels, in the order of their values, and the label index of each value.

    Args:
        root: Folder of the labels, with an optional table classes.csv (code, name, color) that orders the classes.
        codes: Crop code of each value; a missing value is its own code.
        names: Names of the codes.
        train: Values in the training windows.
        values: Values in all windows.
        ignore_codes: Codes to ignore.

    Attributes:
        classes: Classes by label index.
        ignored: Names of the classes without a training pixel.

    Raises:
        CropzooError: There are fewer than 2 or more than 255 classes, or classes.csv lacks a code.
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
        code_of = {value: codes.get(value, value) for value in sorted(values) if value != NO_LABEL}
        used = {value: code for value, code in code_of.items() if code not in ignore_codes}
        table = _make_table(root / TABLE, used.values(), names)
        trained = {code for value, code in used.items() if value in train}
        self.classes: tuple[LabelClass, ...] = tuple(entry for entry in table if entry.code in trained)
        self.ignored = tuple(entry.name for entry in table if entry.code not in trained)
        if not 2 <= len(self.classes) <= IGNORE:
            raise CropzooError(
                f"labels in {str(root)!r}; {len(self.classes)} classes have a training pixel; training and "
                f"evaluation need 2 to {IGNORE}; check the region, options 'ignore_codes' and 'split_seed', or merge "
                "classes with 'classes' of option 'label_options'"
            )
        index = {entry.code: number for number, entry in enumerate(self.classes)}
        self._known = np.array(sorted(used), np.int64)
        self._index = np.array([index.get(used[value], IGNORE) for value in sorted(used)], np.uint8)

    def to_labels(self, values: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the label index of each value, 255 for values that are not a class."""
        near = np.minimum(np.searchsorted(self._known, values), len(self._known) - 1)
        found: NDArray[np.uint8] = np.where(self._known[near] == values, self._index[near], np.uint8(IGNORE))
        return found


def _make_table(path: Path, codes: Iterable[int], names: Mapping[int, str]) -> list[LabelClass]:
    """Return a class for each code: of classes.csv in its order, or named by `names` without that file."""
    wanted: dict[int, Any] = dict.fromkeys(codes)
    if not path.is_file():
        made = {entry.code: entry for entry in make_table(wanted, names)}
        return [made[code] for code in wanted]
    table = [entry for entry in read_table(path) if entry.code in wanted]
    missing = sorted(wanted.keys() - {entry.code for entry in table})
    if missing:
        raise CropzooError(
            f"class table {str(path)!r}; it lacks {', '.join(map(str, missing))}, which the labels contain; "
            "add a row for each code, or name it in option 'ignore_codes'"
        )
    return table
