"""What is known of a patch without its pixels, and which folds train, choose and test."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cropzoo.data.sample import LabelClass
from cropzoo.errors import UsageError


@dataclass(frozen=True)
class Patch:
    """One square of a dataset on disk.

    Args:
        id: names its files, DATA_S2/S2_{id}.npy and so on.
        fold: which part of a cross-validation it belongs to, from 1.
        dates: days since 1970-01-01, increasing.
        size: height and width of the series in pixels.
        place: where it lies, as in `cropzoo.Sample`; empty if unknown.
        tile: the tile of its images, such as "31UFS"; empty if unknown.
        year: of the harvest; None if unknown.
        parcels: parcels that it has a part of.
        cover: share of its pixels that a parcel holds, 0 to 1.
    """

    id: str
    fold: int
    dates: tuple[int, ...]
    size: tuple[int, int]
    place: dict[str, Any] = field(default_factory=dict)
    tile: str = ""
    year: int | None = None
    parcels: int = 0
    cover: float = 0.0


Rotation = dict[str, list[int]]
"""The folds of "train", "val" and "test"."""


def rotations(folds: int) -> list[Rotation]:
    """The ways to deal folds 1 to `folds`: the k-th trains from k on, the last two in the circle are val and test.

    With five folds these are the rotations of PASTIS: 123/4/5, 234/5/1, 345/1/2, 451/2/3, 512/3/4.

    Raises:
        UsageError: fewer than three folds, too few for three splits.

    Source: Garnot and Landrieu 2021, arXiv:2107.07933.
    """
    if folds < 3:
        raise UsageError(f"rotations of {folds!r} folds; train, val and test need one each; use 3 folds or more")
    circles = [[(first + step) % folds + 1 for step in range(folds)] for first in range(folds)]
    return [{"train": circle[:-2], "val": circle[-2:-1], "test": circle[-1:]} for circle in circles]


METADATA = "metadata.geojson"
"""Written last: a folder without it is no dataset."""

DESCRIPTION = "dataset.json"
CLASSES_FILE = "classes.csv"

SENSORS = ("S2", "S1A", "S1D")
"""Sentinel-2, and Sentinel-1 on ascending and on descending orbits."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
"""File systems take names of 255 bytes."""


def is_id(text: str) -> bool:
    """Whether it can stand in a file name: letters, digits, "_", "-" and ".", so that no path leads out of a folder."""
    return bool(_ID.fullmatch(text)) and ".." not in text


def series_file(folder: Path, patch: str, sensor: str = "S2") -> Path:
    """(T, C, H, W), as stored."""
    return folder / f"DATA_{sensor}" / f"{sensor}_{patch}.npy"


def clear_file(folder: Path, patch: str) -> Path:
    """Bool (T, H, W), False = cloud, shadow or no data; cropzoo's own, and optional."""
    return folder / "DATA_CLEAR" / f"CLEAR_{patch}.npy"


def labels_file(folder: Path, patch: str) -> Path:
    """(1 or more, sH, sW): channel 0 holds class indices, the number of classes stands for void."""
    return folder / "ANNOTATIONS" / f"TARGET_{patch}.npy"


def parcels_file(folder: Path, patch: str) -> Path:
    """(sH, sW) parcel ids, 0 = none; optional."""
    return folder / "ANNOTATIONS" / f"ParcelIDs_{patch}.npy"


def statistics_file(folder: Path, sensor: str = "S2") -> Path:
    """{"Fold_k": {"mean": [...], "std": [...]}} of stored units, of fold k's own patches."""
    return folder / f"NORM_{sensor}_patch.json"


S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
S1_BANDS = ("VV", "VH", "VV/VH")
BANDS = {"S2": S2_BANDS, "S1A": S1_BANDS, "S1D": S1_BANDS}

SCALES = {"S2": 1e-4, "S1A": 1.0, "S1D": 1.0}
"""Reflectance of a stored unit of Sentinel-2; backscatter stands in the files as it is."""

CLASSES = tuple(
    LabelClass(name, code, color)
    for code, (name, color) in enumerate(
        (
            ("background", "#4d4a44"),
            ("meadow", "#7fb069"),
            ("soft winter wheat", "#e8c547"),
            ("corn", "#f08a24"),
            ("winter barley", "#c9a227"),
            ("winter rapeseed", "#f6e71d"),
            ("spring barley", "#dfc98a"),
            ("sunflower", "#ffb000"),
            ("grapevine", "#7b2d5b"),
            ("beet", "#c2407a"),
            ("winter triticale", "#a68a3a"),
            ("winter durum wheat", "#b5651d"),
            ("fruits, vegetables, flowers", "#e0526a"),
            ("potatoes", "#8a5a44"),
            ("leguminous fodder", "#3f9c6d"),
            ("soybeans", "#1f6f54"),
            ("orchard", "#2f7f9e"),
            ("mixed cereal", "#d9b99b"),
            ("sorghum", "#a3402a"),
        )
    )
)
"""Background and 18 crops; 19 in the files is void."""

CITATION = (
    "PASTIS: Garnot and Landrieu, Panoptic Segmentation of Satellite Image Time Series with Convolutional Temporal "
    "Attention Networks, ICCV 2021, doi:10.1109/ICCV48922.2021.00483"
)
S1_CITATION = (
    f"{CITATION}; PASTIS-R: Garnot, Landrieu and Chehata, Multi-modal temporal attention models for crop mapping from "
    "satellite time series, ISPRS Journal 2022, doi:10.1016/j.isprsjprs.2022.03.012"
)
LICENSE = "etalab-2.0"
