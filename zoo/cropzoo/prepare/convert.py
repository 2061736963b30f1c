"""Converting a dataset to the layout of `data.pastis`, which is fast to read and which every PASTIS reader supports."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cropzoo.data.pastis.schema import PatchRecord
from cropzoo.data.pastis.writer import DatasetTables, write_patch, write_tables
from cropzoo.data.running_stats import RunningStats
from cropzoo.data.sample import Dataset, Sample
from cropzoo.data.statistics import add_sample
from cropzoo.errors import CropzooError
from cropzoo.io import Log, ProgressCallback, exclusive_folder
from cropzoo.parallel import run_jobs
from cropzoo.prepare.journal import Journal

FOLDS = {"train": 1, "val": 2, "test": 3}
"""Fold of each split. The splits of the dataset are kept, in a single rotation."""


@dataclass(frozen=True)
class ConvertOptions:
    """Options of a conversion.

    Args:
        made_from: Description of the source stored with the result: name, license and options.
        overwrite: Whether to replace another dataset that cropzoo wrote to the folder.
        workers: Number of processes; up to 1 uses the current process.
    """

    made_from: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    workers: int = 1


def convert(
    dataset: Dataset,
    splits: Sequence[str],
    out: Path,
    log: Log,
    progress: ProgressCallback,
    options: ConvertOptions | None = None,
) -> None:
    """Write the train, val and test samples with their series, dates, labels, parcels, cloud masks and georeference.

    Values are stored without changes; patches are numbered from 1 through train, val and test. Folds 1, 2 and 3 are
    train, val and test in a single rotation; of a dataset with folds, those of the requested fold. Calling it again
    after an interruption writes the remaining samples.

    Args:
        dataset: Labeled dataset whose samples all have the same parts (parcels, cloud mask) and label scale.
        splits: Names of its splits; others than train, val and test are left out.
        out: New folder, or folder of an interrupted conversion.
        log: Called with messages for the user.
        progress: Called after every sample.
        options: Further options.

    Raises:
        CropzooError: A dataset without classes or training samples, a sample without labels or with other parts than
            the first one, a folder that contains something else, or a full disk. Complete samples are kept.
    """
    options = options or ConvertOptions()
    parts = _select_splits(dataset, splits, log)
    journal, source = Journal(out), dict(options.made_from)
    journal.check_folder()
    with exclusive_folder(out):
        journal.start(_make_signature(dataset, parts, source), options.overwrite)
        if journal.finished:
            journal.close()  # which a kill may have interrupted
            log(f"{str(out)!r} is complete already; pass --overwrite to write it again")
            return
        samples = _list_samples(parts)
        done = journal.read_samples()
        if done:
            log(f"{len(done)} of {len(samples)} samples exist already; resuming with the others")
        written = _WrittenSamples(len(dataset.bands))
        for record in done.values():
            written.add(record)
        progress(len(written.patches), len(samples))
        missing = [sample for sample in samples if sample.id not in done]
        for record in run_jobs(_write_sample, _Context(journal, dataset, parts), missing, options.workers):
            written.add(record)
            progress(len(written.patches), len(samples))
        _write_index(out, dataset, parts, source, written)
        journal.close()
        counts = ", ".join(f"{len(samples)} of {split}" for split, samples in parts.items())
        log(f"{len(samples)} samples ({counts}) in a single rotation, with the splits of the dataset")


def _select_splits(dataset: Dataset, splits: Sequence[str], log: Log) -> dict[str, Sequence[Sample]]:
    """Samples of train, val and test."""
    if not dataset.classes:
        raise CropzooError(
            "conversion of a dataset without classes; the layout requires labels in every patch; use the dataset "
            "without conversion"
        )
    if other := [name for name in splits if name not in FOLDS]:
        log(f"splits {', '.join(other)} are left out; train, val and test are kept")
    parts = {name: dataset.split(name) for name in FOLDS if name in splits}
    if not len(parts.get("train", ())):
        raise CropzooError("conversion of a dataset; its split 'train' is empty; choose other splits")
    return parts


def _write_index(
    out: Path,
    dataset: Dataset,
    parts: Mapping[str, Sequence[Sample]],
    source: Mapping[str, Any],
    written: _WrittenSamples,
) -> None:
    """Write the index files of the dataset."""
    tables = DatasetTables(
        patches=[written.patches[sample.id] for sample in _list_samples(parts)],
        classes=dataset.classes,
        bands=dataset.bands,
        scale=dataset.scale,
        label_scale=int(written.parts["label_scale"]),
        citation=dataset.citation,
        license=str(source.get("license", "")),
        made_from={"converted": source, "samples": {split: len(samples) for split, samples in parts.items()}},
        rotations=[{split: [fold] for split, fold in FOLDS.items()}],
        moments=written.statistics,
    )
    write_tables(out, tables)


class _SamplePosition(NamedTuple):
    """Sample with its number as text, its split and its position in the split."""

    id: str
    split: str
    position: int


class _Context(NamedTuple):
    """Objects that every process needs."""

    journal: Journal
    dataset: Dataset
    parts: Mapping[str, Sequence[Sample]]


def _list_samples(parts: Mapping[str, Sequence[Sample]]) -> list[_SamplePosition]:
    pairs = [(split, position) for split, samples in parts.items() for position in range(len(samples))]
    return [_SamplePosition(str(number), split, position) for number, (split, position) in enumerate(pairs, start=1)]


def _make_signature(
    dataset: Dataset, parts: Mapping[str, Sequence[Sample]], source: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that determines the result, as far as it is known without reading the samples."""
    classes = [[each.name, each.code, each.color] for each in dataset.classes]
    return {
        "source": {key: str(value) for key, value in source.items()},
        "kind": type(dataset).__qualname__,
        "bands": list(dataset.bands),
        "classes": hashlib.sha256(repr(classes).encode()).hexdigest(),
        "scale": dataset.scale,
        "samples": {split: len(samples) for split, samples in parts.items()},
    }


def _write_sample(context: _Context, position: _SamplePosition) -> dict[str, Any]:
    """Write one sample and record it; returns its journal record."""
    sample = context.parts[position.split][position.position]
    if sample.labels is None:
        raise CropzooError(
            f"conversion of sample {sample.name!r} of {position.split}; it has no labels; the layout requires labels "
            "in every patch; use the dataset without conversion"
        )
    statistics = RunningStats(sample.series.shape[1])
    add_sample(statistics, sample)
    write_patch(context.journal.folder, position.id, sample, void=len(context.dataset.classes))
    parcels = np.zeros(1) if sample.parcels is None else np.asarray(sample.parcels)
    record = {
        "id": position.id,
        "name": sample.name,
        "fold": FOLDS[position.split],
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
        "moments": statistics.as_dict(),
    }
    context.journal.add_sample(record)
    return record


class _WrittenSamples:
    """Index entries and statistics of written samples; the rest of their journal records is not kept in memory."""

    def __init__(self, bands: int) -> None:
        self.bands = bands
        self.patches: dict[str, PatchRecord] = {}
        self.statistics: dict[int, RunningStats] = {}
        self.parts: dict[str, Any] = {}
        self._first = ""

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a written sample.

        Raises:
            CropzooError: It has other parts than the first sample; a reader would confuse them.
        """
        self.parts, self._first = self.parts or record["parts"], self._first or record["name"]
        if record["parts"] != self.parts:
            raise CropzooError(
                f"conversion of sample {record['name']!r}; it has {_describe_parts(record['parts'])}, and "
                f"{self._first!r} has {_describe_parts(self.parts)}; the layout requires equal parts in all samples; "
                "use the dataset without conversion"
            )
        fold = int(record["fold"])
        self.statistics.setdefault(fold, RunningStats(self.bands)).merge(RunningStats.from_dict(record["moments"]))
        self.patches[record["id"]] = PatchRecord(
            id=record["id"],
            fold=fold,
            dates=tuple(record["dates"]),
            size=(record["size"][0], record["size"][1]),
            place=record["place"],
            parcels=record["parcels"],
            cover=record["cover"],
        )


def _describe_parts(parts: Mapping[str, Any]) -> str:
    names = [words for key, words in (("parcels", "parcels"), ("clear", "a cloud mask")) if parts[key]]
    return f"labels at scale {parts['label_scale']}, and {' and '.join(names) or 'neither parcels nor a cloud mask'}"
