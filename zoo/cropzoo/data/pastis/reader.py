"""Reading a dataset in the layout of PASTIS, our own or PASTIS itself: nothing but tables until a sample is used."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.pastis.metadata import read_classes, read_description, read_metadata, read_statistics
from cropzoo.data.pastis.schema import (
    METADATA,
    SENSORS,
    Patch,
    Rotation,
    clear_file,
    labels_file,
    parcels_file,
    series_file,
    statistics_file,
)
from cropzoo.data.sample import IGNORE, LabelClass, Sample
from cropzoo.errors import CropzooError, UnknownName


def open_array(path: Path, kinds: str, dimensions: int, what: str) -> NDArray[Any]:
    """The array in a .npy file, memory-mapped: pixels are read when they are used, and given back when it goes.

    Args:
        path: of the file.
        kinds: letters of numpy's kinds that it may hold, such as "iuf" for numbers.
        dimensions: how many it must have.
        what: what it should hold, in words, for messages.

    Raises:
        CropzooError: a file that is missing, cut off, or holds something else.
    """
    again = "copy or prepare the dataset again"
    try:
        # Not np.load: it also opens archives and pickles, and reads the header anew each time, half of a crop's cost.
        with path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            header = _header(str(path), status.st_size, status.st_mtime_ns)
            shape, dtype = header.shape, header.dtype
            wrong = dtype.kind not in kinds or len(shape) != dimensions or min(shape, default=0) < 1
            if not wrong:
                length = header.offset + math.prod(shape) * dtype.itemsize
                if status.st_size < length:
                    raise ValueError(f"it has {status.st_size} bytes of {length}")
                mapped = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise CropzooError(f"{str(path)!r} is missing; it should hold {what}; {again}") from error
    except (OSError, ValueError, SyntaxError, TypeError, EOFError, TokenError, ArithmeticError, *_TOO_MUCH) as error:
        reason = str(error)[:200] or type(error).__name__
        raise CropzooError(
            f"{str(path)!r} cannot be read as {what}; it is cut off or no .npy file ({reason}); {again}"
        ) from error
    if wrong:
        raise CropzooError(
            f"{str(path)!r} holds {dtype} of shape {shape}; it must be {what} "
            f"({_KINDS[kinds]}, {dimensions} dimensions, none of them empty); {again}"
        )
    return np.ndarray(shape, dtype, mapped, header.offset, order="F" if header.fortran else "C")


_TOO_MUCH = (MemoryError, RecursionError)
"""How Python's parser gives up on a header of many brackets or signs."""

_KINDS = {"iuf": "numbers", "iu": "whole numbers", "b": "True and False"}


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int


@lru_cache(maxsize=1 << 14)
def _header(path: str, size: int, modified: int) -> _Header:
    """What the start of a .npy file tells; kept for as long as size and time of change are the same."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        if version not in _READERS:
            raise ValueError(f"its version is {version}")
        shape, fortran, dtype = _READERS[version](file)
        return _Header(shape, fortran, dtype, file.tell())


_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


_INSIDE = ("PASTIS-R", "PASTIS")
"""Folders in which the archives of PASTIS lie, one of them, inside the folder that they were unpacked in."""


def find_layout(root: Path) -> Path:
    """The folder with metadata.geojson: `root` itself, else PASTIS-R or PASTIS in it; `root` where none has one."""
    candidates = (root, *(root / name for name in _INSIDE))
    return next((folder for folder in candidates if (folder / METADATA).is_file()), root)


class Layout:
    """A dataset on disk.

    Opening it reads its tables; a sample's files are opened at each access and their pixels read where they are used,
    so that a process that reads many patches holds none of them.

    Args:
        folder: holds metadata.geojson, or PASTIS-R or PASTIS that does.
        sensor: "S2"; "S1A" or "S1D" of PASTIS-R.

    Attributes:
        folder: that holds metadata.geojson.
        bands: names of the bands of the series, in order.
        classes: by label index, without void; none for unlabeled series.
        scale: reflectance of one stored unit.
        label_scale: how many times finer the labels are than the series.
        citation, license: of the data.
        made_from: what it was prepared from; None for PASTIS itself.
        patches: all of them, in the order of metadata.geojson.
        rotations: which folds are train, val and test, a table for each way.

    Raises:
        CropzooError: tables that are missing or wrong.
        UnknownName: for another sensor.
    """

    def __init__(self, folder: str | Path, sensor: str = "S2") -> None:
        if sensor not in SENSORS:
            raise UnknownName("sensor", sensor, SENSORS)
        self.folder = find_layout(Path(folder).expanduser())
        self.sensor = sensor
        listed = read_metadata(self.folder, sensor)
        described = read_description(self.folder, sensor, [patch.fold for patch, _ in listed])
        self.bands: tuple[str, ...] = described.bands
        self.classes: tuple[LabelClass, ...] = read_classes(self.folder)
        self.scale, self.label_scale = described.scale, described.label_scale
        self.citation, self.license, self.made_from = described.citation, described.license, described.made_from
        self.rotations: tuple[Rotation, ...] = described.rotations
        first = listed[0][0]
        if not all(all(patch.size) for patch, _ in listed):
            size = self._series(first.id).shape[-2:]  # PASTIS does not tell; all its patches are of one size
            listed = [(replace(patch, size=size), order) for patch, order in listed]
        self.patches: tuple[Patch, ...] = tuple(patch for patch, _ in listed)
        self._orders = {patch.id: order for patch, order in listed if list(order) != sorted(order)}
        # What the first patch has, all must have: a batch of patches with and without would lose it silently.
        self.has_parcels = parcels_file(self.folder, first.id).is_file()
        self.has_clear = clear_file(self.folder, first.id).is_file() and sensor == "S2"

    @property
    def void(self) -> int:
        """The label that stands for void in the files, 255 in a sample."""
        return len(self.classes)

    @property
    def has_statistics(self) -> bool:
        """Whether the file with the statistics of the folds is there; PASTIS before PASTIS-R has one as well."""
        return statistics_file(self.folder, self.sensor).is_file()

    def of_folds(self, folds: Sequence[int]) -> tuple[Patch, ...]:
        """The patches of these folds, in the order of metadata.geojson."""
        return tuple(patch for patch in self.patches if patch.fold in folds)

    def statistics(self, folds: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of every band over the patches of these folds, of scaled values.

        Raises:
            CropzooError: when the files don't hold them.
        """
        counts: dict[int, int] = {}
        for patch in self.patches:
            values = len(patch.dates) * patch.size[0] * patch.size[1]
            counts[patch.fold] = counts.get(patch.fold, 0) + values
        pooled = read_statistics(self.folder, self.sensor, folds, counts, len(self.bands))
        return tuple((pooled.mean * self.scale).tolist()), tuple((pooled.std * self.scale).tolist())

    def sample(self, patch: Patch) -> Sample:
        """The patch's arrays; series, parcels and clear are memory-mapped, labels are read.

        A series whose dates are not in order, which only foreign writers make, is read as a whole and sorted.

        Raises:
            CropzooError: naming the file that is missing, cut off, or does not fit the others.
        """
        height, width = patch.size
        coarse, fine = (height, width), (self.label_scale * height, self.label_scale * width)
        series = self._series(patch.id)
        wanted = (len(patch.dates), len(self.bands), *coarse)
        _fit(series, wanted, series_file(self.folder, patch.id, self.sensor), "by the dates, bands and size listed")
        clear = parcels = labels = None
        if self.has_clear:
            path = clear_file(self.folder, patch.id)
            clear = open_array(path, "b", 3, "the clear pixels of each date")
            _fit(clear, (wanted[0], *coarse), path, "to fit the series")
        if self.classes:
            labels = self._labels(patch.id, fine)
        if self.has_parcels:
            path = parcels_file(self.folder, patch.id)
            parcels = open_array(path, "iu", 2, "parcel ids")
            _fit(parcels, fine, path, "to fit the labels")
            parcels = parcels.astype(np.int32, copy=False)
        if patch.id in self._orders:
            order = list(self._orders[patch.id])
            series, clear = series[order], None if clear is None else clear[order]
        dates = np.array(patch.dates, np.int32)
        tile = f"{patch.tile} {patch.year}" if patch.year else patch.tile
        place = {**patch.place, "tile": tile} if patch.place and tile else patch.place
        return Sample(series, dates, labels, parcels, clear, name=patch.id, place=place)

    def check(self) -> list[str]:
        """What is wrong with the dataset, a message each, after reading every pixel of it; empty if it is sound."""
        found = []
        for rotation in self.rotations:
            empty = [name for name in ("train", "val", "test") if rotation[name] and not self.of_folds(rotation[name])]
            if empty:
                folds = ", ".join(map(str, rotation[empty[0]]))
                found.append(f"{str(self.folder / METADATA)!r}; no patch is in the folds of {empty[0]} ({folds})")
        try:
            self.statistics(sorted({patch.fold for patch in self.patches}))
        except CropzooError as error:
            found.append(str(error))
        for patch in self.patches:
            try:
                sample = self.sample(patch)
            except CropzooError as error:
                found.append(str(error))
                continue
            if sample.series.dtype.kind == "f" and not all(np.isfinite(image).all() for image in sample.series):
                path = series_file(self.folder, patch.id, self.sensor)
                found.append(f"{str(path)!r} holds NaN or infinity; give those pixels a number and mark them not clear")
            if sample.parcels is not None and sample.parcels.min() < 0:
                found.append(f"{str(parcels_file(self.folder, patch.id))!r} holds a negative parcel id; mend it")
        return found

    def _series(self, patch: str) -> NDArray[Any]:
        path = series_file(self.folder, patch, self.sensor)
        return open_array(path, "iuf", 4, "a series of dates, bands, rows and columns")

    def _labels(self, patch: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        path = labels_file(self.folder, patch)
        stored = open_array(path, "iu", 3, "labels, in the first of its channels")[0]
        _fit(stored, size, path, "to fit the series")
        low, high = int(stored.min()), int(stored.max())
        if low < 0 or high > self.void:
            raise CropzooError(
                f"{str(path)!r} holds label {high if high > self.void else low}; labels are 0 to {self.void - 1}, "
                f"and {self.void} for void; give the table of classes that it was made with"
            )
        return np.where(stored == self.void, np.uint8(IGNORE), stored).astype(np.uint8, copy=False)


def _fit(array: NDArray[Any], wanted: tuple[int, ...], path: Path, why: str) -> None:
    if array.shape != wanted:
        raise CropzooError(
            f"{str(path)!r} holds an array of shape {array.shape}; it must be {wanted} {why}; "
            "copy or prepare the dataset again"
        )
