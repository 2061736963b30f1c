"""Reading the small files of a dataset: its description, its classes, the statistics of its folds."""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cropzoo.errors import CropzooError
from cropzoo.files import read_json
from cropzoo.layout import pastis
from cropzoo.layout.names import CLASSES, DESCRIPTION, statistics_file
from cropzoo.layout.patches import Rotation, rotations
from cropzoo.moments import Moments
from cropzoo.samples import IGNORE, LabelClass

_COLOUR = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Description:
    """What dataset.json tells; `made_from` is None for PASTIS itself, which has no such file."""

    bands: tuple[str, ...]
    scale: float
    label_scale: int
    citation: str
    licence: str
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
        return Description(pastis.BANDS[sensor], pastis.SCALES[sensor], 1, citation, pastis.LICENCE, None, dealt)
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
    texts = {key: content.get(key, "") for key in ("citation", "licence")}
    for key, text in texts.items():
        need(isinstance(text, str), key, "a text")
    made_from = content.get("made_from", {})
    need(isinstance(made_from, dict), "made_from", "a table")
    dealt = tuple({name: list(each[name]) for name in ("train", "val", "test")} for each in content["rotations"])
    return Description(tuple(bands), float(scale), finer, texts["citation"], texts["licence"], made_from, dealt)


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
        code, name, colour = (row.get(key) or "" for key in ("code", "name", "colour"))
        void = index == len(rows) - 1
        right = row.get("index") == str(index) and bool(name) and bool(_COLOUR.fullmatch(colour))
        if not right or not (code == "" if void else re.fullmatch(r"-?[0-9]{1,18}", code)):
            raise CropzooError(
                f"{str(path)!r}, line {index + 2}; columns index, code, name and colour must hold {index}, a whole "
                f"number (nothing in the last line, void), a name and a colour like '#7fb069'; they hold "
                f"{row.get('index')!r}, {code!r}, {name!r}, {colour!r}; mend the table"
            )
        if not void:
            classes.append(LabelClass(name, int(code), colour))
    if not rows or len(classes) >= IGNORE or len({each.name for each in classes}) != len(classes):
        raise CropzooError(
            f"{str(path)!r}; it must have a line for each class, up to {IGNORE - 1}, all names different, and one for "
            "void at its end; mend the table"
        )
    return tuple(classes)


def read_statistics(folder: Path, sensor: str, folds: Sequence[int], counts: Mapping[int, int], bands: int) -> Moments:
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
    pooled = Moments(bands)
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
        pooled.merge(Moments.described(count, mean, std))
    if pooled.count == 0 or not (pooled.std > 0).all():
        raise CropzooError(
            f"{str(path)!r}; folds {', '.join(map(str, folds))} have a band without spread, or no clear pixel; "
            "use other folds, or prepare the dataset again with more images"
        )
    return pooled
