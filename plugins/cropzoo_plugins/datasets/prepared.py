"""The `prepared` dataset: a folder written by `cropzoo prepare`, or any other dataset in the PASTIS format."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError, LabelClass, Sample, UnknownName, UsageError
from cropzoo.data.pastis.reader import PastisFolder
from cropzoo.data.pastis.schema import METADATA, PatchRecord, series_file
from cropzoo.data.statistics import Statistics, WithStatistics, band_statistics, cached_statistics, stamp_files
from cropzoo.io import sha256_of
from cropzoo_plugins.datasets.options import need_root

SPLITS = ("train", "val", "test")

_log = logging.getLogger(__name__)


class Prepared(WithStatistics):
    """Memory-mapped patches on disk, assigned to train, val and test by folds.

    Args:
        root: Folder with metadata.geojson, or with a folder PASTIS-R or PASTIS that has it.
        fold: Rotation of the folds, from 1. With the five folds of PASTIS, rotation 1 trains on folds 1, 2 and 3,
            validates on 4 and tests on 5.
        bands: Names of the bands in the requested order, as a list or separated by commas; all bands if empty. Bands
            that are not evenly spaced in the files are copied from complete patches, which takes longer.
        citation: Replacement for the citation of the data.

    Raises:
        UsageError: The folder is not given, or there is no such fold or band.
        CropzooError: The folder is not a dataset, or its tables are not valid.
    """

    kind = "prepared"
    """Name of the dataset in messages."""

    def __init__(
        self, root: str | Path = "", *, fold: int = 1, bands: str | Sequence[str] = (), citation: str = ""
    ) -> None:
        self._open(PastisFolder(need_root(self.kind, root)), fold, bands, citation)

    def _open(self, layout: PastisFolder, fold: int, bands: str | Sequence[str], citation: str) -> None:
        self.layout = layout
        rotations = len(layout.rotations)
        if not rotations:
            raise CropzooError(
                f"dataset {self.kind!r} in {str(layout.folder)!r}; its patches are in fewer than 3 folds, and train, "
                "val and test need one each; copy the complete dataset"
            )
        if type(fold) is not int or not 1 <= fold <= rotations:
            raise UsageError(
                f"dataset {self.kind!r}; fold is {fold!r}; it must be an integer from 1 to {rotations}; give for "
                "example --set dataset.fold=1"
            )
        self.fold, self.folds = fold, layout.rotations[fold - 1]
        names = bands.split(",") if isinstance(bands, str) else bands
        requested = tuple(name.strip() for name in names if name.strip())
        for band in requested:
            if band not in layout.bands:
                raise UnknownName("band", band, layout.bands, f"dataset {self.kind!r} in {str(layout.folder)!r}")
        if len(set(requested)) != len(requested):
            raise UsageError(f"dataset {self.kind!r}; bands are {requested!r}; name each band once")
        self.bands: tuple[str, ...] = requested or layout.bands
        self._positions = [layout.bands.index(band) for band in self.bands]
        self.classes: tuple[LabelClass, ...] = layout.classes
        self.scale: float = layout.scale
        self.clear_scl, self.offset = layout.clear_scl, layout.offset
        self.citation: str = citation or layout.citation

    def split(self, name: str) -> Sequence[Sample]:
        """Return the patches of "train", "val" or "test"; files are opened on access.

        Raises:
            UnknownName: There is no such split.
        """
        if name not in SPLITS:
            raise UnknownName("split", name, SPLITS, f"dataset {self.kind!r}")
        return Patches(
            self.layout, self.layout.select_folds(self.folds[name]), to_slice(self._positions, len(self.layout.bands))
        )

    def find_statistics(self) -> Statistics:
        """Return mean and std of the selected bands over the patches of the training folds."""
        mean, std = self._find_all_statistics()
        return tuple(mean[band] for band in self._positions), tuple(std[band] for band in self._positions)

    def _find_all_statistics(self) -> Statistics:
        layout, folds = self.layout, self.folds["train"]
        if layout.has_statistics:
            return layout.statistics(folds)
        patches = layout.select_folds(folds)
        files = [series_file(layout.folder, patch.id, layout.sensor) for patch in patches]
        key = [
            str(layout.folder.resolve()),
            sha256_of(layout.folder / METADATA),
            layout.sensor,
            folds,
            stamp_files(files),
        ]

        def compute() -> Statistics:
            _log.warning("no file of statistics: reading %d patches once to compute them", len(patches))
            return band_statistics(iter(Patches(layout, patches, slice(None))), self.scale)

        return cached_statistics(self.kind, key, compute)


@dataclass(frozen=True)
class Patches(Sequence[Sample]):
    """Samples of patches of a dataset on disk.

    Args:
        layout: Reader of the dataset.
        patches: Patches of the samples.
        bands: Bands of the samples, a slice or positions.
    """

    layout: PastisFolder
    patches: tuple[PatchRecord, ...]
    bands: slice | tuple[int, ...]

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: Any) -> Any:
        """Return a sample, or a list of samples for a slice."""
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        sample = self.layout.sample(self.patches[index])
        return replace(sample, series=_select_bands(sample.series, self.bands))


def to_slice(positions: Sequence[int], count: int) -> slice | tuple[int, ...]:
    """Return the slice of `count` bands with these positions if there is one: only a slice leaves pixels unread."""
    if list(positions) == list(range(count)):
        return slice(None)
    step = positions[1] - positions[0] if len(positions) > 1 else 1
    end = positions[-1] + step
    if list(positions) == list(range(positions[0], end, step)):
        return slice(positions[0], end if end >= 0 else None, step)
    return tuple(positions)


def _select_bands(series: NDArray[Any], bands: slice | tuple[int, ...]) -> NDArray[Any]:
    return series[:, bands] if isinstance(bands, slice) else series[:, np.array(bands)]
