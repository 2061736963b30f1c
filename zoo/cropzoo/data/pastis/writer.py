"""Writer of datasets in the PASTIS format: patches first, then the tables, `metadata.geojson` last."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cropzoo.data.pastis.metadata import write_metadata
from cropzoo.data.pastis.schema import (
    CLASSES_FILE,
    DESCRIPTION,
    METADATA,
    PatchRecord,
    Rotation,
    clear_file,
    is_patch_id,
    labels_file,
    parcels_file,
    series_file,
    statistics_file,
)
from cropzoo.data.running_stats import RunningStats
from cropzoo.data.sample import IGNORE, LabelClass, Sample, format_code
from cropzoo.errors import CropzooError
from cropzoo.io import atomic_write, write_json, write_text

FORMAT = 1
"""Version of dataset.json; increase it when older readers would fail."""


def write_patch(folder: Path, id: str, sample: Sample, void: int) -> None:
    """Write the arrays of one patch atomically.

    Args:
        folder: Folder of the dataset.
        id: Id of the patch: letters, digits, "_", "-" and ".". All readers of PASTIS accept integers.
        sample: Sample with the series, stored unchanged, and an optional cloud mask, labels and parcels.
        void: Stored label of ignored pixels (255 in the sample): the number of classes, as in PASTIS.

    Raises:
        CropzooError: A label is not a class, a parcel id needs more than 32 bits, the id of the patch is not a file
            name, or a file cannot be written.
    """
    if not is_patch_id(id):
        raise CropzooError(f"patch {id!r}; the id is part of file names; use letters, digits, '_', '-' and '.'")
    _save(series_file(folder, id), np.asarray(sample.series))
    if sample.clear is not None:
        _save(clear_file(folder, id), np.asarray(sample.clear, np.bool_))
    write_labels(folder, id, sample.labels, sample.parcels, void)


def write_labels(folder: Path, id: str, labels: NDArray[Any] | None, parcels: NDArray[Any] | None, void: int) -> None:
    """Write labels and parcels of one patch, if given; see `write_patch`."""
    if labels is not None:
        _save(labels_file(folder, id), _with_void(np.asarray(labels), void, id)[None])
    if parcels is not None:
        _save(parcels_file(folder, id), _check_ids(np.asarray(parcels), id))


@dataclass(frozen=True)
class DatasetTables:
    """Metadata of a dataset, for `write_tables`.

    Args:
        patches: All patches in reading order.
        classes: Classes by label index, without void.
        bands: Names of the bands of the series, in order.
        scale: Reflectance of one stored unit.
        made_from: Provenance of the dataset: what is needed to make it again.
        rotations: Assignments of folds to splits, see `cropzoo.data.pastis.schema.make_rotations`.
        moments: Statistics of the stored values at clear pixels, by fold.
        sources: Source codes of each class, joined by ";"; None for the codes of the classes.
        label_scale: Ratio of the label resolution to the resolution of the series.
        citation, license: Citation and license of the data, for the model card.
    """

    patches: Sequence[PatchRecord]
    classes: Sequence[LabelClass]
    bands: Sequence[str]
    scale: float
    made_from: Mapping[str, Any]
    rotations: Sequence[Rotation]
    moments: Mapping[int, RunningStats]
    sources: Sequence[str] | None = None
    label_scale: int = 1
    citation: str = ""
    license: str = ""


def write_tables(folder: Path, tables: DatasetTables) -> None:
    """Write the tables of a dataset, after which it can be read.

    Args:
        folder: Folder with the patches that `write_patch` wrote.
        tables: Content of the tables.

    Raises:
        CropzooError: A fold has no statistics, a patch has no series, or a file cannot be written.
    """
    folder.joinpath(METADATA).unlink(missing_ok=True)  # the folder is not a dataset while its tables change
    missing = sorted({patch.fold for patch in tables.patches} - set(tables.moments))
    if missing:
        raise CropzooError(f"dataset {str(folder)!r}; fold {missing[0]!r} has patches and no band statistics")
    for patch in tables.patches:
        if not series_file(folder, patch.id).is_file():
            raise CropzooError(f"dataset {str(folder)!r}; patch {patch.id!r} is listed and its series was not written")
    codes = [format_code(each) for each in tables.classes] if tables.sources is None else list(tables.sources)
    write_text(folder / CLASSES_FILE, _format_classes(tables.classes, codes))
    norm = {
        f"Fold_{fold}": {"mean": each.mean.tolist(), "std": each.std.tolist(), "count": each.count}
        for fold, each in sorted(tables.moments.items())
    }
    write_json(statistics_file(folder), norm)
    description = {
        "format": FORMAT,
        "bands": list(tables.bands),
        "scale": tables.scale,
        "label_scale": tables.label_scale,
        "citation": tables.citation,
        "license": tables.license,
        "made_from": dict(tables.made_from),
        "rotations": list(tables.rotations),
    }
    write_json(folder / DESCRIPTION, description)
    write_metadata(folder, tables.patches)


def _with_void(labels: NDArray[Any], void: int, patch: str) -> NDArray[np.uint8]:
    used = labels[labels != IGNORE]
    if used.size and not 0 <= int(used.min()) <= int(used.max()) < void:
        wrong = int(used.max()) if int(used.max()) >= void else int(used.min())
        raise CropzooError(
            f"patch {patch!r}; label {wrong!r} is not a class; expected labels in [0, {void - 1}] or 255 (ignore)"
        )
    return np.where(labels == IGNORE, void, labels).astype(np.uint8)


def _check_ids(parcels: NDArray[Any], patch: str) -> NDArray[np.int32]:
    low, high = (int(parcels.min()), int(parcels.max())) if parcels.size else (0, 0)
    if low < 0 or high > np.iinfo(np.int32).max:
        raise CropzooError(
            f"patch {patch!r}; parcel id {low if low < 0 else high} is not in [0, 2147483647]; number the parcels "
            "from 1"
        )
    return parcels.astype(np.int32)


def _save(path: Path, array: NDArray[Any]) -> None:
    native = array.astype(array.dtype.newbyteorder("="), copy=False)  # torch accepts only the native byte order
    with atomic_write(path) as scratch, scratch.open("wb") as file:
        np.save(file, native, allow_pickle=False)


def _format_classes(classes: Sequence[LabelClass], sources: Sequence[str]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("index", "code", "name", "color", "sources"))
    for index, (each, source) in enumerate(zip(classes, sources, strict=True)):
        rows.writerow((index, format_code(each), each.name, each.color, source))
    rows.writerow((len(classes), "", "void", "#ffffff", ""))
    return text.getvalue()


class SeriesWriter:
    """Context manager that writes series and cloud mask of one patch date by date, and renames both files at its end.

    Args:
        folder: Folder of the dataset.
        id: Id of the patch.
        shape: Shape (T, C, H, W) of the series.
        dtype: Data type of the series.

    Raises:
        CropzooError: A file cannot be written.
    """

    def __init__(self, folder: Path, id: str, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
        length, _, height, width = shape
        self._targets = {
            "series": (series_file(folder, id), shape, dtype),
            "clear": (clear_file(folder, id), (length, height, width), np.dtype(np.bool_)),
        }
        self._length, self._written = length, 0
        self._files: dict[str, IO[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> SeriesWriter:
        with ExitStack() as stack:
            for name, (path, shape, dtype) in self._targets.items():
                scratch = stack.enter_context(atomic_write(path))
                self._files[name] = stack.enter_context(scratch.open("wb"))
                header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                npy.write_array_header_1_0(self._files[name], header)
            self._stack = stack.pop_all()
        return self

    def add(self, values: NDArray[Any], clear: NDArray[np.bool_]) -> None:
        """Write the next date: values (C, H, W) of the dtype of the series, and the mask of clear pixels (H, W)."""
        for name, array in (("series", values), ("clear", clear)):
            _, shape, dtype = self._targets[name]
            if array.shape != shape[1:] or array.dtype != dtype:
                raise ValueError(f"{name} is {array.shape} of {array.dtype}; it must be {shape[1:]} of {dtype}")
            self._files[name].write(np.ascontiguousarray(array).data)
        self._written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._written != self._length:
            error = ValueError(f"{self._written} of {self._length} dates were written")
            self._stack.__exit__(type(error), error, None)
            raise error
        self._stack.__exit__(kind, error, trace)
