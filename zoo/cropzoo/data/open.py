"""Datasets by name, checked against the contract."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cropzoo.data.sample import IGNORE, Dataset, Sample
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.plugins.options import known_options
from cropzoo.plugins.registry import Zoo, load_target, load_zoo


def load_dataset(name: str, *, zoo: Zoo | None = None, **options: Any) -> Dataset:
    """Open a dataset by name and check it against the contract.

    Args:
        name: name of the dataset.
        zoo: plugins, by which the name is looked up; the installed ones if None.
        options: options of the dataset, such as root="fields/".

    Returns:
        The dataset, with bands, classes and statistics of its training split; `dataset.split("train")` has the samples.

    Raises:
        UnknownName: the name or an option does not exist.
        CropzooError: the files are missing or wrong, or the factory returned something that is not a valid dataset.
    """
    zoo = zoo or load_zoo()
    entry = zoo.datasets[name]
    if "split" in options and "split" not in known_options(load_target(entry.spec.build, f"dataset {name!r}")):
        raise UsageError(
            f"load_dataset({name!r}, split={options['split']!r}); a dataset has all its splits; leave split out, and "
            f"call .split({options['split']!r}) of the dataset"
        )
    return open_dataset(zoo, name, options)


def open_dataset(zoo: Zoo, name: str, options: Mapping[str, Any]) -> Dataset:
    """Open a dataset by name and check it against the contract.

    Args:
        zoo: plugins, by which the name is looked up.
        name: name of the dataset.
        options: options of the dataset's factory.

    Raises:
        UnknownName: the name or an option does not exist.
        CropzooError: the factory returned something that is not a valid dataset.
    """
    entry = zoo.datasets[name]
    dataset: Dataset = entry.build(**options)
    where = f"dataset {name!r} of plugin {entry.owner.name!r}"
    for attribute in ("bands", "classes", "scale", "mean", "std", "citation", "split"):
        if not hasattr(dataset, attribute):
            raise CropzooError(f"{where} has no {attribute!r}; see cropzoo.Dataset for the attributes of a dataset")
    classes = [label.name for label in dataset.classes]
    for attribute, names in (("bands", list(dataset.bands)), ("classes", classes)):
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise CropzooError(f"{where} has duplicate {attribute}: {', '.join(sorted(twice))}; rename one")
    for attribute in ("mean", "std"):
        values = getattr(dataset, attribute)
        if len(values) != len(dataset.bands):
            raise CropzooError(f"{where} has {len(dataset.bands)} bands and {len(values)} values of {attribute!r}")
        if not all(math.isfinite(value) and (attribute == "mean" or value > 0) for value in values):
            raise CropzooError(
                f"{where} has {attribute} {values!r}; each must be finite, and a standard deviation above 0"
            )
    if not (math.isfinite(dataset.scale) and dataset.scale > 0):
        raise CropzooError(f"{where} has scale {dataset.scale!r}; it must be finite and above 0")
    if len(dataset.classes) > IGNORE:
        raise CropzooError(f"{where} has {len(dataset.classes)} classes; the maximum is {IGNORE}")
    return dataset


def open_split(dataset: Dataset, name: str, known: Sequence[str]) -> Sequence[Sample]:
    """Open a split of a dataset.

    Args:
        dataset: the dataset.
        name: name of the split.
        known: names of the splits that the dataset's spec declares.

    Raises:
        UnknownName: the spec does not declare the split.
        CropzooError: the split is empty.
    """
    if name not in known:
        raise UnknownName("split", name, known)
    samples = dataset.split(name)
    if not len(samples):
        raise CropzooError(f"split {name!r} of the dataset is empty; add data, or divide it differently")
    return CheckedSamples(samples)


@dataclass(frozen=True)
class CheckedSamples(Sequence[Sample]):
    """The samples of a dataset, each checked when it is read.

    Args:
        samples: samples of a split.
    """

    samples: Sequence[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, item: Any) -> Any:
        """A sample, or a list of them for a slice.

        Raises:
            IndexError: the split has no such sample, whatever the dataset returns for the index.
            CropzooError: the dates do not increase; a network would see them in the wrong order.
        """
        numbers = range(len(self))[item]
        if isinstance(numbers, range):
            return [self[number] for number in numbers]
        sample = self.samples[numbers]
        _check_dates(sample)
        return sample


def _check_dates(sample: Sample) -> None:
    dates = np.asarray(sample.dates, np.int64)
    if dates.ndim != 1:
        raise CropzooError(f"sample {sample.name!r} has dates of shape {dates.shape}; they must be a list of days")
    wrong = np.flatnonzero(np.diff(dates) <= 0)
    if wrong.size:
        first, second = (np.datetime64(int(day), "D") for day in dates[wrong[0] : wrong[0] + 2])
        raise CropzooError(
            f"sample {sample.name!r} has dates that do not increase: {first} is followed by {second}; sort its images "
            "by date, and keep one of each date"
        )
