"""The frame of a dataset whose samples are pickles, named by lists."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cropzoo import CropzooError, LabelClass, Sample, UnknownName
from cropzoo.data.statistics import Statistics, WithStatistics, band_statistics, remembered_statistics, stamps
from cropzoo_plugins.datasets.pickled.contents import Contents

SPLITS = ("train", "val", "test")

_log = logging.getLogger("cropzoo")
_VERSION = 1
"""Of what the readers make of the files: raised when it changes, so that no old statistics are used."""


class PickledDataset(WithStatistics):
    """Splits of pickled samples, each read when it is asked for; obeys `cropzoo.Dataset`.

    Args:
        entries: paths of the samples of train, val and test, relative to the root.
        lists: the files that name them; with the samples' sizes and times they decide whether the band statistics
            that were found before still hold.
        options: that change what a sample holds.
    """

    name: str
    bands: tuple[str, ...]
    classes: tuple[LabelClass, ...]
    scale = 1e-4
    citation: str

    def __init__(self, entries: Mapping[str, Sequence[str]], lists: Sequence[Path], *options: object) -> None:
        seen: set[str] = set()
        self._entries: dict[str, tuple[str, ...]] = {}
        for split in reversed(SPLITS):  # what is tested on is not trained on, whatever the lists say
            kept = tuple(entry for entry in entries[split] if entry not in seen)
            if len(kept) < len(entries[split]):
                _log.warning(
                    "dataset %s: %d samples of %s are in a later split too, and left out of it",
                    self.name,
                    len(entries[split]) - len(kept),
                    split,
                )
            if not kept:
                raise CropzooError(
                    f"dataset {self.name!r}; split {split!r} has no sample of its own; check {str(lists[0])!r}"
                )
            self._entries[split] = kept
            seen.update(kept)
        self._lists, self._options = tuple(lists), options

    @abstractmethod
    def locate(self, entry: str) -> Path:
        """The file of an entry of the lists."""

    @abstractmethod
    def make(self, contents: Contents, entry: str) -> Sample:
        """The sample in a file.

        Raises:
            CropzooError: naming the file, where its parts are missing or don't fit.
        """

    def split(self, name: str) -> Sequence[Sample]:
        """The samples of "train", "val" or "test"; each access reads one file.

        Raises:
            UnknownName: for another split.
        """
        if name not in SPLITS:
            raise UnknownName("split", name, SPLITS, f"dataset {self.name!r}")
        return _Files(self, self._entries[name])

    def read(self, entry: str) -> Sample:
        """The sample of an entry of the lists."""
        return self.make(Contents(self.locate(entry)), entry)

    def find_statistics(self) -> Statistics:
        """As `mean` and `std`; found in one pass over the training split, and remembered."""
        entries = self._entries["train"]
        files = [self.locate(entry) for entry in entries]
        key = [_VERSION, *self._options, list(entries), stamps(self._lists), stamps(files)]
        return remembered_statistics(self.name, key, self._find)

    def _find(self) -> Statistics:
        train = self.split("train")
        _log.warning("dataset %s: reading %d samples for their mean and deviation, once", self.name, len(train))
        try:
            return band_statistics(train, self.scale)
        except CropzooError as error:
            raise CropzooError(f"{error} (the bands are {', '.join(self.bands)})") from error


class _Files(Sequence[Sample]):
    """One split; nothing is read before an item is asked for."""

    def __init__(self, dataset: PickledDataset, entries: Sequence[str]) -> None:
        self._dataset, self._entries = dataset, entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, item: Any) -> Any:
        """A sample, or a list of them for a slice."""
        if isinstance(item, slice):
            return [self._dataset.read(entry) for entry in self._entries[item]]
        return self._dataset.read(self._entries[item])

    def __iter__(self) -> Iterator[Sample]:
        return (self._dataset.read(entry) for entry in self._entries)
