"""File names, bands, classes and folds of the PASTIS format."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cropzoo.data.sample import LabelClass
from cropzoo.errors import UsageError


@dataclass(frozen=True)
class PatchRecord:
    """Metadata of one patch, without its pixels.

    Args:
        id: Id of the patch, part of its file names such as DATA_S2/S2_{id}.npy.
        fold: Cross-validation fold, from 1.
        dates: Days since 1970-01-01, increasing.
        size: Height and width of the series in pixels.
        place: Georeference, as in `cropzoo.Sample`; empty if unknown.
        tile: Tile of its images, such as "31UFS"; empty if unknown.
        year: Year of the harvest; None if unknown.
        parcels: Number of parcels in the patch.
        cover: Share of its pixels in parcels, 0 to 1.
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
"""Folds of "train", "val" and "test"."""


def make_rotations(folds: int) -> list[Rotation]:
    """Return the assignments of folds to splits: rotation k trains from fold k on; the last two are val and test.

    With five folds these are the rotations of PASTIS: 123/4/5, 234/5/1, 345/1/2, 451/2/3, 512/3/4.

    Raises:
        UsageError: There are fewer than three folds.

    Source: Garnot and Landrieu 2021, arXiv:2107.07933.
    """
    if folds < 3:
        raise UsageError(f"rotations of {folds!r} folds; train, val and test need one each; use 3 folds or more")
    orders = [[(first + step) % folds + 1 for step in range(folds)] for first in range(folds)]
    return [{"train": order[:-2], "val": order[-2:-1], "test": order[-1:]} for order in orders]


METADATA = "metadata.geojson"
"""Index of the dataset. It is written last: a folder without it is not a dataset."""

DESCRIPTION = "dataset.json"
CLASSES_FILE = "classes.csv"

SENSORS = ("S2", "S1A", "S1D")
"""Sentinel-2, and Sentinel-1 in ascending and descending orbits."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
"""Pattern of an id; file systems limit names to 255 bytes."""


def is_patch_id(text: str) -> bool:
    """Return whether a text is a valid patch id: letters, digits, "_", "-" and "."; ids cannot form paths."""
    return bool(_ID.fullmatch(text)) and ".." not in text


def series_file(folder: Path, patch: str, sensor: str = "S2") -> Path:
    """Return the path of a series, (T, C, H, W), as stored."""
    return folder / f"DATA_{sensor}" / f"{sensor}_{patch}.npy"


def clear_file(folder: Path, patch: str) -> Path:
    """Return the path of a cloud mask, (T, H, W) bool, False = not clear; an optional extension by cropzoo."""
    return folder / "DATA_CLEAR" / f"CLEAR_{patch}.npy"


def labels_file(folder: Path, patch: str) -> Path:
    """Return the path of labels, (channels, sH, sW): channel 0 has class indices; void is the number of classes."""
    return folder / "ANNOTATIONS" / f"TARGET_{patch}.npy"


def parcels_file(folder: Path, patch: str) -> Path:
    """Return the path of parcel ids, (sH, sW), 0 = none; optional."""
    return folder / "ANNOTATIONS" / f"ParcelIDs_{patch}.npy"


def statistics_file(folder: Path, sensor: str = "S2") -> Path:
    """Return the path of {"Fold_k": {"mean": [...], "std": [...]}}, the statistics of stored values in each fold."""
    return folder / f"NORM_{sensor}_patch.json"


S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
S1_BANDS = ("VV", "VH", "VV/VH")
BANDS = {"S2": S2_BANDS, "S1A": S1_BANDS, "S1D": S1_BANDS}

SCALES = {"S2": 1e-4, "S1A": 1.0, "S1D": 1.0}
"""Reflectance of one stored unit for Sentinel-2; backscatter is stored unscaled."""

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
"""Background and 18 crops of PASTIS; 19 in the files is void."""

CITATION = (
    "PASTIS: Garnot and Landrieu, Panoptic Segmentation of Satellite Image Time Series with Convolutional Temporal "
    "Attention Networks, ICCV 2021, doi:10.1109/ICCV48922.2021.00483"
)
S1_CITATION = (
    f"{CITATION}; PASTIS-R: Garnot, Landrieu and Chehata, Multi-modal temporal attention models for crop mapping from "
    "satellite time series, ISPRS Journal 2022, doi:10.1016/j.isprsjprs.2022.03.012"
)
LICENSE = "etalab-2.0"
