"""The `mtlcc` dataset: pickled tiles over Bavaria with 17 crops, as the authors of CSCL converted MTLCC's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import LabelClass, Sample, UsageError
from cropzoo_plugins.datasets.options import need_root
from cropzoo_plugins.datasets.pickled.contents import Contents
from cropzoo_plugins.datasets.pickled.dataset import PickledDataset
from cropzoo_plugins.datasets.pickled.dates import days_since_1970, in_order
from cropzoo_plugins.datasets.pickled.holding_out import hold_out
from cropzoo_plugins.datasets.pickled.lists import find_list, read_list
from cropzoo_plugins.datasets.pickled.resampling import enlarge

BANDS = {
    "x10": ("B04", "B03", "B02", "B08"),
    "x20": ("B05", "B06", "B07", "B8A", "B11", "B12"),
    "x60": ("B01", "B09", "B10"),
}
"""Of each array, in the order in which its last axis holds them."""

TIMES = {"x10": 1, "x20": 2, "x60": 6}
"""How many pixels of 10 m lie along a pixel of each array."""

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
"""Where the published conversion puts its files in MTLCC's folder, and what entries of its lists start with."""

_RUN = 64
"""Tiles with numbers of one run are held out together."""

_LABELS = np.full(128, 255, np.uint8)
_LABELS[[each.code for each in CLASSES]] = np.arange(len(CLASSES))
YEARS: dict[int, str] = {2016: "data16", 2017: "data17"}


class MTLCC(PickledDataset):
    """Tiles of 240 m x 240 m north of Munich, 13 bands of top-of-atmosphere reflectance, 17 crops.

    A sample's file holds `x10` (T, 24, 24, 4), `x20` (T, 12, 12, 6), `x60` (T, 4, 4, 3), `day` and `year` (T,), and
    `labels` (T, 24, 24) or (24, 24). All bands come on the 10 m grid, 20 and 60 m ones bilinearly, in the order of the
    published readers: B04 B03 B02 B08, B05 B06 B07 B8A B11 B12, B01 B09 B10. A pixel whose label is not the same at all
    dates is ignored, as are code 0 and codes that are no class. Images are sorted by date; of two of one day the first
    stored is kept.

    Test is the published evaluation list. Val is held out of the published training list: tiles are taken in runs of 64
    consecutive numbers, whole runs in the order of their hashes until val has its share.

    Args:
        root: MTLCC's folder, which holds data_IJGI18/, or the folder 240pkl/ in it.
        year: 2016 (which scores are published for), 2017, or "all".
        val_share: val's share of the training list.
        train_paths, val_paths, test_paths: other lists, relative to the root; with `val_paths` nothing is held out.

    Raises:
        UsageError: no folder, no such year, a share that is none.
        CropzooError: lists or samples that are missing or do not fit.

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
        train = self._list("train", train_paths)
        test = self._list("test", test_paths)
        lists = [train, test]
        entries: dict[str, list[str]] = {"train": self._entries_of(train), "test": self._entries_of(test)}
        if val_paths:
            lists.append(self._list("val", val_paths))
            entries["val"] = self._entries_of(lists[-1])
        else:
            known = set(entries["test"])
            left = [entry for entry in entries["train"] if entry not in known]
            entries["train"], entries["val"] = hold_out(left, [_run_of(entry) for entry in left], val_share, self.name)
        super().__init__(entries, lists)

    def _list(self, split: str, given: str) -> Path:
        if given:
            return find_list(self.root, given, f"{split}_paths", ())
        published = "eval_paths" if split == "test" else "train_paths"
        short = f"{published}_{self._year % 100}.csv" if isinstance(self._year, int) else ""
        names = [name for name in (short, f"{published}.csv") if name]
        return find_list(self.folder, "", f"{split}_paths", names)

    def _entries_of(self, path: Path) -> list[str]:
        """The list's entries of the year; entries that lie in no year's folder are of any."""
        entries = read_list(path)
        if isinstance(self._year, str):
            return entries
        others = set(YEARS.values()) - {YEARS[self._year]}
        return [entry for entry in entries if not others & set(PurePosixPath(entry).parts)]

    def locate(self, entry: str) -> Path:
        """The file of an entry of the lists, which are relative to MTLCC's folder."""
        inside = entry.removeprefix(f"{_CONVERTED}/")
        return self.folder / inside if inside != entry else self.root / entry

    def make(self, contents: Contents, entry: str) -> Sample:
        """The sample in a file.

        Raises:
            CropzooError: naming the file, where its parts are missing or don't fit.
        """
        arrays = {key: contents.numbers(key, (4,)) for key in BANDS}
        length, height, width, _ = arrays["x10"].shape
        for key, array in arrays.items():
            times = TIMES[key]
            contents.fit(key, array, (length, height // times, width // times, len(BANDS[key])))
            if height % times or width % times:
                raise contents.error(f"'x10' has {height} x {width} pixels, which {key!r} cannot cover")
        labels = contents.whole("labels", (2, 3))
        contents.fit("labels", labels, ((length, height, width) if labels.ndim == 3 else (height, width)))
        doy, year = contents.whole("day", (1,)), contents.whole("year", (1,))
        contents.fit("day", doy, (length,))
        contents.fit("year", year, (length,))
        days = days_since_1970(contents, doy, year)
        order = in_order(days)
        return Sample(
            series=_stack({key: array[order] for key, array in arrays.items()}),
            dates=days[order].astype(np.int32),
            labels=_steady(contents.labels("labels", labels, _LABELS)),
            name=f"{PurePosixPath(entry).parent.name}/{PurePosixPath(entry).stem}",
        )


def _run_of(entry: str) -> str:
    stem = PurePosixPath(entry).stem
    return str(int(stem) // _RUN) if stem.isdecimal() else stem


def _stack(arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """All bands on the grid of the first array, (T, C, H, W)."""
    fine = [enlarge(np.moveaxis(array, -1, 1), TIMES[key]) for key, array in arrays.items()]
    return np.concatenate(fine, axis=1)


def _steady(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels of all dates as one, 255 where they differ."""
    if labels.ndim == 2:
        return labels
    return np.where((labels == labels[0]).all(axis=0), labels[0], np.uint8(255))
