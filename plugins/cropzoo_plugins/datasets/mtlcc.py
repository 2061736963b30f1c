"""The `mtlcc` dataset: pickled tiles in Bavaria with 17 crops, as converted by the authors of CSCL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import LabelClass, Sample, UsageError
from cropzoo_plugins.datasets.options import need_root
from cropzoo_plugins.datasets.pickled.dataset import PickledDataset
from cropzoo_plugins.datasets.pickled.holdout import hold_out
from cropzoo_plugins.datasets.pickled.path_lists import find_list, read_list
from cropzoo_plugins.datasets.pickled.resampling import enlarge
from cropzoo_plugins.datasets.pickled.sample_file import SampleFile, days_since_1970, sort_days

BANDS = {
    "x10": ("B04", "B03", "B02", "B08"),
    "x20": ("B05", "B06", "B07", "B8A", "B11", "B12"),
    "x60": ("B01", "B09", "B10"),
}
"""Bands of each array, in the order of its last axis."""

FACTORS = {"x10": 1, "x20": 2, "x60": 6}
"""Pixel size of each array in units of 10 m."""

CLASSES = (
    LabelClass("sugar beet", 1, "#c2407a"),
    LabelClass("oat", 2, "#d8c08c"),
    LabelClass("meadow", 3, "#7fb069"),
    LabelClass("rape", 5, "#f2e02a"),
    LabelClass("hop", 8, "#2f8f5b"),
    LabelClass("spelt", 9, "#bd8f3c"),
    LabelClass("triticale", 12, "#a1793a"),
    LabelClass("beans", 13, "#4f7f3f"),
    LabelClass("peas", 15, "#9ccf5f"),
    LabelClass("potato", 16, "#8a5a44"),
    LabelClass("soybean", 17, "#1f6f54"),
    LabelClass("asparagus", 19, "#8f7fc0"),
    LabelClass("wheat", 22, "#e8c547"),
    LabelClass("winter barley", 23, "#c9a227"),
    LabelClass("rye", 24, "#b06d38"),
    LabelClass("spring barley", 25, "#e3d3a3"),
    LabelClass("maize", 26, "#f08a24"),
)
"""In the order of their codes; 0 is unknown."""

_CONVERTED = "data_IJGI18/datasets/full/240pkl"
"""Folder of the published conversion in the folder of MTLCC; entries of its lists start with it."""

_RUN = 64
"""Number of consecutive tiles that are held out together."""

_LABELS = np.full(128, 255, np.uint8)
_LABELS[np.array([each.code for each in CLASSES], np.intp)] = np.arange(len(CLASSES))
YEARS: dict[int, str] = {2016: "data16", 2017: "data17"}
"""Folder of each year."""


class MTLCC(PickledDataset):
    """Tiles of 240 m x 240 m north of Munich, 13 bands of top-of-atmosphere reflectance, 17 crops.

    The file of a sample contains `x10` (T, 24, 24, 4), `x20` (T, 12, 12, 6), `x60` (T, 4, 4, 3), `day` (T,), `year`
    (T,) and `labels` (T, 24, 24) or (24, 24). All bands are resampled to 10 m (20 and 60 m bands bilinearly), in the
    order of the published readers: B04 B03 B02 B08, B05 B06 B07 B8A B11 B12, B01 B09 B10. Pixels whose label changes
    between dates are ignored, as are code 0 and codes that are not a class. Images are sorted by date; of several
    images of one day, the first one is kept.

    Test is the published evaluation list. Val is held out of the published training list in groups of 64 consecutive
    tiles, in the order of their hashes.

    Args:
        root: Folder of MTLCC, with data_IJGI18/, or the folder 240pkl/ in it.
        year: 2016 (the year of the published scores), 2017, or "all".
        val_share: Share of val in the training list.
        train_paths, val_paths, test_paths: Other lists, relative to the root; with `val_paths` nothing is held out.

    Raises:
        UsageError: The folder is not given, or the year or the share is not valid.
        CropzooError: Lists or samples are missing or not valid.

    Source: Rußwurm and Körner 2018, arXiv:1802.02080; pickled as by Tarasiou et al. 2022, arXiv:2104.04310.
    """

    name = "mtlcc"
    bands = tuple(band for names in BANDS.values() for band in names)
    classes: tuple[LabelClass, ...] = CLASSES
    citation = (
        "MTLCC: Rußwurm and Körner, Multi-Temporal Land Cover Classification with Sequential Recurrent Encoders, ISPRS "
        "International Journal of Geo-Information 2018, doi:10.3390/ijgi7040129"
    )

    def __init__(
        self,
        root: str | Path = "",
        *,
        year: int | str = 2016,
        val_share: float = 0.1,
        train_paths: str = "",
        val_paths: str = "",
        test_paths: str = "",
    ) -> None:
        self.root = need_root(self.name, root)
        if year != "all" and year not in YEARS:
            raise UsageError(f"dataset 'mtlcc'; year is {year!r}; it must be 2016, 2017 or 'all'")
        self.folder = self.root / _CONVERTED if (self.root / _CONVERTED).is_dir() else self.root
        self._year = year
        train = self._find_list("train", train_paths)
        test = self._find_list("test", test_paths)
        lists = [train, test]
        entries: dict[str, list[str]] = {"train": self._read_entries(train), "test": self._read_entries(test)}
        if val_paths:
            lists.append(self._find_list("val", val_paths))
            entries["val"] = self._read_entries(lists[-1])
        else:
            tested = set(entries["test"])
            rest = [entry for entry in entries["train"] if entry not in tested]
            entries["train"], entries["val"] = hold_out(
                rest, [_find_run(entry) for entry in rest], val_share, self.name
            )
        super().__init__(entries, lists)

    def _find_list(self, split: str, given: str) -> Path:
        if given:
            return find_list(self.root, given, f"{split}_paths", ())
        published = "eval_paths" if split == "test" else "train_paths"
        short = f"{published}_{self._year % 100}.csv" if isinstance(self._year, int) else ""
        names = [name for name in (short, f"{published}.csv") if name]
        return find_list(self.folder, "", f"{split}_paths", names)

    def _read_entries(self, path: Path) -> list[str]:
        """Read the entries of the year; entries outside the folders of the years belong to all years."""
        entries = read_list(path)
        if isinstance(self._year, str):
            return entries
        others = set(YEARS.values()) - {YEARS[self._year]}
        return [entry for entry in entries if not others & set(PurePosixPath(entry).parts)]

    def locate(self, entry: str) -> Path:
        """Return the file of an entry of the lists, which are relative to the folder of MTLCC."""
        inside = entry.removeprefix(f"{_CONVERTED}/")
        return self.folder / inside if inside != entry else self.root / entry

    def to_sample(self, file: SampleFile, entry: str) -> Sample:
        """Convert the content of a file to a sample.

        Raises:
            CropzooError: Arrays are missing or do not match; the message names the file.
        """
        arrays = {key: file.read_numbers(key, (4,)) for key in BANDS}
        length, height, width, _ = arrays["x10"].shape
        for key, array in arrays.items():
            factor = FACTORS[key]
            file.check_shape(key, array, (length, height // factor, width // factor, len(BANDS[key])))
            if height % factor or width % factor:
                raise file.error(
                    f"'x10' has {height} x {width} pixels, which is not a multiple of the pixels of {key!r}"
                )
        labels = file.read_integers("labels", (2, 3))
        file.check_shape("labels", labels, ((length, height, width) if labels.ndim == 3 else (height, width)))
        doy, year = file.read_integers("day", (1,)), file.read_integers("year", (1,))
        file.check_shape("day", doy, (length,))
        file.check_shape("year", year, (length,))
        days = days_since_1970(file, doy, year)
        order = sort_days(days)
        return Sample(
            series=_stack({key: array[order] for key, array in arrays.items()}),
            dates=days[order].astype(np.int32),
            labels=_merge_labels(file.map_labels("labels", labels, _LABELS)),
            name=f"{PurePosixPath(entry).parent.name}/{PurePosixPath(entry).stem}",
        )


def _find_run(entry: str) -> str:
    stem = PurePosixPath(entry).stem
    return str(int(stem) // _RUN) if stem.isdecimal() else stem


def _stack(arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return all bands on the grid of the first array, (T, C, H, W)."""
    fine = [enlarge(np.moveaxis(array, -1, 1), FACTORS[key]) for key, array in arrays.items()]
    return np.concatenate(fine, axis=1)


def _merge_labels(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Merge the labels of all dates; 255 where they differ."""
    if labels.ndim == 2:
        return labels
    return np.where((labels == labels[0]).all(axis=0), labels[0], np.uint8(255))
