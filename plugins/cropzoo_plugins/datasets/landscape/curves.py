"""Measured crop curves: reflectance by class, month and band."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from cropzoo import LabelClass
from cropzoo_plugins.datasets.landscape.noise import Floats

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")

COLORS = (
    "#b3b3b3",
    "#e6c229",
    "#f17105",
    "#c9a66b",
    "#8c5a2b",
    "#00a6a6",
    "#7b4fa3",
    "#2a6fdb",
    "#d11149",
    "#5aa02c",
)

_YEAR = 365.25


@dataclass(frozen=True)
class CurveTable:
    """Reflectance statistics by class, month and band, each (K, 12, C).

    Args:
        classes: Classes by index.
        mean: Mean of clear interior pixels.
        between: Standard deviation between parcels and dates.
        within: Standard deviation within a parcel.
    """

    classes: tuple[LabelClass, ...]
    mean: Floats
    between: Floats
    within: Floats


@cache
def read_curves() -> CurveTable:
    """Read curves.csv and fill its gaps.

    A month without a measurement is the mean of its neighbors. The standard deviation between the parcels of a class is
    unreliable if there are only one or two, so it is clipped to 0.6 to 1.6 times the median over the classes.
    """
    text = (files("cropzoo_plugins.datasets.landscape") / "curves.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    codes = sorted({int(row["crop_code"]) for row in rows})
    names = {int(row["crop_code"]): row["crop_name"].lower().replace("grass crops", "grass") for row in rows}
    figures = np.full((3, len(codes), 12, len(BANDS)), np.nan)
    for row in rows:
        place = codes.index(int(row["crop_code"])), int(row["month"]) - 1, BANDS.index(row["band"])
        for kind, column in enumerate(("mean", "std_between", "std_within")):
            figures[(kind, *place)] = float(row[column])
    around = (np.roll(figures, 1, axis=2) + np.roll(figures, -1, axis=2)) / 2
    mean, between, within = np.where(np.isnan(figures), around, figures)
    typical = np.median(between, axis=0)
    between = np.clip(between, 0.6 * typical, 1.6 * typical)
    classes = tuple(LabelClass(names[code], code, color) for code, color in zip(codes, COLORS, strict=True))
    return CurveTable(classes, mean, between, within)


def compute_month_weights(days: Floats) -> Floats:
    """Return the weights of the twelve months on days of the year: periodic linear interpolation between mid-months.

    Args:
        days: Day of the year, any real number, any shape.

    Returns:
        Weights that add up to 1, (..., 12).
    """
    position = days[..., None] / _YEAR * 12 - 0.5
    distance = np.abs((position - np.arange(12) + 6) % 12 - 6)
    return np.asarray(np.clip(1 - distance, 0, None))
