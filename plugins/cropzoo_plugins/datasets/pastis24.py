"""The `pastis24` dataset: PASTIS in pickled windows of 24 x 24 pixels, as published by the authors of TSViT."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError, LabelClass, Sample, UsageError
from cropzoo.data.pastis.metadata import read_metadata
from cropzoo.data.pastis.schema import CITATION, CLASSES, METADATA, S2_BANDS, make_rotations
from cropzoo_plugins.datasets.options import need_root
from cropzoo_plugins.datasets.pickled.dataset import PickledDataset
from cropzoo_plugins.datasets.pickled.path_lists import find_list, read_list
from cropzoo_plugins.datasets.pickled.sample_file import SampleFile, days_since_1970, sort_days

_log = logging.getLogger("cropzoo")
_STEM = re.compile(r"([0-9]+)_[0-9]+")
_FIRST_YEAR = 2018
_AUTUMN = 244
"""1 September as day of the year. PASTIS runs from September 2018 to November 2019, so 2018 has only later days."""

_LABELS = np.append(np.arange(len(CLASSES), dtype=np.uint8), np.uint8(255))
"""Label index of each stored label; 19 is void."""


class Pastis24(PickledDataset):
    """60 000 windows of 24 x 24 pixels of PASTIS, all dates, background and 18 crops; void is ignored.

    The folder contains fold-paths/ with folds_1_123_paths.csv, fold_4_paths.csv and so on, and the listed samples,
    pickle24x24/{patch}_{window}.pickle, each with `img` (T, 10, 24, 24), `labels` (24, 24) or (channels, 24, 24), of
    which the first channel is used, and `doy` (T,).

    The files store the day of the year without the year and are sorted by it, so autumn 2018 and autumn 2019 are mixed.
    Dates are exact if the folder contains metadata.geojson of PASTIS. If a patch has images of the same day of the year
    in both years, the first one is assumed to be the earlier. Without metadata.geojson, images from 1 September on are
    assumed to be of 2018 (of each year if there are two of one day), and earlier ones of 2019. Series are sorted by
    date in both cases.

    Args:
        root: Folder of the dataset.
        fold: Rotation of the folds, 1 to 5: rotation 1 trains on folds 1, 2, 3, validates on 4 and tests on 5.

    Raises:
        UsageError: The folder is not given, or there is no such fold.
        CropzooError: Lists or samples are missing or not valid.

    Source: Tarasiou et al. 2023, arXiv:2301.04944. The windows are the published ones, which leave out the last 8 of
        the 128 rows and columns of a patch. Statistics are those of the training folds instead of fold 1.
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
        rotations = make_rotations(5)
        if type(fold) is not int or not 1 <= fold <= len(rotations):
            raise UsageError(
                f"dataset 'pastis24'; fold is {fold!r}; it must be an integer from 1 to {len(rotations)}; give for "
                "example --set dataset.fold=1"
            )
        rotation = rotations[fold - 1]
        lists = {"train": self._find_train_lists(fold, rotation["train"])}
        lists |= {split: [self._find_list(f"fold_{rotation[split][0]}_paths.csv")] for split in ("val", "test")}
        entries = {split: [entry for path in paths for entry in read_list(path)] for split, paths in lists.items()}
        self._days: dict[str, NDArray[np.int64]] | None = None
        if (self.root / METADATA).is_file():
            listed = read_metadata(self.root, "S2")
            self._days = {patch.id: np.array(patch.dates, np.int64) for patch, _ in listed}
        else:
            _log.warning(
                "dataset pastis24: its files have no years, so dates in autumn are assumed to be of 2018; copy "
                "metadata.geojson of PASTIS to %s for exact dates",
                self.root,
            )
        super().__init__(entries, [path for paths in lists.values() for path in paths], fold)

    def _find_train_lists(self, fold: int, folds: list[int]) -> list[Path]:
        """Return the published list of three folds, or the list of each fold."""
        joined = f"folds_{fold}_{''.join(map(str, folds))}_paths.csv"
        singles = [f"fold_{number}_paths.csv" for number in folds]
        if not (self.root / "fold-paths" / joined).is_file() and all(
            (self.root / "fold-paths" / name).is_file() for name in singles
        ):
            return [self._find_list(name) for name in singles]
        return [self._find_list(joined)]

    def _find_list(self, name: str) -> Path:
        return find_list(self.root, "", "root", (f"fold-paths/{name}",))

    def locate(self, entry: str) -> Path:
        """Return the file of an entry of the lists."""
        return self.root / entry

    def to_sample(self, file: SampleFile, entry: str) -> Sample:
        """Convert the content of a file to a sample.

        Raises:
            CropzooError: Arrays are missing or do not match; the message names the file.
        """
        series = file.read_numbers("img", (4,))
        length, _, height, width = series.shape
        file.check_shape("img", series, (length, len(self.bands), height, width))
        doy = file.read_integers("doy", (1,))
        file.check_shape("doy", doy, (length,))
        labels = file.read_integers("labels", (2, 3))
        labels = labels if labels.ndim == 2 else labels[0]
        file.check_shape("labels", labels, (height, width))
        days = self._look_up_days(file, doy) if self._days is not None else _guess_days(file, doy)
        order = sort_days(days)
        if len(order) < length:
            raise file.error(f"'doy' repeats a day that only one year can have: {doy.tolist()}")
        return Sample(
            series=_reorder(series, order),
            dates=days[order].astype(np.int32),
            labels=file.map_labels("labels", labels, _LABELS),
            name=Path(entry).stem,
        )

    def _look_up_days(self, file: SampleFile, doy: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the date of each image: the dates of the patch, sorted by day of the year like the stored windows."""
        assert self._days is not None
        match = _STEM.fullmatch(file.path.stem)
        days = self._days.get(match[1]) if match else None
        if days is None:
            raise CropzooError(
                f"{str(self.root / METADATA)!r}; it has no patch of {str(file.path)!r}; samples are named "
                "PATCH_WINDOW.pickle; use the metadata.geojson of the complete PASTIS, or remove it"
            )
        dates = days.astype("datetime64[D]")
        days_of_year = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1
        order = np.argsort(days_of_year, kind="stable")
        if not np.array_equal(days_of_year[order], doy):
            raise file.error(f"'doy' differs from the days in {METADATA}: {doy.tolist()}")
        found: NDArray[np.int64] = days[order]
        return found


def _guess_days(file: SampleFile, doy: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the date of each image by the rule documented in the class."""
    repeated = np.zeros(doy.shape, np.bool_)
    repeated[np.setdiff1d(np.arange(doy.size), np.unique(doy, return_index=True)[1])] = True
    return days_since_1970(file, doy, np.where((doy < _AUTUMN) | repeated, _FIRST_YEAR + 1, _FIRST_YEAR))


def _reorder(series: NDArray[Any], order: NDArray[np.intp]) -> NDArray[Any]:
    """Return the dates of a series in another order; nothing is copied if the order is the same."""
    return series if np.array_equal(order, np.arange(len(series))) else series[order]
