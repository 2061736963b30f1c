"""What cropzoo knows of single classes of torchgeo: bands to start with, names of classes, codes that mean no data."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cropzoo_plugins.datasets.sites.classes import read_table

BANDS: Mapping[str, tuple[str, ...]] = {
    # of torchgeo's thirteen, B01, B09 and B10 show the air, and surface reflectance (L2A) has no B10 at all
    "Sentinel2": ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
}
"""Bands that are read unless others are asked for; of a class that is not here, torchgeo's own choice."""

NO_DATA: Mapping[str, tuple[int, ...]] = {"NCCM": (4,)}
"""Codes by which a class of torchgeo says that it knows nothing of a pixel."""

_NCCM = {0: "paddy rice", 1: "maize", 2: "soybean", 3: "other crops and lands"}


def class_names(kind: str, labels: Any) -> dict[int, str]:
    """Names by code, as far as they are known; `labels` is the dataset of that class of torchgeo.

    Source: CDL's are those of its publisher's table, https://www.nass.usda.gov/Research_and_Science/Cropland;
        EuroCrops' stand in the HCAT table beside its files.
    """
    if kind == "CDL":
        return {entry.code: entry.name for entry in read_table(Path(__file__).with_name("cdl.csv"))}
    if kind == "NCCM":
        return dict(_NCCM)
    if kind == "EuroCrops":
        return _hcat_names(Path(labels.paths) / labels.hcat_fname, labels.hcat_code_column)
    return {}


def _hcat_names(path: Path, code_column: str) -> dict[int, str]:
    """Names of the HCAT table, from the first column that is called a name; none without such a column or the file."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        column = next((name for name in reader.fieldnames or () if name and "name" in name.lower()), None)
        if column is None:
            return {}
        return {int(row[code_column]): row[column].replace("_", " ") for row in reader if row[code_column].isdigit()}
