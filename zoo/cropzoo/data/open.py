"""Opening a dataset by name, and holding it to its contract."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cropzoo.data.sample import IGNORE, Dataset, Sample
from cropzoo.errors import CropzooError, UnknownName
from cropzoo.plugins.registry import Zoo


def open_dataset(zoo: Zoo, name: str, options: Mapping[str, Any]) -> Dataset:
    """The dataset of that name with these options.

    Raises:
        UnknownName: for a name or option that does not exist.
        CropzooError: when what its factory returned is no dataset, with what is missing.
    """
    entry = zoo.datasets[name]
    dataset: Dataset = entry.build(**options)
    where = f"dataset {name!r} of plugin {entry.owner.name!r}"
    for attribute in ("bands", "classes", "scale", "mean", "std", "citation", "split"):
        if not hasattr(dataset, attribute):
            raise CropzooError(f"{where} has no {attribute!r}; see cropzoo.Dataset for what a dataset is")
    classes = [label.name for label in dataset.classes]
    for attribute, names in (("bands", list(dataset.bands)), ("classes", classes)):
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise CropzooError(f"{where} has {attribute} of one name, {', '.join(sorted(twice))}; rename one")
    for attribute in ("mean", "std"):
        values = getattr(dataset, attribute)
        if len(values) != len(dataset.bands):
            raise CropzooError(f"{where} has {len(dataset.bands)} bands and {len(values)} values of {attribute!r}")
        if not all(math.isfinite(value) and (attribute == "mean" or value > 0) for value in values):
            raise CropzooError(f"{where} has {attribute} {values!r}; each must be finite, a deviation above 0")
    if not (math.isfinite(dataset.scale) and dataset.scale > 0):
        raise CropzooError(f"{where} has scale {dataset.scale!r}; it must be finite and above 0")
    if len(dataset.classes) > IGNORE:
        raise CropzooError(f"{where} has {len(dataset.classes)} classes; at most {IGNORE} can be told apart")
    return dataset


def open_split(dataset: Dataset, name: str, known: Sequence[str]) -> Sequence[Sample]:
    """A split that has samples.

    Raises:
        UnknownName: for a split that the spec does not name.
        CropzooError: for one that is empty.
    """
    if name not in known:
        raise UnknownName("split", name, known)
    samples = dataset.split(name)
    if not len(samples):
        raise CropzooError(f"split {name!r} of the dataset is empty; give it more data or another division")
    return samples
