"""Names of the files of a dataset on disk."""

from __future__ import annotations

import re
from pathlib import Path

METADATA = "metadata.geojson"
"""Written last: a folder without it is no dataset."""

DESCRIPTION = "dataset.json"
CLASSES = "classes.csv"

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
