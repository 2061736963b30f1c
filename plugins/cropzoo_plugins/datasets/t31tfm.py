"""The `t31tfm` dataset: T31TFM-1618 of the CSCL paper, three years of a Sentinel-2 tile in France."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import LabelClass, Sample, UnknownName, UsageError
from cropzoo.data.crop_colors import color_classes
from cropzoo_plugins.datasets.options import need_root
from cropzoo_plugins.datasets.pickled.dataset import PickledDataset
from cropzoo_plugins.datasets.pickled.holdout import group_blocks, hold_out
from cropzoo_plugins.datasets.pickled.path_lists import find_list, read_list
from cropzoo_plugins.datasets.pickled.resampling import enlarge
from cropzoo_plugins.datasets.pickled.sample_file import SampleFile, days_since_1970, sort_days
from cropzoo_plugins.datasets.sites.class_table import TABLE, read_table

BANDS = {
    **dict.fromkeys(("B04", "B03", "B02", "B08"), 1),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 2),
    **dict.fromkeys(("B01", "B09", "B10"), 6),
}
"""Pixel size of each band in units of 10 m, in the order of the published readers."""

CODES = 168
"""Number of crop codes in the files: 0 (unknown) to 167."""

LABEL_SETS = {
    "20k2k": (1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 20, 25, 33, 34, 35, 36, 48, 73),
    "all": tuple(range(1, CODES)),
}
"""Codes of the classes by label index; all other codes are ignored."""

LABEL_SCALES = (1, 4)
CONFLICTS = ("ignore", "keep")

_YEAR = re.compile(r"_([0-9]{4})$")


class T31TFM(PickledDataset):
    """Windows of 480 m x 480 m of tile T31TFM in 2016, 2017 and 2018, 13 bands, crops of the French register.

    The file of a sample, {year}/pkl_timeseries/{block}/{north}_{west}_{year}.pickle, has the bands at their native
    resolution, each (T, h, w), `doy` (T,), and `labels`, `ids`, `full_ass` and `part_ass` (48, 48), and the same with
    `_x4` four times finer. All bands are resampled to 10 m (20 and 60 m bands bilinearly), in the order of the
    published readers: B04 B03 B02 B08, B05 B06 B07 B8A B11 B12, B01 B09 B10. Images are sorted by date; of several
    images of one day, the first one is kept.

    The files contain crop codes without names: classes are called "code 12", unless a table classes.csv at the root
    (code, name, color) names them.

    Test is the published evaluation list. Val is held out of the published training list in blocks of about 27 km, over
    all years, in the order of their hashes.

    Args:
        root: Folder with 2016/, 2017/, 2018/ and paths/.
        label_set: "20k2k" for the published 20 classes, or "all" for the 167 codes.
        label_scale: 1, or 4 for labels at 2.5 m.
        conflicts: "ignore" to ignore pixels in parcels of several crops (full_ass and part_ass), as published, or
            "keep".
        val_share: Share of val in the training list.
        train_paths, val_paths, test_paths: Other lists, relative to the root; with `val_paths` nothing is held out.

    Raises:
        UsageError: The folder is not given, or an option is not valid.
        CropzooError: Lists or samples are missing or not valid.

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
            raise UsageError(
                f"dataset 't31tfm'; label_scale is {label_scale!r}; its files have labels at scales 1 and 4"
            )
        self.label_scale, self.conflicts = label_scale, conflicts
        codes = LABEL_SETS[label_set]
        self._table = np.full(CODES, 255, np.uint8)
        self._table[list(codes)] = np.arange(len(codes))
        train = find_list(self.root, train_paths, "train_paths", ("paths/train_paths.csv",))
        test = find_list(self.root, test_paths, "test_paths", ("paths/eval_paths.csv",))
        self.classes: tuple[LabelClass, ...] = _make_classes(self.root / TABLE, codes)
        lists = [train, test]
        entries = {"train": read_list(train), "test": read_list(test)}
        if val_paths:
            lists.append(find_list(self.root, val_paths, "val_paths", ()))
            entries["val"] = read_list(lists[-1])
        else:
            tested = set(entries["test"])
            rest = [entry for entry in entries["train"] if entry not in tested]
            blocks = group_blocks([PurePosixPath(entry).parent.name for entry in rest])
            entries["train"], entries["val"] = hold_out(rest, blocks, val_share, self.name)
        super().__init__(entries, lists)

    def locate(self, entry: str) -> Path:
        """Return the file of an entry of the lists."""
        return self.root / entry

    def to_sample(self, file: SampleFile, entry: str) -> Sample:
        """Convert the content of a file to a sample.

        Raises:
            CropzooError: Arrays are missing or do not match; the message names the file.
        """
        arrays = {band: file.read_numbers(band, (3,)) for band in BANDS}
        length, height, width = arrays["B04"].shape
        for band, array in arrays.items():
            factor = BANDS[band]
            file.check_shape(band, array, (length, height // factor, width // factor))
            if height % factor or width % factor:
                raise file.error(
                    f"'B04' has {height} x {width} pixels, which is not a multiple of the pixels of {band!r}"
                )
        doy = file.read_integers("doy", (1,))
        file.check_shape("doy", doy, (length,))
        days = days_since_1970(file, doy, _find_year(file))
        order = sort_days(days)
        size = (self.label_scale * height, self.label_scale * width)
        return Sample(
            series=_stack(arrays, order),
            dates=days[order].astype(np.int32),
            labels=self._read_labels(file, size),
            parcels=self._read_parcels(file, size),
            name=str(PurePosixPath(entry).parent.name + "/" + PurePosixPath(entry).stem),
        )

    def _read_layer(self, file: SampleFile, key: str, size: tuple[int, int]) -> NDArray[np.int64]:
        """Read one of the label arrays at the requested scale."""
        key = key if self.label_scale == 1 else f"{key}_x{self.label_scale}"
        array = file.read_integers(key, (2,))
        file.check_shape(key, array, size)
        return array

    def _read_labels(self, file: SampleFile, size: tuple[int, int]) -> NDArray[np.uint8]:
        labels = file.map_labels("labels", self._read_layer(file, "labels", size), self._table)
        if self.conflicts == "ignore":
            for key in ("full_ass", "part_ass"):
                labels[self._read_layer(file, key, size) != 0] = 255
        return labels

    def _read_parcels(self, file: SampleFile, size: tuple[int, int]) -> NDArray[np.int32]:
        ids = self._read_layer(file, "ids", size)
        if ids.min() < 0 or ids.max() > np.iinfo(np.int32).max:
            raise file.error(
                f"'ids' contains {int(ids.min())} to {int(ids.max())}; parcel ids must be >= 0 and fit in int32"
            )
        return ids.astype(np.int32)


def _make_classes(table: Path, codes: tuple[int, ...]) -> tuple[LabelClass, ...]:
    """Return a class for each code, with its name and color in classes.csv if it has them."""
    named = {each.code: each for each in read_table(table)} if table.is_file() else {}
    return color_classes([named.get(code) or LabelClass(f"code {code}", code, "") for code in codes])


def _find_year(file: SampleFile) -> int:
    found = _YEAR.search(file.path.stem)
    if not found:
        raise file.error("its name has no year; samples are named NORTH_WEST_YEAR.pickle")
    return int(found[1])


def _stack(arrays: dict[str, NDArray[Any]], order: NDArray[np.intp]) -> NDArray[Any]:
    """Return all bands on the finest grid, (T, C, H, W)."""
    return np.stack([enlarge(array[order], BANDS[band]) for band, array in arrays.items()], axis=1)
