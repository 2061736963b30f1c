"""The `t31tfm` dataset: T31TFM-1618, three years of a Sentinel-2 tile in France, that of the CSCL paper."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import LabelClass, Sample, UnknownName, UsageError
from cropzoo.data.legend import palette
from cropzoo_plugins.datasets.options import need_root
from cropzoo_plugins.datasets.pickled.contents import Contents
from cropzoo_plugins.datasets.pickled.dataset import PickledDataset
from cropzoo_plugins.datasets.pickled.dates import days_since_1970, in_order
from cropzoo_plugins.datasets.pickled.grounds import grounds
from cropzoo_plugins.datasets.pickled.holding_out import hold_out
from cropzoo_plugins.datasets.pickled.lists import find_list, read_list
from cropzoo_plugins.datasets.pickled.resampling import enlarge
from cropzoo_plugins.datasets.sites.classes import TABLE, read_table

BANDS = {
    **dict.fromkeys(("B04", "B03", "B02", "B08"), 1),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 2),
    **dict.fromkeys(("B01", "B09", "B10"), 6),
}
"""In the published readers' order, each with the pixels of 10 m along one of its own."""

CODES = 168
"""Crop codes in the files are 0, unknown, to 167."""

LABEL_SETS = {
    "20k2k": (1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 20, 25, 33, 34, 35, 36, 48, 73),
    "all": tuple(range(1, CODES)),
}
"""The codes that are classes, in the order of their index; all others are ignored."""

LABEL_SCALES = (1, 4)
CONFLICTS = ("ignore", "keep")

_YEAR = re.compile(r"_([0-9]{4})$")


class T31TFM(PickledDataset):
    """Windows of 480 m x 480 m of tile T31TFM in 2016, 2017 and 2018, 13 bands, crops of the French register.

    A sample's file, {year}/pkl_timeseries/{block}/{north}_{west}_{year}.pickle, holds the bands at their own
    resolution, each (T, h, w), `doy` (T,), and `labels`, `ids`, `full_ass` and `part_ass` (48, 48), the same with `_x4`
    four times finer. All bands come on the 10 m grid, 20 and 60 m ones bilinearly, in the order of the published
    readers: B04 B03 B02 B08, B05 B06 B07 B8A B11 B12, B01 B09 B10. Images are sorted by date; of two of one day the
    first stored is kept.

    The files number the crops in the order in which the authors met them and don't name them: classes are called
    "code 12", unless classes.csv at the root (code, name, color) names them.

    Test is the published evaluation list. Val is held out of the published training list: whole blocks of about 27 km,
    of all years, in the order of their hashes until val has its share.

    Args:
        root: the folder that holds 2016/, 2017/, 2018/ and paths/.
        label_set: "20k2k", the published 20 classes, or "all", the 167 codes.
        label_scale: 1, or 4 for labels of 2.5 m.
        conflicts: "ignore" pixels that parcels of several crops claim (full_ass and part_ass), as published, or "keep".
        val_share: val's share of the training list.
        train_paths, val_paths, test_paths: other lists, relative to the root; with `val_paths` nothing is held out.

    Raises:
        UsageError: no folder, an option outside its range.
        CropzooError: lists or samples that are missing or do not fit.

    Source: Tarasiou et al. 2022, arXiv:2104.04310.
    """

    name = "t31tfm"
    bands = tuple(BANDS)
    citation = (
        "T31TFM-1618: Tarasiou, Güler and Zafeiriou, Context-Self Contrastive Pretraining for Crop Type Semantic "
        "Segmentation, IEEE TGRS 2022, doi:10.1109/TGRS.2022.3198187; parcels: RPG, IGN, License Ouverte; contains "
        "modified Copernicus Sentinel data"
    )

    def __init__(
        self,
        root: str | Path = "",
        *,
        label_set: str = "20k2k",
        label_scale: int = 1,
        conflicts: str = "ignore",
        val_share: float = 0.1,
        train_paths: str = "",
        val_paths: str = "",
        test_paths: str = "",
    ) -> None:
        self.root = need_root(self.name, root)
        if label_set not in LABEL_SETS:
            raise UnknownName("label set", label_set, LABEL_SETS, "dataset 't31tfm'")
        if conflicts not in CONFLICTS:
            raise UnknownName("treatment of conflicts", conflicts, CONFLICTS, "dataset 't31tfm'")
        if type(label_scale) is not int or label_scale not in LABEL_SCALES:
            raise UsageError(f"dataset 't31tfm'; label_scale is {label_scale!r}; its files have labels at 1 and at 4")
        self.label_scale, self.conflicts = label_scale, conflicts
        codes = LABEL_SETS[label_set]
        self._table = np.full(CODES, 255, np.uint8)
        self._table[list(codes)] = np.arange(len(codes))
        train = find_list(self.root, train_paths, "train_paths", ("paths/train_paths.csv",))
        test = find_list(self.root, test_paths, "test_paths", ("paths/eval_paths.csv",))
        self.classes: tuple[LabelClass, ...] = _classes(self.root / TABLE, codes)
        lists = [train, test]
        entries = {"train": read_list(train), "test": read_list(test)}
        if val_paths:
            lists.append(find_list(self.root, val_paths, "val_paths", ()))
            entries["val"] = read_list(lists[-1])
        else:
            known = set(entries["test"])
            left = [entry for entry in entries["train"] if entry not in known]
            blocks = grounds([PurePosixPath(entry).parent.name for entry in left])
            entries["train"], entries["val"] = hold_out(left, blocks, val_share, self.name)
        super().__init__(entries, lists)

    def locate(self, entry: str) -> Path:
        """The file of an entry of the lists."""
        return self.root / entry

    def make(self, contents: Contents, entry: str) -> Sample:
        """The sample in a file.

        Raises:
            CropzooError: naming the file, where its parts are missing or don't fit.
        """
        arrays = {band: contents.numbers(band, (3,)) for band in BANDS}
        length, height, width = arrays["B04"].shape
        for band, array in arrays.items():
            times = BANDS[band]
            contents.fit(band, array, (length, height // times, width // times))
            if height % times or width % times:
                raise contents.error(f"'B04' has {height} x {width} pixels, which {band!r} cannot cover")
        doy = contents.whole("doy", (1,))
        contents.fit("doy", doy, (length,))
        days = days_since_1970(contents, doy, _year_of(contents))
        order = in_order(days)
        size = (self.label_scale * height, self.label_scale * width)
        return Sample(
            series=_stack(arrays, order),
            dates=days[order].astype(np.int32),
            labels=self._labels(contents, size),
            parcels=self._parcels(contents, size),
            name=str(PurePosixPath(entry).parent.name + "/" + PurePosixPath(entry).stem),
        )

    def _ground(self, contents: Contents, key: str, size: tuple[int, int]) -> NDArray[np.int64]:
        """One of the label arrays, at the scale asked for."""
        key = key if self.label_scale == 1 else f"{key}_x{self.label_scale}"
        array = contents.whole(key, (2,))
        contents.fit(key, array, size)
        return array

    def _labels(self, contents: Contents, size: tuple[int, int]) -> NDArray[np.uint8]:
        labels = contents.labels("labels", self._ground(contents, "labels", size), self._table)
        if self.conflicts == "ignore":
            for key in ("full_ass", "part_ass"):
                labels[self._ground(contents, key, size) != 0] = 255
        return labels

    def _parcels(self, contents: Contents, size: tuple[int, int]) -> NDArray[np.int32]:
        ids = self._ground(contents, "ids", size)
        if ids.min() < 0 or ids.max() > np.iinfo(np.int32).max:
            raise contents.error(f"'ids' holds {int(ids.min())} to {int(ids.max())}, which are no parcel ids")
        return ids.astype(np.int32)


def _classes(table: Path, codes: tuple[int, ...]) -> tuple[LabelClass, ...]:
    """A class for each code, with the name and color of classes.csv where it has one."""
    named = {each.code: each for each in read_table(table)} if table.is_file() else {}
    colors = palette(len(codes))
    plain = (LabelClass(f"code {code}", code, color) for code, color in zip(codes, colors, strict=True))
    return tuple(named.get(each.code, each) for each in plain)


def _year_of(contents: Contents) -> int:
    found = _YEAR.search(contents.path.stem)
    if not found:
        raise contents.error("its name has no year; samples are named NORTH_WEST_YEAR.pickle")
    return int(found[1])


def _stack(arrays: dict[str, NDArray[Any]], order: NDArray[np.intp]) -> NDArray[Any]:
    """All bands on the finest grid, (T, C, H, W)."""
    return np.stack([enlarge(array[order], BANDS[band]) for band, array in arrays.items()], axis=1)
