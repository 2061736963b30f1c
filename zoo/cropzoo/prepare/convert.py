"""Any dataset, written once in the layout of `data.pastis`: fast to read, and every reader of PASTIS can use it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cropzoo.data.pastis.schema import Patch
from cropzoo.data.pastis.writer import finish, write_patch
from cropzoo.data.running_stats import RunningStats
from cropzoo.data.sample import Dataset, Sample
from cropzoo.data.statistics import add_sample
from cropzoo.errors import CropzooError
from cropzoo.io import Log, ProgressCallback
from cropzoo.parallel import each
from cropzoo.prepare.journal import Journal

FOLDS = {"train": 1, "val": 2, "test": 3}
"""The fold of each split: the division of the dataset is kept, and there is one way to use it."""


def convert(
    dataset: Dataset,
    splits: Sequence[str],
    out: Path,
    tell: Log,
    progress: ProgressCallback,
    *,
    made_from: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    workers: int = 1,
) -> None:
    """Write the samples of train, val and test with their series, dates, labels, parcels, masks and places.

    Values are stored as the dataset gives them; patches are numbered from 1, through train, val and test. Folds 1, 2
    and 3 are train, val and test in a single rotation: of a dataset with folds of its own, those of the fold that was
    asked for. A call that was interrupted goes on with the samples that are not whole yet when it is made again.

    Args:
        dataset: labeled; all its samples have the same parts (parcels, cloud mask) and the same label scale.
        splits: that it has; those besides train, val and test are left out.
        out: a new folder, or one that this began.
        tell: takes a line for the user.
        progress: called after every sample.
        made_from: what the dataset is, for the files' own account: its name, license and options.
        overwrite: replace another dataset that cropzoo wrote there.
        workers: processes; up to 1 works in this one.

    Raises:
        CropzooError: a dataset without classes or training samples; a sample without labels or unlike another; a
            folder that holds something else; a disk that is full. What is whole stays.
    """
    parts = _splits(dataset, splits, tell)
    journal, source = Journal(out), dict(made_from or {})
    journal.start(_order(dataset, parts, source), overwrite)
    if journal.finished:
        tell(f"{str(out)!r} is there and whole; --overwrite makes it anew")
        return
    places = _places(parts)
    done = journal.read()
    if done:
        tell(f"{len(done)} of {len(places)} samples are there; going on with the others")
    made = _Made(len(dataset.bands))
    for facts in done.values():
        made.take(facts)
    progress(len(made.patches), len(places))
    missing = [place for place in places if place.id not in done]
    for facts in each(_write, _Work(journal, dataset, parts), missing, workers):
        made.take(facts)
        progress(len(made.patches), len(places))
    _finish(out, dataset, parts, source, made, [place.id for place in places])
    journal.close()
    counts = ", ".join(f"{len(samples)} of {split}" for split, samples in parts.items())
    tell(f"{len(places)} samples ({counts}) in the one rotation that the dataset was asked for")


def _splits(dataset: Dataset, splits: Sequence[str], tell: Log) -> dict[str, Sequence[Sample]]:
    """The samples of train, val and test."""
    if not dataset.classes:
        raise CropzooError(
            "conversion of a dataset without classes; the layout has labels in every patch; use the dataset as it is"
        )
    if other := [name for name in splits if name not in FOLDS]:
        tell(f"left out: {', '.join(other)}; train, val and test are kept")
    parts = {name: dataset.split(name) for name in FOLDS if name in splits}
    if not len(parts.get("train", ())):
        raise CropzooError("conversion of a dataset; its split 'train' is empty; choose another division")
    return parts


def _finish(
    out: Path,
    dataset: Dataset,
    parts: Mapping[str, Sequence[Sample]],
    source: Mapping[str, Any],
    made: _Made,
    ids: Sequence[str],
) -> None:
    """Write the tables that make the patches a dataset."""
    finish(
        out,
        patches=[made.patches[id] for id in ids],
        classes=dataset.classes,
        bands=dataset.bands,
        scale=dataset.scale,
        label_scale=int(made.parts["label_scale"]),
        citation=dataset.citation,
        license=str(source.get("license", "")),
        made_from={"converted": source, "samples": {split: len(samples) for split, samples in parts.items()}},
        rotations=[{split: [fold] for split, fold in FOLDS.items()}],
        moments=made.moments,
    )


class _Place(NamedTuple):
    """A sample: its number as text, its split and its position there."""

    id: str
    split: str
    position: int


class _Work(NamedTuple):
    """What every process needs."""

    journal: Journal
    dataset: Dataset
    parts: Mapping[str, Sequence[Sample]]


def _places(parts: Mapping[str, Sequence[Sample]]) -> list[_Place]:
    pairs = [(split, position) for split, samples in parts.items() for position in range(len(samples))]
    return [_Place(str(number), split, position) for number, (split, position) in enumerate(pairs, start=1)]


def _order(dataset: Dataset, parts: Mapping[str, Sequence[Sample]], source: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides what is made, as far as it can be told without reading the samples."""
    classes = [[each.name, each.code, each.color] for each in dataset.classes]
    return {
        "source": {key: str(value) for key, value in source.items()},
        "kind": type(dataset).__qualname__,
        "bands": list(dataset.bands),
        "classes": hashlib.sha256(repr(classes).encode()).hexdigest(),
        "scale": dataset.scale,
        "samples": {split: len(samples) for split, samples in parts.items()},
    }


def _write(work: _Work, place: _Place) -> dict[str, Any]:
    """Write one sample and note it; returns what the journal holds of it."""
    sample = work.parts[place.split][place.position]
    if sample.labels is None:
        raise CropzooError(
            f"conversion of sample {sample.name!r} of {place.split}; it has no labels; the layout has labels in every "
            "patch; use the dataset as it is"
        )
    moments = RunningStats(sample.series.shape[1])
    add_sample(moments, sample)
    write_patch(work.journal.folder, place.id, sample, void=len(work.dataset.classes))
    parcels = np.zeros(1) if sample.parcels is None else np.asarray(sample.parcels)
    facts = {
        "id": place.id,
        "name": sample.name,
        "fold": FOLDS[place.split],
        "dates": np.asarray(sample.dates).tolist(),
        "size": list(sample.series.shape[-2:]),
        "place": sample.place,
        "parts": {
            "label_scale": sample.label_scale,
            "parcels": sample.parcels is not None,
            "clear": sample.clear is not None,
        },
        "parcels": int(np.unique(parcels[parcels > 0]).size),
        "cover": float((parcels > 0).mean()),
        "moments": moments.as_dict(),
    }
    work.journal.add(facts)
    return facts


class _Made:
    """What is known of the samples that are whole; the rest of the journal's facts is not kept in memory."""

    def __init__(self, bands: int) -> None:
        self.bands = bands
        self.patches: dict[str, Patch] = {}
        self.moments: dict[int, RunningStats] = {}
        self.parts: dict[str, Any] = {}
        self._first = ""

    def take(self, facts: Mapping[str, Any]) -> None:
        """Count a sample in.

        Raises:
            CropzooError: it has other parts than the first one; a reader would take them for one another.
        """
        self.parts, self._first = self.parts or facts["parts"], self._first or facts["name"]
        if facts["parts"] != self.parts:
            raise CropzooError(
                f"conversion of sample {facts['name']!r}; it has {_told(facts['parts'])}, and {self._first!r} has "
                f"{_told(self.parts)}; the layout needs the same of all; use the dataset as it is"
            )
        fold = int(facts["fold"])
        self.moments.setdefault(fold, RunningStats(self.bands)).merge(RunningStats.from_dict(facts["moments"]))
        self.patches[facts["id"]] = Patch(
            id=facts["id"],
            fold=fold,
            dates=tuple(facts["dates"]),
            size=(facts["size"][0], facts["size"][1]),
            place=facts["place"],
            parcels=facts["parcels"],
            cover=facts["cover"],
        )


def _told(parts: Mapping[str, Any]) -> str:
    names = [words for key, words in (("parcels", "parcels"), ("clear", "a cloud mask")) if parts[key]]
    return f"labels at scale {parts['label_scale']}, and {' and '.join(names) or 'neither parcels nor a cloud mask'}"
