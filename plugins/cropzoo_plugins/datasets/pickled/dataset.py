"""Base class of datasets whose samples are pickle files named by lists."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cropzoo import CropzooError, LabelClass, Sample, UnknownName
from cropzoo.data.statistics import Statistics, WithStatistics, band_statistics, cached_statistics, stamp_files
from cropzoo_plugins.datasets.pickled.sample_file import SampleFile

SPLITS = ("train", "val", "test")

_log = logging.getLogger("cropzoo")
_VERSION = 1
"""Version of the readers; increase it when samples change, so that old cached statistics are not used."""


class PickledDataset(WithStatistics):
    """Splits of pickled samples, which are read on access; implements `cropzoo.Dataset`.

    Args:
        entries: Paths of the samples of train, val and test, relative to the root.
        lists: Files that list the samples. They and the sizes and times of the samples decide whether cached band
            statistics are valid.
        options: Options that change the content of a sample.
    """

    name: str
    bands: tuple[str, ...]
    classes: tuple[LabelClass, ...]
    scale = 1e-4
    citation: str

    def __init__(self, entries: Mapping[str, Sequence[str]], lists: Sequence[Path], *options: object) -> None:
        seen: set[str] = set()
        self._entries: dict[str, tuple[str, ...]] = {}
        for split in reversed(SPLITS):  # test samples are never trained on, even if the lists say so
            kept = tuple(entry for entry in entries[split] if entry not in seen)
            if len(kept) < len(entries[split]):
                _log.warning(
                    "dataset %s: %d samples of %s are in a later split too, and are left out of %s",
                    self.name,
                    len(entries[split]) - len(kept),
                    split,
                    split,
                )
            if not kept:
                raise CropzooError(
                    f"dataset {self.name!r}; split {split!r} has only samples of later splits; check {str(lists[0])!r}"
                )
            self._entries[split] = kept
            seen.update(kept)
        self._lists, self._options = tuple(lists), options

    @abstractmethod
    def locate(self, entry: str) -> Path:
        """Return the file of an entry of the lists."""

    @abstractmethod
    def to_sample(self, file: SampleFile, entry: str) -> Sample:
        """Convert the content of a file to a sample.

        Raises:
            CropzooError: Arrays are missing or do not match; the message names the file.
        """

    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of "train", "val" or "test"; each access reads one file.

        Raises:
            UnknownName: There is no such split.
        """
        if name not in SPLITS:
            raise UnknownName("split", name, SPLITS, f"dataset {self.name!r}")
        return _SampleFiles(self, self._entries[name])

    def read_sample(self, entry: str) -> Sample:
        """Read the sample of an entry of the lists."""
        return self.to_sample(SampleFile(self.locate(entry)), entry)

    def find_statistics(self) -> Statistics:
        """Return mean and std, computed in one pass over the training split and cached."""
        entries = self._entries["train"]
        files = [self.locate(entry) for entry in entries]
        key = [_VERSION, *self._options, list(entries), stamp_files(self._lists), stamp_files(files)]
        return cached_statistics(self.name, key, self._compute_statistics)

    def _compute_statistics(self) -> Statistics:
        train = self.split("train")
        _log.warning("dataset %s: reading %d samples once to compute the band statistics", self.name, len(train))
        try:
            return band_statistics(train, self.scale)
        except CropzooError as error:
            raise CropzooError(f"{error} (the bands are {', '.join(self.bands)})") from error


class _SampleFiles(Sequence[Sample]):
    """Samples of one split, read on access."""

    def __init__(self, dataset: PickledDataset, entries: Sequence[str]) -> None:
        self._dataset, self._entries = dataset, entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, item: Any) -> Any:
        """Return a sample, or a list of samples for a slice."""
        if isinstance(item, slice):
            return [self._dataset.read_sample(entry) for entry in self._entries[item]]
        return self._dataset.read_sample(self._entries[item])

    def __iter__(self) -> Iterator[Sample]:
        return (self._dataset.read_sample(entry) for entry in self._entries)
