"""The `pastis24` dataset: PASTIS cut into pickled windows of 24 x 24 pixels, as TSViT's authors published it."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError, LabelClass, Sample, UsageError
from cropzoo.data.pastis.metadata import read_metadata
from cropzoo.data.pastis.schema import CITATION, CLASSES, METADATA, S2_BANDS, rotations
from cropzoo_plugins.datasets.options import need_root
from cropzoo_plugins.datasets.pickled.contents import Contents
from cropzoo_plugins.datasets.pickled.dataset import PickledDataset
from cropzoo_plugins.datasets.pickled.dates import days_since_1970, in_order
from cropzoo_plugins.datasets.pickled.lists import find_list, read_list

_log = logging.getLogger("cropzoo")
_STEM = re.compile(r"([0-9]+)_[0-9]+")
_FIRST_YEAR = 2018
_AUTUMN = 244
"""1 September, the day of the year from which an image can be of 2018: PASTIS runs from September 2018 to November
2019."""

_LABELS = np.append(np.arange(len(CLASSES), dtype=np.uint8), np.uint8(255))
"""The index of each label in the files; 19 is void."""


class Pastis24(PickledDataset):
    """60 000 windows of 24 x 24 pixels of PASTIS, all dates, background and 18 crops; void is ignored.

    The folder holds fold-paths/ with folds_1_123_paths.csv, fold_4_paths.csv and so on, and the samples that they name,
    pickle24x24/{patch}_{window}.pickle, each with `img` (T, 10, 24, 24), `labels` (24, 24) or with channels before it,
    of which the first counts, and `doy` (T,).

    The files give the day of the year and no year, and are sorted by it, so that autumn 2019 stands among autumn 2018.
    With metadata.geojson of PASTIS in the folder every date is the real one. Where a patch has images of one day of the
    year in both years, the files don't tell which is which, and the first is taken for the earlier. Without
    metadata.geojson an image from 1 September on is taken to be of 2018, or, where two are of one day, one of each
    year; earlier ones are of 2019. Either way series are sorted by date.

    Args:
        root: the folder.
        fold: the rotation, 1 to 5: train on 1, 2, 3, val 4, test 5, and so on around.

    Raises:
        UsageError: no folder, no such fold.
        CropzooError: lists or samples that are missing or do not fit.

    Source: Tarasiou et al. 2023, arXiv:2301.04944. Windows are the published ones, which leave out the last 8 of a
        patch's 128 rows and columns; statistics are those of the training folds, not fold 1's for all.
    """

    name = "pastis24"
    bands = S2_BANDS
    classes: tuple[LabelClass, ...] = CLASSES
    citation = (
        f"{CITATION}; PASTIS24: Tarasiou, Chavez and Zafeiriou, ViTs for SITS: Vision Transformers for Satellite Image "
        "Time Series, CVPR 2023, arXiv:2301.04944"
    )

    def __init__(self, root: str | Path = "", *, fold: int = 1) -> None:
        self.root = need_root(self.name, root)
        turns = rotations(5)
        if type(fold) is not int or not 1 <= fold <= len(turns):
            raise UsageError(
                f"dataset 'pastis24'; fold is {fold!r}; it must be a whole number from 1 to {len(turns)}; give for "
                "example --set dataset.fold=1"
            )
        turn = turns[fold - 1]
        lists = {"train": self._train_lists(fold, turn["train"])}
        lists |= {split: [self._list(f"fold_{turn[split][0]}_paths.csv")] for split in ("val", "test")}
        entries = {split: [entry for path in paths for entry in read_list(path)] for split, paths in lists.items()}
        self._days: dict[str, NDArray[np.int64]] | None = None
        if (self.root / METADATA).is_file():
            listed = read_metadata(self.root, "S2")
            self._days = {patch.id: np.array(patch.dates, np.int64) for patch, _ in listed}
        else:
            _log.warning(
                "dataset pastis24: its files have no years, so autumn's dates are taken to be of 2018; put PASTIS's "
                "metadata.geojson into %s for the real ones",
                self.root,
            )
        super().__init__(entries, [path for paths in lists.values() for path in paths], fold)

    def _train_lists(self, fold: int, folds: list[int]) -> list[Path]:
        """The published list of three folds, or the lists of each."""
        joined = f"folds_{fold}_{''.join(map(str, folds))}_paths.csv"
        singles = [f"fold_{number}_paths.csv" for number in folds]
        if not (self.root / "fold-paths" / joined).is_file() and all(
            (self.root / "fold-paths" / name).is_file() for name in singles
        ):
            return [self._list(name) for name in singles]
        return [self._list(joined)]

    def _list(self, name: str) -> Path:
        return find_list(self.root, "", "root", (f"fold-paths/{name}",))

    def locate(self, entry: str) -> Path:
        """The file of an entry of the lists."""
        return self.root / entry

    def make(self, contents: Contents, entry: str) -> Sample:
        """The sample in a file.

        Raises:
            CropzooError: naming the file, where its parts are missing or don't fit.
        """
        series = contents.numbers("img", (4,))
        length, _, height, width = series.shape
        contents.fit("img", series, (length, len(self.bands), height, width))
        doy = contents.whole("doy", (1,))
        contents.fit("doy", doy, (length,))
        labels = contents.whole("labels", (2, 3))
        labels = labels if labels.ndim == 2 else labels[0]
        contents.fit("labels", labels, (height, width))
        days = self._real_days(contents, doy) if self._days is not None else _guessed_days(contents, doy)
        order = in_order(days)
        if len(order) < length:
            raise contents.error(f"'doy' has a day over again that can be of one year only: {doy.tolist()}")
        return Sample(
            series=_take(series, order),
            dates=days[order].astype(np.int32),
            labels=contents.labels("labels", labels, _LABELS),
            name=Path(entry).stem,
        )

    def _real_days(self, contents: Contents, doy: NDArray[np.int64]) -> NDArray[np.int64]:
        """The date of each image: the patch's dates, sorted by day of the year as those who cut the windows did."""
        assert self._days is not None
        found = _STEM.fullmatch(contents.path.stem)
        days = self._days.get(found[1]) if found else None
        if days is None:
            raise CropzooError(
                f"{str(self.root / METADATA)!r}; it has no patch of {str(contents.path)!r}; samples are named "
                "PATCH_WINDOW.pickle; give the metadata.geojson of all of PASTIS, or remove it"
            )
        dates = days.astype("datetime64[D]")
        days_of_year = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1
        order = np.argsort(days_of_year, kind="stable")
        if not np.array_equal(days_of_year[order], doy):
            raise contents.error(f"'doy' does not hold the days of {METADATA}: {doy.tolist()}")
        real: NDArray[np.int64] = days[order]
        return real


def _guessed_days(contents: Contents, doy: NDArray[np.int64]) -> NDArray[np.int64]:
    """The date of each image by the rule that the class documents."""
    again = np.zeros(doy.shape, np.bool_)
    again[np.setdiff1d(np.arange(doy.size), np.unique(doy, return_index=True)[1])] = True
    return days_since_1970(contents, doy, np.where((doy < _AUTUMN) | again, _FIRST_YEAR + 1, _FIRST_YEAR))


def _take(series: NDArray[Any], order: NDArray[np.intp]) -> NDArray[Any]:
    in_place = np.array_equal(order, np.arange(len(series)))
    return series if in_place else series[order]
