"""Labels by the classes of another list, matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.samples import IGNORE, LabelClass, Sample


@dataclass(frozen=True)
class Relabelled(Sequence[Sample]):
    """Samples whose labels are sent through a table.

    Args:
        samples: of the data.
        table: the wanted label of each label of the data, (256,), uint8; see `label_table`.
        classes: how many the data have.
    """

    samples: Sequence[Sample]
    table: NDArray[np.uint8]
    classes: int

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, item: Any) -> Any:
        """A sample, or a list of them for a slice; `CropzooError` for a label that is no class."""
        if isinstance(item, slice):
            return [self[number] for number in range(*item.indices(len(self)))]
        sample = self.samples[item]
        if sample.labels is None:
            return sample
        labels = np.asarray(sample.labels)
        wrong = labels[(labels != IGNORE) & ((labels < 0) | (labels >= self.classes))]
        if wrong.size:
            raise CropzooError(
                f"sample {sample.name!r} has label {int(wrong[0])!r}; labels are 0 to {self.classes - 1}, "
                f"or {IGNORE} to ignore a pixel; mend its labels"
            )
        return replace(sample, labels=self.table[labels])


def label_table(classes: Sequence[LabelClass], wanted: Sequence[LabelClass]) -> NDArray[np.uint8]:
    """From indices of `classes` to those of `wanted`, by name, (256,); classes that are not wanted are ignored."""
    index = {label.name: number for number, label in enumerate(wanted)}
    table = np.full(256, IGNORE, np.uint8)
    for number, label in enumerate(classes):
        table[number] = index.get(label.name, IGNORE)
    return table
