"""The `prepared` dataset: a folder that `cropzoo prepare` wrote, or any other in the layout of PASTIS."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError, LabelClass, Sample, UnknownName, UsageError
from cropzoo.data.pastis.reader import Layout
from cropzoo.data.pastis.schema import METADATA, Patch, series_file
from cropzoo.data.statistics import Statistics, WithStatistics, band_statistics, remembered_statistics, stamps
from cropzoo.io import sha256_of
from cropzoo_plugins.datasets.options import need_root

SPLITS = ("train", "val", "test")

_log = logging.getLogger(__name__)


class Prepared(WithStatistics):
    """Patches on disk, memory-mapped, dealt to train, val and test by folds.

    Args:
        root: the folder with metadata.geojson, or one that holds it as PASTIS-R or PASTIS.
        fold: which way of dealing the folds, from 1; with PASTIS's five, fold 1 trains on 1, 2 and 3, chooses on 4 and
            tests on 5.
        bands: names in the order wanted; all if none. Names with commas between them are as good as a list. Bands that
            do not lie evenly in the files are copied out of whole patches, which takes longer.
        citation: replaces the one that stands with the data.

    Raises:
        UsageError: no folder, no such fold or band.
        CropzooError: a folder that is no dataset, or tables that are wrong.
    """

    kind = "prepared"
    """What messages call it."""

    def __init__(
        self, root: str | Path = "", *, fold: int = 1, bands: str | Sequence[str] = (), citation: str = ""
    ) -> None:
        self._use(Layout(need_root(self.kind, root)), fold, bands, citation)

    def _use(self, layout: Layout, fold: int, bands: str | Sequence[str], citation: str) -> None:
        self.layout = layout
        ways = len(layout.rotations)
        if not ways:
            raise CropzooError(
                f"dataset {self.kind!r} in {str(layout.folder)!r}; its patches are in fewer than 3 folds, too few for "
                "train, val and test; copy all of it"
            )
        if type(fold) is not int or not 1 <= fold <= ways:
            raise UsageError(
                f"dataset {self.kind!r}; fold is {fold!r}; it must be a whole number from 1 to {ways}; give for "
                "example --set dataset.fold=1"
            )
        self.fold, self.folds = fold, layout.rotations[fold - 1]
        asked = tuple(band.strip() for band in (bands.split(",") if isinstance(bands, str) else bands) if band.strip())
        for band in asked:
            if band not in layout.bands:
                raise UnknownName("band", band, layout.bands, f"dataset {self.kind!r} in {str(layout.folder)!r}")
        if len(set(asked)) != len(asked):
            raise UsageError(f"dataset {self.kind!r}; bands are {asked!r}; name each band once")
        self.bands: tuple[str, ...] = asked or layout.bands
        self._picks = [layout.bands.index(band) for band in self.bands]
        self.classes: tuple[LabelClass, ...] = layout.classes
        self.scale: float = layout.scale
        self.citation: str = citation or layout.citation

    def split(self, name: str) -> Sequence[Sample]:
        """The patches of "train", "val" or "test"; files are opened when an item is asked for.

        Raises:
            UnknownName: for another split.
        """
        if name not in SPLITS:
            raise UnknownName("split", name, SPLITS, f"dataset {self.kind!r}")
        return Patches(self.layout, self.layout.of_folds(self.folds[name]), evenly(self._picks, len(self.layout.bands)))

    def find_statistics(self) -> Statistics:
        """As `mean` and `std`, of the bands that are used, over the patches of the training folds."""
        mean, std = self._of_all_bands()
        return tuple(mean[pick] for pick in self._picks), tuple(std[pick] for pick in self._picks)

    def _of_all_bands(self) -> Statistics:
        layout, folds = self.layout, self.folds["train"]
        if layout.has_statistics:
            return layout.statistics(folds)
        patches = layout.of_folds(folds)
        files = [series_file(layout.folder, patch.id, layout.sensor) for patch in patches]
        key = [str(layout.folder.resolve()), sha256_of(layout.folder / METADATA), layout.sensor, folds, stamps(files)]

        def find() -> Statistics:
            _log.warning("no file of statistics: reading %d patches for mean and deviation, once", len(patches))
            return band_statistics(iter(Patches(layout, patches, slice(None))), self.scale)

        return remembered_statistics(self.kind, key, find)


@dataclass(frozen=True)
class Patches(Sequence[Sample]):
    """Patches of a dataset on disk.

    Args:
        layout: reads them.
        patches: which ones.
        bands: which bands, a slice or positions.
    """

    layout: Layout
    patches: tuple[Patch, ...]
    bands: slice | tuple[int, ...]

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: Any) -> Any:
        """A sample, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        sample = self.layout.sample(self.patches[index])
        return replace(sample, series=_pick(sample.series, self.bands))


def evenly(picks: Sequence[int], count: int) -> slice | tuple[int, ...]:
    """A slice of `count` bands that gives these positions where there is one: only a slice leaves pixels unread."""
    if list(picks) == list(range(count)):
        return slice(None)
    step = picks[1] - picks[0] if len(picks) > 1 else 1
    end = picks[-1] + step
    if list(picks) == list(range(picks[0], end, step)):
        return slice(picks[0], end if end >= 0 else None, step)
    return tuple(picks)


def _pick(series: NDArray[Any], bands: slice | tuple[int, ...]) -> NDArray[Any]:
    return series[:, bands] if isinstance(bands, slice) else series[:, np.array(bands)]
