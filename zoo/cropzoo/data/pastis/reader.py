"""Reader of datasets in the PASTIS format, prepared ones and PASTIS itself: arrays are read when they are used."""

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
    PatchRecord,
    Rotation,
    clear_file,
    labels_file,
    parcels_file,
    series_file,
    statistics_file,
)
from cropzoo.data.sample import IGNORE, LabelClass, Sample
from cropzoo.errors import CropzooError, UnknownName, find_open_limit_error


def open_array(path: Path, kinds: str, dimensions: int, what: str) -> NDArray[Any]:
    """Memory-map the array in a .npy file: pixels are read on access and released with the array.

    Args:
        path: Path of the file.
        kinds: Allowed kinds of NumPy data types, such as "iuf" for numbers.
        dimensions: Expected number of dimensions.
        what: Expected content, for messages.

    Raises:
        CropzooError: The file is missing, truncated, or has other content.
    """
    again = "copy or prepare the dataset again"
    try:
        # np.load also opens archives and pickles, and parses the header each time: half of the cost of a crop.
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
        raise CropzooError(f"{str(path)!r} is missing; it should contain {what}; {again}") from error
    except (OSError, ValueError, SyntaxError, TypeError, EOFError, TokenError, ArithmeticError, *_TOO_MUCH) as error:
        reason = str(error)[:200] or type(error).__name__
        if too_many := find_open_limit_error(error):
            raise too_many from error
        raise CropzooError(
            f"{str(path)!r} cannot be read as {what}; it is not a valid .npy file (truncated?) ({reason}); {again}"
        ) from error
    if wrong:
        raise CropzooError(
            f"{str(path)!r} holds {dtype} of shape {shape}; it must be {what} "
            f"({_KINDS[kinds]}, {dimensions} dimensions, none of them empty); {again}"
        )
    return np.ndarray(shape, dtype, mapped, header.offset, order="F" if header.fortran else "C")


_TOO_MUCH = (MemoryError, RecursionError)
"""Errors of Python's parser for headers with very many brackets or signs."""

_KINDS = {"iuf": "numbers", "iu": "integers", "b": "booleans"}


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int


@lru_cache(maxsize=1 << 14)
def _header(path: str, size: int, modified: int) -> _Header:
    """Read the header of a .npy file; cached for as long as size and time of change are the same."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        if version not in _READERS:
            raise ValueError(f"unknown format version {version}")
        shape, fortran, dtype = _READERS[version](file)
        return _Header(shape, fortran, dtype, file.tell())


_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


_SUBFOLDERS = ("PASTIS-R", "PASTIS")
"""Folders in the archives of PASTIS."""


def find_pastis_folder(root: Path) -> Path:
    """Return the folder with metadata.geojson: `root`, or PASTIS-R or PASTIS in it; `root` if there is none."""
    candidates = (root, *(root / name for name in _SUBFOLDERS))
    return next((folder for folder in candidates if (folder / METADATA).is_file()), root)


class PastisFolder:
    """A dataset on disk in the PASTIS format.

    The constructor reads the tables. The files of a sample are opened at each access and their pixels are read when
    they are used, so a process that reads many patches keeps none of them in memory.

    Args:
        folder: Folder with metadata.geojson, or with a folder PASTIS-R or PASTIS that has it.
        sensor: "S2", or "S1A" or "S1D" of PASTIS-R.

    Attributes:
        folder: Folder with metadata.geojson.
        bands: Names of the bands of the series, in order.
        classes: Classes by label index, without void; empty for unlabeled series.
        scale: Reflectance of one stored unit.
        label_scale: Ratio of the label resolution to the resolution of the series.
        citation, license: Citation and license of the data.
        made_from: Provenance of a prepared dataset; None for PASTIS.
        clear_scl: Classes of the SCL band that are clear; None if unknown.
        offset: Offset that was subtracted from all images; None if each file's own was subtracted.
        patches: All patches, in the order of metadata.geojson.
        rotations: Assignments of folds to train, val and test.

    Raises:
        CropzooError: Tables are missing or not valid.
        UnknownName: Another sensor.
    """

    def __init__(self, folder: str | Path, sensor: str = "S2") -> None:
        if sensor not in SENSORS:
            raise UnknownName("sensor", sensor, SENSORS)
        self.folder = find_pastis_folder(Path(folder).expanduser())
        self.sensor = sensor
        listed = read_metadata(self.folder, sensor)
        described = read_description(self.folder, sensor, [patch.fold for patch, _ in listed])
        self.bands: tuple[str, ...] = described.bands
        self.classes: tuple[LabelClass, ...] = read_classes(self.folder)
        self.scale, self.label_scale = described.scale, described.label_scale
        self.citation, self.license, self.made_from = described.citation, described.license, described.made_from
        clear, offset = described.find_option("clear_scl"), described.find_option("offset")
        whole = isinstance(clear, list) and all(type(each) is int and 0 <= each < IGNORE for each in clear)
        self.clear_scl: tuple[int, ...] | None = tuple(clear) if whole else None
        self.offset: int | None = offset if type(offset) is int else None
        self.rotations: tuple[Rotation, ...] = described.rotations
        first = listed[0][0]
        if not all(all(patch.size) for patch, _ in listed):
            size = self._series(first.id).shape[-2:]  # PASTIS does not store it; all its patches have the same size
            listed = [(replace(patch, size=size), order) for patch, order in listed]
        self.patches: tuple[PatchRecord, ...] = tuple(patch for patch, _ in listed)
        self._orders = {patch.id: order for patch, order in listed if list(order) != sorted(order)}
        # All patches must have what the first has: a batch of patches with and without it would drop it silently.
        self.has_parcels = parcels_file(self.folder, first.id).is_file()
        self.has_clear = clear_file(self.folder, first.id).is_file() and sensor == "S2"

    @property
    def void(self) -> int:
        """Stored label of void, which is 255 in a sample."""
        return len(self.classes)

    @property
    def has_statistics(self) -> bool:
        """Whether the file with the statistics of the folds exists."""
        return statistics_file(self.folder, self.sensor).is_file()

    def select_folds(self, folds: Sequence[int]) -> tuple[PatchRecord, ...]:
        """Return the patches of the given folds, in the order of metadata.geojson."""
        return tuple(patch for patch in self.patches if patch.fold in folds)

    def statistics(self, folds: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of the scaled values of each band in the given folds.

        Raises:
            CropzooError: The statistics are missing or not valid.
        """
        counts: dict[int, int] = {}
        for patch in self.patches:
            values = len(patch.dates) * patch.size[0] * patch.size[1]
            counts[patch.fold] = counts.get(patch.fold, 0) + values
        pooled = read_statistics(self.folder, self.sensor, folds, counts, self.bands)
        return tuple((pooled.mean * self.scale).tolist()), tuple((pooled.std * self.scale).tolist())

    def sample(self, patch: PatchRecord) -> Sample:
        """Return the arrays of a patch; series, parcels and clear are memory-mapped, labels are read.

        A series with unsorted dates, which only other software writes, is read completely and sorted.

        Raises:
            CropzooError: A file is missing, truncated, or does not match the others; the message names it.
        """
        height, width = patch.size
        coarse, fine = (height, width), (self.label_scale * height, self.label_scale * width)
        series = self._series(patch.id)
        wanted = (len(patch.dates), len(self.bands), *coarse)
        _check_shape(
            series,
            wanted,
            series_file(self.folder, patch.id, self.sensor),
            "as listed in the tables",
        )
        clear = parcels = labels = None
        if self.has_clear:
            path = clear_file(self.folder, patch.id)
            clear = open_array(path, "b", 3, "the clear pixels of each date")
            _check_shape(clear, (wanted[0], *coarse), path, "to match the series")
        if self.classes:
            labels = self._labels(patch.id, fine)
        if self.has_parcels:
            path = parcels_file(self.folder, patch.id)
            parcels = open_array(path, "iu", 2, "parcel ids")
            _check_shape(parcels, fine, path, "to match the labels")
            parcels = parcels.astype(np.int32, copy=False)
        if patch.id in self._orders:
            order = list(self._orders[patch.id])
            series, clear = series[order], None if clear is None else clear[order]
        dates = np.array(patch.dates, np.int32)
        tile = f"{patch.tile} {patch.year}" if patch.year else patch.tile
        place = {**patch.place, "tile": tile} if patch.place and tile else patch.place
        return Sample(series, dates, labels, parcels, clear, name=patch.id, place=place)

    def find_problems(self) -> list[str]:
        """Read all pixels of the dataset and return one message per problem; empty if it is valid."""
        problems = []
        for rotation in self.rotations:
            empty = [
                name for name in ("train", "val", "test") if rotation[name] and not self.select_folds(rotation[name])
            ]
            if empty:
                folds = ", ".join(map(str, rotation[empty[0]]))
                problems.append(f"{str(self.folder / METADATA)!r}; no patch is in the folds of {empty[0]} ({folds})")
        try:
            self.statistics(sorted({patch.fold for patch in self.patches}))
        except CropzooError as error:
            problems.append(str(error))
        for patch in self.patches:
            try:
                sample = self.sample(patch)
            except CropzooError as error:
                problems.append(str(error))
                continue
            if sample.series.dtype.kind == "f" and not all(np.isfinite(image).all() for image in sample.series):
                path = series_file(self.folder, patch.id, self.sensor)
                problems.append(
                    f"{str(path)!r} contains NaN or infinity; set those pixels to 0 and mark them as not clear"
                )
            if sample.parcels is not None and sample.parcels.min() < 0:
                problems.append(f"{str(parcels_file(self.folder, patch.id))!r} contains a negative parcel id; fix it")
        return problems

    def _series(self, patch: str) -> NDArray[Any]:
        path = series_file(self.folder, patch, self.sensor)
        return open_array(path, "iuf", 4, "a series of dates, bands, rows and columns")

    def _labels(self, patch: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        path = labels_file(self.folder, patch)
        stored = open_array(path, "iu", 3, "labels in its first channel")[0]
        _check_shape(stored, size, path, "to match the series")
        low, high = int(stored.min()), int(stored.max())
        if low < 0 or high > self.void:
            raise CropzooError(
                f"{str(path)!r} contains label {high if high > self.void else low}; expected labels in "
                f"[0, {self.void - 1}] or {self.void} (void); use the class table that it was made with"
            )
        return np.where(stored == self.void, np.uint8(IGNORE), stored).astype(np.uint8, copy=False)


def _check_shape(array: NDArray[Any], wanted: tuple[int, ...], path: Path, why: str) -> None:
    if array.shape != wanted:
        raise CropzooError(
            f"{str(path)!r} has shape {array.shape}; it must be {wanted} {why}; copy or prepare the dataset again"
        )
