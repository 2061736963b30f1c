"""Generator of a tiny PASTIS-R: random pixels, five folds, Sentinel-1 in both orbits."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SENSORS = {"S2": (10, np.int16), "S1A": (3, np.float32), "S1D": (3, np.float32)}
FIRST = date(2018, 9, 17)
VOID = 19


@dataclass
class Made:
    """Written dataset.

    Args:
        folder: Folder with metadata.geojson.
        series: Series by sensor and id, (T, C, H, W).
        labels: Labels by id, (H, W), 19 = void.
        parcels: Parcel ids by id of the patch, (H, W).
        days: Dates by sensor and id.
        folds: Fold by id.
    """

    folder: Path
    series: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    labels: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    parcels: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    days: dict[str, dict[str, list[date]]] = field(default_factory=dict)
    folds: dict[str, int] = field(default_factory=dict)


def make_pastis(
    folder: Path,
    patches: int = 10,
    size: int = 16,
    *,
    dates: int = 6,
    seed: int = 0,
    sensors: tuple[str, ...] = ("S2", "S1A", "S1D"),
    norm: bool = True,
    dates_as_text: bool = False,
) -> Made:
    """Write patches 10000, 10001, ... with folds 1 to 5 in turn.

    Args:
        folder: becomes the unpacked PASTIS-R.
        patches: how many.
        size: pixels on a side; 128 in the real one.
        dates: of the longest series; every other patch has one less, as lengths differ in the real one.
        seed: of all values.
        sensors: which ones; PASTIS without Sentinel-1 has "S2" alone.
        norm: write the files of statistics.
        dates_as_text: the dates as a JSON string, as some releases have them.
    """
    rng = np.random.default_rng(seed)
    made = Made(folder, {each: {} for each in sensors}, days={each: {} for each in sensors})
    features = []
    for number in range(patches):
        name = str(10000 + number)
        made.folds[name] = number % 5 + 1
        properties: dict[str, Any] = {"ID_PATCH": 10000 + number, "Fold": made.folds[name], "TILE": "t30uxv"}
        for sensor in sensors:
            bands, dtype = SENSORS[sensor]
            length = dates - number % 2
            days = [FIRST + timedelta(days=10 * step + number % 3) for step in range(length)]
            made.days[sensor][name] = days
            values = rng.normal(2000 + 500 * number, 800, (length, bands, size, size)).clip(-100, 12000)
            made.series[sensor][name] = values.astype(dtype) if sensor == "S2" else (values / -200).astype(dtype)
            # The real file lists them in the order of a text: "0", "1", "10", "2".
            listed = {key: int(days[int(key)].strftime("%Y%m%d")) for key in sorted(map(str, range(length)))}
            properties[f"dates-{sensor}"] = json.dumps(listed) if dates_as_text else listed
            save(folder / f"DATA_{sensor}" / f"{sensor}_{name}.npy", made.series[sensor][name])
        made.labels[name] = rng.integers(0, VOID + 1, (size, size)).astype(np.uint8)
        made.labels[name][0, :2] = 0, VOID
        made.parcels[name] = rng.integers(0, 9, (size, size)).astype(np.int32)
        more = rng.integers(0, 200, (2, size, size)).astype(np.uint8)
        save(folder / "ANNOTATIONS" / f"TARGET_{name}.npy", np.concatenate([made.labels[name][None], more]))
        save(folder / "ANNOTATIONS" / f"ParcelIDs_{name}.npy", made.parcels[name])
        properties |= {"N_Parcel": 8, "Parcel_Cover": 0.9}
        square = [[x, y] for x, y in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))]
        features.append({"type": "Feature", "properties": properties, "geometry": polygon(square)})
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::2154"}}
    write(folder / "metadata.geojson", {"type": "FeatureCollection", "crs": crs, "features": features})
    if norm:
        for sensor in sensors:
            write(folder / f"NORM_{sensor}_patch.json", statistics(made, sensor))
    return made


def statistics(made: Made, sensor: str) -> dict[str, Any]:
    """Return mean and standard deviation of each fold, without counts."""
    table = {}
    for fold in sorted(set(made.folds.values())):
        series = [made.series[sensor][name] for name, mine in made.folds.items() if mine == fold]
        values = np.concatenate([each.transpose(1, 0, 2, 3).reshape(each.shape[1], -1) for each in series], axis=1)
        numbers = values.astype(np.float64)
        table[f"Fold_{fold}"] = {"mean": numbers.mean(axis=1).tolist(), "std": numbers.std(axis=1).tolist()}
    return table


def polygon(ring: list[list[int]]) -> dict[str, Any]:
    """Return a GeoJSON geometry."""
    return {"type": "Polygon", "coordinates": [ring]}


def save(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy file and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def write(path: Path, value: Any) -> None:
    """Write a JSON file and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
