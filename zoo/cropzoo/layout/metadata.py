"""`metadata.geojson`: a feature for each patch, as PASTIS has it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from cropzoo.errors import CropzooError
from cropzoo.files import read_json, write_text
from cropzoo.layout.names import METADATA, is_id
from cropzoo.layout.patches import Patch

_EPOCH = date(1970, 1, 1)


def write_metadata(folder: Path, patches: Sequence[Patch]) -> None:
    """Write the file; a feature a line, so that two versions can be compared."""
    features = ",\n".join(json.dumps(_feature(patch), allow_nan=False) for patch in patches)
    write_text(folder / METADATA, f'{{"type": "FeatureCollection", "features": [\n{features}\n]}}\n')


def read_metadata(folder: Path, sensor: str) -> list[tuple[Patch, tuple[int, ...]]]:
    """The patches in the order of the file, each with the positions of its dates in the stored series.

    A patch's `size` is (0, 0) where the file does not tell it, as PASTIS's own does not.

    Raises:
        CropzooError: no such file, one that is no table of patches, dates that are no days or repeat, an id twice.
    """
    path = folder / METADATA
    if not path.is_file():
        raise CropzooError(
            f"dataset {str(folder)!r}; it has no {METADATA}, so it is no dataset in the layout of PASTIS, or its "
            "writing was cut off; give the folder that holds it, or finish it with `cropzoo prepare`"
        )
    content = read_json(path)
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list) or not features:
        raise CropzooError(f"{str(path)!r}; it holds no features, so no patches; copy the dataset again")
    found = [_patch(feature, number, sensor, path) for number, feature in enumerate(features)]
    seen: set[str] = set()
    for patch, _ in found:
        if patch.id in seen:
            raise CropzooError(f"{str(path)!r}; patch {patch.id!r} stands there twice; leave one of them out")
        seen.add(patch.id)
    return found


def _feature(patch: Patch) -> dict[str, Any]:
    # the published reader turns ids into integers; ours may be words
    number = patch.id.isdecimal() and str(int(patch.id)) == patch.id
    days = [(_EPOCH + timedelta(days=day)).strftime("%Y%m%d") for day in patch.dates]
    properties: dict[str, Any] = {
        "ID_PATCH": int(patch.id) if number else patch.id,
        "Fold": patch.fold,
        "dates-S2": {str(position): int(day) for position, day in enumerate(days)},
        "TILE": patch.tile,
        "N_Parcel": patch.parcels,
        "Parcel_Cover": patch.cover,
        "size": list(patch.size),
    }
    if patch.year is not None:
        properties["Year"] = patch.year
    if patch.place:
        properties["crs"] = patch.place["crs"]
        properties["transform"] = [float(value) for value in patch.place["transform"]]
    return {"type": "Feature", "properties": properties, "geometry": _outline(patch)}


def _outline(patch: Patch) -> dict[str, Any] | None:
    """The patch's square in longitude and latitude; None where it can't be told."""
    if not patch.place:
        return None
    from rasterio.errors import CRSError
    from rasterio.warp import transform

    a, b, c, d, e, f = patch.place["transform"]
    height, width = patch.size
    corners = [(0, 0), (height, 0), (height, width), (0, width), (0, 0)]
    eastings = [a * column + b * row + c for row, column in corners]
    northings = [d * column + e * row + f for row, column in corners]
    try:
        longitudes, latitudes = transform(patch.place["crs"], "EPSG:4326", eastings, northings)[:2]
    except CRSError:
        return None
    ring = [[round(x, 7), round(y, 7)] for x, y in zip(longitudes, latitudes, strict=True)]
    return {"type": "Polygon", "coordinates": [ring]}


def _patch(feature: Any, number: int, sensor: str, path: Path) -> tuple[Patch, tuple[int, ...]]:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(properties, dict):
        raise CropzooError(
            f"{str(path)!r}; feature {number} (counted from 0) has no properties; copy the dataset again"
        )
    name = str(properties.get("ID_PATCH", ""))
    if not is_id(name):
        raise CropzooError(f"{str(path)!r}; feature {number} has ID_PATCH {name!r}, which can name no file; mend it")
    where = f"{str(path)!r}, patch {name!r}"
    key = f"dates-{sensor}"
    if key not in properties:
        raise CropzooError(f"{where}; it has no {key}; only PASTIS-R has Sentinel-1, in S1A and S1D")
    days, order = _days(properties[key], f"{where}; {key}")
    try:
        size = properties.get("size") or (0, 0)
        crs, transform = properties.get("crs"), properties.get("transform")
        year = properties.get("Year")
        patch = Patch(
            id=name,
            fold=int(properties["Fold"]),
            dates=days,
            size=(int(size[0]), int(size[1])),
            place={"crs": str(crs), "transform": _six(transform)} if crs and transform else {},
            tile=str(properties.get("TILE") or ""),
            year=None if year is None else int(year),
            parcels=int(properties.get("N_Parcel") or 0),
            cover=float(properties.get("Parcel_Cover") or 0),
        )
        if patch.fold < 1 or (properties.get("size") and min(patch.size) < 1):
            raise ValueError("its fold and its size must be from 1")
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise CropzooError(f"{where}; its properties are not those of a patch ({error!r}); copy it again") from error
    return patch, order


def _six(values: Sequence[Any]) -> list[float]:
    a, b, c, d, e, f = (float(value) for value in values)
    if not all(map(math.isfinite, (a, b, c, d, e, f))):
        raise ValueError("its transform is not finite")
    return [a, b, c, d, e, f]


def _days(listed: Any, where: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Days since 1970-01-01, increasing, and the position of each in the stored series."""
    try:
        table = json.loads(listed) if isinstance(listed, str) else listed
        if not isinstance(table, Mapping) or not table:
            raise ValueError("it is no table of dates")
        stored = [_day(table[key]) for key in sorted(table, key=int)]  # keys are texts, in the order of a text
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CropzooError(f"{where} cannot be read; {error}; it must be like {{'0': 20180917, ...}}") from error
    order = sorted(range(len(stored)), key=stored.__getitem__)
    days = tuple(stored[position] for position in order)
    for earlier, later in pairwise(days):
        if earlier == later:
            day = _EPOCH + timedelta(days=earlier)
            raise CropzooError(f"{where} holds {day.isoformat()} twice; leave one of the two images out")
    return days, tuple(order)


def _day(value: Any) -> int:
    number = int(value)
    if isinstance(value, float) and value != number:
        raise ValueError(f"{value!r} is no day")
    return (date(number // 10000, number // 100 % 100, number % 100) - _EPOCH).days
