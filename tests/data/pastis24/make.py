"""Generator of a tiny PASTIS24 in the published format: random pixels, five folds, sorted days of the year."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST = date(2018, 9, 17)
VOID = 19


@dataclass
class Made:
    """Written dataset, by path relative to the folder.

    Args:
        folder: holds fold-paths/.
        series: (T, 10, H, W) in the order of the real dates.
        days: the real dates.
        labels: (H, W), 19 = void.
        folds: of each sample.
    """

    folder: Path
    series: dict[str, NDArray[np.int16]] = field(default_factory=dict)
    days: dict[str, list[date]] = field(default_factory=dict)
    labels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    folds: dict[str, int] = field(default_factory=dict)


def make_pastis24(
    folder: Path,
    patches: int = 10,
    windows: int = 2,
    size: int = 24,
    *,
    step: int = 73,
    metadata: bool = True,
    channels: bool = False,
    seed: int = 0,
) -> Made:
    """Write patches 10000, 10001, ... with folds 1 to 5 in turn.

    Args:
        folder: becomes the unpacked PASTIS24.
        patches: how many.
        windows: samples of a patch.
        size: pixels on a side.
        step: days between images, from 17 September 2018 to November 2019; at 73 one day of the year comes twice.
        metadata: put PASTIS's metadata.geojson next to it.
        channels: write labels with channels before them, as (3, H, W).
        seed: of all values.
    """
    made, rng = Made(folder), np.random.default_rng(seed)
    (folder / "pickle24x24").mkdir(parents=True)
    (folder / "fold-paths").mkdir()
    features = []
    for number in range(patches):
        fold = number % 5 + 1
        days = [FIRST + timedelta(days=day + number) for day in range(0, 400, step)]
        doys = np.array([day.timetuple().tm_yday for day in days])
        order = np.argsort(doys, kind="stable")
        for window in range(windows):
            path = f"pickle24x24/{10000 + number}_{window}.pickle"
            series = rng.integers(0, 9000, (len(days), 10, size, size)).astype(np.int16)
            labels = rng.integers(0, VOID + 1, (size, size))
            stored: NDArray[Any] = np.stack([labels, labels * 0, labels * 0]) if channels else labels
            content = {"img": series[order], "labels": stored.astype(np.uint8), "doy": doys[order]}
            (folder / path).write_bytes(pickle.dumps(content))
            made.series[path], made.days[path], made.labels[path], made.folds[path] = series, days, labels, fold
        dates = {str(position): int(day.strftime("%Y%m%d")) for position, day in enumerate(days)}
        properties = {"ID_PATCH": 10000 + number, "Fold": fold, "dates-S2": dates, "TILE": "t30uxv"}
        features.append({"type": "Feature", "properties": properties, "geometry": None})
    if metadata:
        (folder / "metadata.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    write_lists(made)
    return made


def write_lists(made: Made) -> None:
    """Write the lists as published: three folds in one list, and each fold in a list."""
    for fold in range(1, 6):
        three = [(fold + step - 1) % 5 + 1 for step in range(3)]
        _write(made, f"folds_{fold}_{''.join(map(str, three))}_paths.csv", three)
        _write(made, f"fold_{fold}_paths.csv", [fold])


def _write(made: Made, name: str, folds: list[int]) -> None:
    paths = [path for path, fold in made.folds.items() if fold in folds]
    (made.folder / "fold-paths" / name).write_text("\n".join(paths) + "\n")
