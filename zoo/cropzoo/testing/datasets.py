"""Checks of datasets."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from cropzoo.data.sample import HEX_COLOR, IGNORE, Dataset, LabelClass, Sample
from cropzoo.errors import UnknownName
from cropzoo.plugins.registry import Zoo, load_zoo
from cropzoo.plugins.specs import DatasetSpec
from cropzoo.testing.subjects import Checker, check_signature, find_entry


def check_dataset(name_or_spec: str | DatasetSpec, zoo: Zoo | None = None, *, samples: int = 2, **options: Any) -> None:
    """Check that a dataset fulfills its contract.

    Args:
        name_or_spec: Name of a dataset, or a spec whose `build` can be imported.
        zoo: Plugins in which the name is looked up; the installed ones if None.
        samples: Number of samples to read from the start of each split, in addition to the last one.
        options: Options of the dataset.

    Raises:
        AssertionError: If the dataset violates the contract.
    """
    entry = find_entry(name_or_spec, (zoo or load_zoo()).datasets)
    spec, check = entry.spec, Checker(entry.spec)
    check_signature(check, entry, (), options)
    dataset: Dataset = entry.build(**options)
    _check_description(check, spec, dataset)
    again: Dataset = entry.build(**options)
    for name in spec.splits:
        split = dataset.split(name)
        check.expect(len(split) > 0, f"split {name!r} is empty")
        for index in sorted({*range(min(samples, len(split))), len(split) - 1}):
            where = f"sample {index} of split {name!r}"
            check_sample(split[index], dataset, f"{check.what}: {where}")
            check.expect(_same(split[index], split[index]), f"{where} differs when it is read a second time")
        check.expect(
            _same(split[0], again.split(name)[0]), f"split {name!r} differs in a second dataset with the same options"
        )
        _check_sequence(check, split, name)
    try:
        dataset.split("no-such-split")
    except UnknownName:
        return
    check.fail("split('no-such-split') must raise cropzoo.UnknownName")


def check_sample(sample: Sample, dataset: Dataset, where: str) -> None:
    """Raise AssertionError if a sample violates the contract of its dataset; the message starts with `where`."""

    def expect(holds: bool, message: str) -> None:
        if not holds:
            raise AssertionError(f"{where}: {message}")

    series, dates, labels = sample.series, sample.dates, sample.labels
    expect(series.ndim == 4, f"series has shape {series.shape}; it must be (T, C, H, W)")
    length, channels, height, width = series.shape
    expect(min(series.shape) > 0, f"series has shape {series.shape}; no dimension may be empty")
    expect(channels == len(dataset.bands), f"series has {channels} channels for the {len(dataset.bands)} bands")
    expect(series.dtype.kind in "iuf", f"series is {series.dtype}; it must be integer or float")
    expect(bool(np.isfinite(series).all()), "series is not finite")
    expect(dates.shape == (length,), f"dates have shape {dates.shape} for {length} images")
    expect(dates.dtype == np.int32, f"dates are {dates.dtype}; they must be int32, days since 1970-01-01")
    expect(bool((np.diff(dates) > 0).all()), "dates must increase")
    if labels is not None:
        scale = labels.shape[0] // height
        expect(scale > 0 and labels.shape == (scale * height, scale * width), f"labels have shape {labels.shape}")
        expect(labels.dtype in (np.uint8, np.int64), f"labels are {labels.dtype}; they must be uint8 or int64")
        unknown = sorted(set(np.unique(labels).tolist()) - set(range(len(dataset.classes))) - {IGNORE})
        expect(
            not unknown, f"labels contain {unknown}; classes are 0 to {len(dataset.classes) - 1}, {IGNORE} is ignored"
        )
    if sample.parcels is not None:
        shape = (height, width) if labels is None else labels.shape
        expect(sample.parcels.shape == shape, f"parcels have shape {sample.parcels.shape}, labels {shape}")
        expect(sample.parcels.dtype == np.int32, f"parcels are {sample.parcels.dtype}; they must be int32")
        expect(bool((sample.parcels >= 0).all()), "parcels contain a negative id")
    if sample.clear is not None:
        expect(sample.clear.shape == (length, height, width), f"clear has shape {sample.clear.shape}")
        expect(sample.clear.dtype == np.bool_, f"clear is {sample.clear.dtype}; it must be bool")
    if sample.place:
        known = {"crs", "transform"} <= sample.place.keys() and len(sample.place["transform"]) == 6
        expect(known, f"place is {sample.place!r}; it must be empty, or have crs and the six numbers of transform")


def _check_description(check: Checker, spec: DatasetSpec, dataset: Dataset) -> None:
    bands, classes = dataset.bands, dataset.classes
    named = isinstance(bands, tuple) and bool(bands) and all(isinstance(band, str) for band in bands)
    check.expect(
        named and len(set(bands)) == len(bands), f"bands are {bands!r}; they must be a tuple of distinct names"
    )
    if spec.bands:
        check.expect(set(bands) <= set(spec.bands), f"bands are {bands!r}, the spec declares {spec.bands!r}")
    check.expect(math.isfinite(dataset.scale) and dataset.scale > 0, f"scale is {dataset.scale!r}; it must be positive")
    for field in ("mean", "std"):
        values = getattr(dataset, field)
        check.expect(len(values) == len(bands), f"{field} has {len(values)} values for {len(bands)} bands")
        check.expect(all(math.isfinite(value) for value in values), f"{field} is {values!r}; it must be finite")
    check.expect(all(value > 0 for value in dataset.std), f"std is {dataset.std!r}; it must be positive")
    check.expect(isinstance(dataset.citation, str), "citation must be a string; empty if no citation is needed")
    check.expect(all(isinstance(c, LabelClass) for c in classes), "classes must be a tuple of cropzoo.LabelClass")
    check.expect(len(classes) < IGNORE, f"there are {len(classes)} classes; {IGNORE} is the ignored label")
    names = [c.name for c in classes]
    check.expect(len(set(names)) == len(names), f"class names are not unique: {names}")
    colors = [c.color for c in classes if not HEX_COLOR.fullmatch(c.color)]
    check.expect(not colors, f"colors must be '#rrggbb'; not {colors}")


def _check_sequence(check: Checker, split: Sequence[Sample], name: str) -> None:
    try:
        split[len(split)]
    except IndexError:
        pass
    else:
        check.fail(f"split {name!r} returns a sample beyond its length; it must raise IndexError")
    try:
        pickle.dumps(split)
    except Exception as error:  # pickle and the dataset may raise any type
        check.fail(f"split {name!r} cannot be sent to a worker process: {error}", error)


def _same(first: Sample, second: Sample) -> bool:
    pairs = [(getattr(first, field.name), getattr(second, field.name)) for field in fields(Sample)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)
