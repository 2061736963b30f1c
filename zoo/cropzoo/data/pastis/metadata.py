"""Reading the small files of a dataset: its description, its classes, the statistics of its folds."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from cropzoo.data.pastis import schema as pastis
from cropzoo.data.pastis.schema import CLASSES_FILE as CLASSES
from cropzoo.data.pastis.schema import DESCRIPTION, METADATA, Patch, Rotation, is_id, rotations, statistics_file
from cropzoo.data.running_stats import RunningStats
from cropzoo.data.sample import IGNORE, LabelClass
from cropzoo.errors import CropzooError
from cropzoo.io import read_json, write_text

_COLOR = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Description:
    """What dataset.json tells; `made_from` is None for PASTIS itself, which has no such file."""

    bands: tuple[str, ...]
    scale: float
    label_scale: int
    citation: str
    license: str
    made_from: Mapping[str, Any] | None
    rotations: tuple[Rotation, ...]


def read_description(folder: Path, sensor: str, folds: Sequence[int]) -> Description:
    """What dataset.json tells, or the facts of PASTIS where there is none.

    Args:
        folder: of the dataset.
        sensor: "S2", or "S1A" or "S1D" of PASTIS-R.
        folds: those that patches are in; the rotations of PASTIS are made of as many.

    Raises:
        CropzooError: a file that does not hold what it must, or is of a later version.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        citation = pastis.CITATION if sensor == "S2" else pastis.S1_CITATION
        dealt = tuple(rotations(max(folds))) if max(folds) >= 3 else ()
        return Description(pastis.BANDS[sensor], pastis.SCALES[sensor], 1, citation, pastis.LICENSE, None, dealt)
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != 1:
        version = content.get("format") if isinstance(content, dict) else None
        raise CropzooError(f"{str(path)!r}; its format is {version!r}; this version reads 1; use the one that wrote it")

    def need(holds: bool, key: str, must: str) -> None:
        if not holds:
            raise CropzooError(f"{str(path)!r}; {key} is {content.get(key)!r}; it must be {must}; mend the file")

    bands: Any = content.get("bands")
    scale: Any = content.get("scale")
    finer = content.get("label_scale", 1)
    named = isinstance(bands, list) and bool(bands) and all(isinstance(band, str) and band for band in bands)
    need(named and len(set(bands)) == len(bands), "bands", "a list of distinct names")
    need(type(scale) in (int, float) and 0 < scale <= sys.float_info.max, "scale", "a number above 0")
    need(type(finer) is int and finer >= 1, "label_scale", "a whole number from 1")
    need(_are_rotations(content.get("rotations")), "rotations", "a list of folds for train, val and test, none in two")
    texts = {"citation": content.get("citation", ""), "license": content.get("license", content.get("licence", ""))}
    for key, text in texts.items():
        need(isinstance(text, str), key, "a text")
    made_from = content.get("made_from", {})
    need(isinstance(made_from, dict), "made_from", "a table")
    dealt = tuple({name: list(each[name]) for name in ("train", "val", "test")} for each in content["rotations"])
    return Description(tuple(bands), float(scale), finer, texts["citation"], texts["license"], made_from, dealt)


def _are_rotations(value: Any) -> bool:
    """Whether no fold of a rotation is in two of its splits: what is tested must never have been learnt."""
    if not isinstance(value, list) or not value:
        return False
    for each in value:
        if not isinstance(each, dict) or not all(isinstance(each.get(name), list) for name in ("train", "val", "test")):
            return False
        folds = [fold for name in ("train", "val", "test") for fold in each[name]]
        if (
            not each["train"]
            or len(set(map(repr, folds))) != len(folds)
            or not all(type(fold) is int for fold in folds)
        ):
            return False
    return True


def read_classes(folder: Path) -> tuple[LabelClass, ...]:
    """The classes by label index, without void; those of PASTIS where there is no classes.csv.

    Raises:
        CropzooError: a table that is not what it must be, naming the line.
    """
    path = folder / CLASSES
    if not path.is_file():
        return pastis.CLASSES
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CropzooError(f"{str(path)!r} cannot be read; {error}; copy or prepare the dataset again") from error
    classes = []
    for index, row in enumerate(rows):
        code, name, color = (row.get(key) or "" for key in ("code", "name", "color" if "color" in row else "colour"))
        void = index == len(rows) - 1
        right = row.get("index") == str(index) and bool(name) and bool(_COLOR.fullmatch(color))
        if not right or not (code == "" if void else re.fullmatch(r"-?[0-9]{1,18}", code)):
            raise CropzooError(
                f"{str(path)!r}, line {index + 2}; columns index, code, name and color must hold {index}, a whole "
                f"number (nothing in the last line, void), a name and a color like '#7fb069'; they hold "
                f"{row.get('index')!r}, {code!r}, {name!r}, {color!r}; mend the table"
            )
        if not void:
            classes.append(LabelClass(name, int(code), color))
    if not rows or len(classes) >= IGNORE or len({each.name for each in classes}) != len(classes):
        raise CropzooError(
            f"{str(path)!r}; it must have a line for each class, up to {IGNORE - 1}, all names different, and one for "
            "void at its end; mend the table"
        )
    return tuple(classes)


def read_statistics(
    folder: Path, sensor: str, folds: Sequence[int], counts: Mapping[int, int], bands: int
) -> RunningStats:
    """Those of several folds together, of stored units.

    Each fold counts by its number of values, so that the result is that of all its patches at once; the spread between
    folds is part of it. (The published reader takes the plain mean of the folds' means and deviations.)

    Args:
        folder: of the dataset.
        sensor: whose statistics.
        folds: which ones.
        counts: values of a band in each fold, used where the file does not tell, as PASTIS's own does not.
        bands: how many there must be.

    Raises:
        CropzooError: no such file, a fold that it lacks, numbers that are no statistics.
    """
    path = statistics_file(folder, sensor)
    if not path.is_file():
        raise CropzooError(f"{str(path)!r} is missing; it should hold the statistics of each fold; copy it again")
    content = read_json(path)
    pooled = RunningStats(bands)
    for fold in folds:
        entry = content.get(f"Fold_{fold}") if isinstance(content, dict) else None
        try:
            if entry is None:
                raise ValueError("it is not there")
            mean, std = ([float(value) for value in entry[key]] for key in ("mean", "std"))
            count = int(entry.get("count", counts.get(fold, 0)))
            if len(mean) != bands or len(std) != bands:
                raise ValueError(f"it is of {len(mean)} bands and the dataset has {bands}")
            if not all(map(math.isfinite, (*mean, *std))) or min(std) < 0 or count < 0:
                raise ValueError("it holds numbers that are no statistics")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CropzooError(
                f"{str(path)!r}, 'Fold_{fold}' cannot be used; {error}; copy or prepare the dataset again"
            ) from error
        pooled.merge(RunningStats.described(count, mean, std))
    if pooled.count == 0 or not (pooled.std > 0).all():
        raise CropzooError(
            f"{str(path)!r}; folds {', '.join(map(str, folds))} have a band without spread, or no clear pixel; "
            "use other folds, or prepare the dataset again with more images"
        )
    return pooled


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
