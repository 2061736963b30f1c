"""Readers of the tables of a dataset in the PASTIS format: description, classes, statistics and patches."""

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
from cropzoo.data.pastis.schema import (
    CLASSES_FILE,
    DESCRIPTION,
    METADATA,
    PatchRecord,
    Rotation,
    is_patch_id,
    make_rotations,
    statistics_file,
)
from cropzoo.data.running_stats import RunningStats
from cropzoo.data.sample import HEX_COLOR, IGNORE, LabelClass
from cropzoo.errors import CropzooError, quote
from cropzoo.geo.raster.dates import EPOCH
from cropzoo.geo.vector.fields import is_plain_integer
from cropzoo.geo.vector.longitudes import cut_at_180
from cropzoo.io import read_json, write_text


@dataclass(frozen=True)
class Description:
    """Content of dataset.json; `made_from` is None for PASTIS, which has no such file."""

    bands: tuple[str, ...]
    scale: float
    label_scale: int
    citation: str
    license: str
    made_from: Mapping[str, Any] | None
    rotations: tuple[Rotation, ...]

    def find_option(self, name: str) -> Any:
        """An option of `cropzoo prepare` that made the dataset; None if it is unknown."""
        options = (self.made_from or {}).get("options")
        return options.get(name) if isinstance(options, dict) else None


def read_description(folder: Path, sensor: str, folds: Sequence[int]) -> Description:
    """Read dataset.json; without that file, return the description of PASTIS.

    Args:
        folder: Folder of the dataset.
        sensor: "S2", or "S1A" or "S1D" of PASTIS-R.
        folds: Folds of the patches; they determine the number of rotations of PASTIS.

    Raises:
        CropzooError: The file is not valid, or has a later version.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        citation = pastis.CITATION if sensor == "S2" else pastis.S1_CITATION
        rotations = tuple(make_rotations(max(folds))) if max(folds) >= 3 else ()
        return Description(pastis.BANDS[sensor], pastis.SCALES[sensor], 1, citation, pastis.LICENSE, None, rotations)
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != 1:
        version = content.get("format") if isinstance(content, dict) else None
        raise CropzooError(
            f"{str(path)!r}; its format is {version!r}; this version reads format 1; use the version that wrote it"
        )

    def require(valid: bool, key: str, must: str) -> None:
        if not valid:
            raise CropzooError(f"{str(path)!r}; {key} is {content.get(key)!r}; it must be {must}; fix the file")

    bands: Any = content.get("bands")
    scale: Any = content.get("scale")
    finer = content.get("label_scale", 1)
    named = isinstance(bands, list) and bool(bands) and all(isinstance(band, str) and band for band in bands)
    require(named and len(set(bands)) == len(bands), "bands", "a list of distinct names")
    require(type(scale) in (int, float) and 0 < scale <= sys.float_info.max, "scale", "a number above 0")
    require(type(finer) is int and finer >= 1, "label_scale", "an integer >= 1")
    require(_are_rotations(content.get("rotations")), "rotations", "a list of disjoint folds for train, val and test")
    texts = {"citation": content.get("citation", ""), "license": content.get("license", content.get("licence", ""))}
    for key, text in texts.items():
        require(isinstance(text, str), key, "a text")
    made_from = content.get("made_from", {})
    require(isinstance(made_from, dict), "made_from", "a table")
    rotations = tuple({name: list(each[name]) for name in ("train", "val", "test")} for each in content["rotations"])
    return Description(tuple(bands), float(scale), finer, texts["citation"], texts["license"], made_from, rotations)


def _are_rotations(value: Any) -> bool:
    """Return whether the value is a list of rotations whose splits are disjoint: test folds must not be trained on."""
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
    """Read classes.csv: the classes by label index, without void; without that file, return the classes of PASTIS.

    Raises:
        CropzooError: The table is not valid; the message names the line.
    """
    path = folder / CLASSES_FILE
    if not path.is_file():
        return pastis.CLASSES
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CropzooError(f"{str(path)!r} cannot be read; {error}; copy or prepare the dataset again") from error
    classes = []
    # The crops are texts: they have no codes, and versions before 0.2 numbered them in that column.
    sources = [source for row in rows for source in (row.get("sources") or "").split(";") if source]
    named = not all(map(is_plain_integer, sources))
    for index, row in enumerate(rows):
        code, name, color = (row.get(key) or "" for key in ("code", "name", "color" if "color" in row else "colour"))
        void = index == len(rows) - 1
        right = row.get("index") == str(index) and bool(name) and bool(HEX_COLOR.fullmatch(color))
        if not right or not (code == "" if void else re.fullmatch(r"(-?[0-9]{1,19})?", code)):
            raise CropzooError(
                f"{str(path)!r}, line {index + 2}; columns index, code, name and color must be {index}, an "
                f"integer or nothing (nothing in the last line, void), a name and a color like '#7fb069'; they are "
                f"{', '.join(map(quote, (row.get('index') or '', code, name, color)))}; fix the table"
            )
        if not void:
            has_code = code and not (named and index)
            classes.append(LabelClass(name, int(code) if has_code else None, color))
    if not rows or len(classes) >= IGNORE or len({each.name for each in classes}) != len(classes):
        raise CropzooError(
            f"{str(path)!r}; it must have a line for each class, up to {IGNORE - 1}, with unique names, and a last "
            "line for void; fix the table"
        )
    return tuple(classes)


def read_statistics(
    folder: Path, sensor: str, folds: Sequence[int], counts: Mapping[int, int], bands: Sequence[str]
) -> RunningStats:
    """Read and pool the statistics of several folds, of stored values.

    Folds are weighted by their number of values, so the result is that of all patches together, including the variance
    between folds. (The published reader averages the means and deviations of the folds.)

    Args:
        folder: Folder of the dataset.
        sensor: Sensor of the statistics.
        folds: Folds to pool.
        counts: Number of values of a band in each fold, used if the file does not contain it, as in PASTIS.
        bands: Names of the bands.

    Raises:
        CropzooError: The file is missing, lacks a fold, or is not valid; or a band is constant.
    """
    path = statistics_file(folder, sensor)
    if not path.is_file():
        raise CropzooError(f"{str(path)!r} is missing; it contains the statistics of each fold; copy it again")
    content = read_json(path)
    pooled = RunningStats(len(bands))
    for fold in folds:
        entry = content.get(f"Fold_{fold}") if isinstance(content, dict) else None
        try:
            if entry is None:
                raise ValueError("it is missing")
            mean, std = ([float(value) for value in entry[key]] for key in ("mean", "std"))
            count = int(entry.get("count", counts.get(fold, 0)))
            if len(mean) != len(bands) or len(std) != len(bands):
                raise ValueError(f"it has {len(mean)} bands and the dataset has {len(bands)}")
            if not all(map(math.isfinite, (*mean, *std))) or min(std) < 0 or count < 0:
                raise ValueError("its numbers are not valid statistics")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CropzooError(
                f"{str(path)!r}, 'Fold_{fold}' cannot be used; {error}; copy or prepare the dataset again"
            ) from error
        pooled.merge(RunningStats.from_moments(count, mean, std))
    where = f"{str(path)!r}, folds {', '.join(map(str, folds))}"
    if pooled.count == 0:
        raise CropzooError(f"{where}; no pixel is clear; use other folds, or prepare the dataset with more images")
    constant = [name for name, std in zip(bands, pooled.std, strict=True) if not std > 0]
    if constant:
        raise CropzooError(
            f"{where}; {', '.join(constant)} have the same value in every clear pixel and cannot be normalized; use "
            "other folds, or prepare the dataset without them (--bands)"
        )
    return pooled


def write_metadata(folder: Path, patches: Sequence[PatchRecord]) -> None:
    """Write metadata.geojson with one feature per line, so that two versions can be compared."""
    features = ",\n".join(json.dumps(_to_feature(patch), allow_nan=False) for patch in patches)
    write_text(folder / METADATA, f'{{"type": "FeatureCollection", "features": [\n{features}\n]}}\n')


def read_metadata(folder: Path, sensor: str) -> list[tuple[PatchRecord, tuple[int, ...]]]:
    """Read metadata.geojson: the patches in order, each with the positions of its dates in the stored series.

    The `size` of a patch is (0, 0) if the file does not contain it, as in PASTIS.

    Raises:
        CropzooError: The file is missing or not valid, a date is not valid or repeated, or an id occurs twice.
    """
    path = folder / METADATA
    if not path.is_file():
        raise CropzooError(
            f"dataset {str(folder)!r}; it has no {METADATA}, so it is not a dataset in the PASTIS format, or "
            "writing it was interrupted; give the folder with that file, or finish it with `cropzoo prepare`"
        )
    content = read_json(path)
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list) or not features:
        raise CropzooError(f"{str(path)!r}; it has no features (patches); copy the dataset again")
    found = [_parse_feature(feature, number, sensor, path) for number, feature in enumerate(features)]
    seen: set[str] = set()
    for patch, _ in found:
        if patch.id in seen:
            raise CropzooError(f"{str(path)!r}; patch {patch.id!r} occurs twice; remove one of them")
        seen.add(patch.id)
    return found


def _to_feature(patch: PatchRecord) -> dict[str, Any]:
    # the published reader converts ids to integers; cropzoo allows text
    number = patch.id.isdecimal() and str(int(patch.id)) == patch.id
    days = [(EPOCH + timedelta(days=day)).strftime("%Y%m%d") for day in patch.dates]
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
    return {"type": "Feature", "properties": properties, "geometry": _make_outline(patch)}


def _make_outline(patch: PatchRecord) -> dict[str, Any] | None:
    """Return the outline of a patch in longitude and latitude; None if it is unknown."""
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
    ring = [(round(x, 7), round(y, 7)) for x, y in zip(longitudes, latitudes, strict=True)]
    if max(longitudes) - min(longitudes) <= 180:
        return {"type": "Polygon", "coordinates": [ring]}
    from shapely.geometry import Polygon, mapping

    outline: dict[str, Any] = mapping(cut_at_180(Polygon(ring)))
    return outline


def _parse_feature(feature: Any, number: int, sensor: str, path: Path) -> tuple[PatchRecord, tuple[int, ...]]:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(properties, dict):
        raise CropzooError(
            f"{str(path)!r}; feature {number} (counted from 0) has no properties; copy the dataset again"
        )
    name = str(properties.get("ID_PATCH", ""))
    if not is_patch_id(name):
        raise CropzooError(f"{str(path)!r}; feature {number} has ID_PATCH {name!r}, not a valid file name; fix it")
    where = f"{str(path)!r}, patch {name!r}"
    key = f"dates-{sensor}"
    if key not in properties:
        raise CropzooError(f"{where}; it has no {key}; only PASTIS-R has Sentinel-1 (S1A and S1D)")
    days, order = _parse_dates(properties[key], f"{where}; {key}")
    try:
        size = properties.get("size") or (0, 0)
        crs, transform = properties.get("crs"), properties.get("transform")
        year = properties.get("Year")
        patch = PatchRecord(
            id=name,
            fold=int(properties["Fold"]),
            dates=days,
            size=(int(size[0]), int(size[1])),
            place={"crs": str(crs), "transform": _parse_transform(transform)} if crs and transform else {},
            tile=str(properties.get("TILE") or ""),
            year=None if year is None else int(year),
            parcels=int(properties.get("N_Parcel") or 0),
            cover=float(properties.get("Parcel_Cover") or 0),
        )
        if patch.fold < 1 or (properties.get("size") and min(patch.size) < 1):
            raise ValueError("fold and size must be at least 1")
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise CropzooError(f"{where}; its properties are not valid ({error!r}); copy it again") from error
    return patch, order


def _parse_transform(values: Sequence[Any]) -> list[float]:
    a, b, c, d, e, f = (float(value) for value in values)
    if not all(map(math.isfinite, (a, b, c, d, e, f))):
        raise ValueError("its transform is not finite")
    return [a, b, c, d, e, f]


def _parse_dates(listed: Any, where: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return days since 1970-01-01, increasing, and the position of each in the stored series."""
    try:
        table = json.loads(listed) if isinstance(listed, str) else listed
        if not isinstance(table, Mapping) or not table:
            raise ValueError("it is not a table of dates")
        stored = [_parse_date(table[key]) for key in sorted(table, key=int)]  # keys are strings in lexicographic order
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CropzooError(f"{where} cannot be read; {error}; the format is {{'0': 20180917, ...}}") from error
    order = sorted(range(len(stored)), key=stored.__getitem__)
    days = tuple(stored[position] for position in order)
    for earlier, later in pairwise(days):
        if earlier == later:
            day = EPOCH + timedelta(days=earlier)
            raise CropzooError(f"{where} contains {day.isoformat()} twice; remove one of the two images")
    return days, tuple(order)


def _parse_date(value: Any) -> int:
    number = int(value)
    if isinstance(value, float) and value != number:
        raise ValueError(f"{value!r} is not a date")
    return (date(number // 10000, number // 100 % 100, number % 100) - EPOCH).days
