"""Writing a dataset in the layout of PASTIS: patch by patch, then the tables, `metadata.geojson` last."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cropzoo.data.pastis.metadata import write_metadata
from cropzoo.data.pastis.schema import CLASSES_FILE as CLASSES
from cropzoo.data.pastis.schema import (
    DESCRIPTION,
    METADATA,
    Patch,
    Rotation,
    clear_file,
    is_id,
    labels_file,
    parcels_file,
    series_file,
    statistics_file,
)
from cropzoo.data.running_stats import RunningStats
from cropzoo.data.sample import IGNORE, LabelClass, Sample
from cropzoo.errors import CropzooError
from cropzoo.io import atomic_write, write_json, write_text

FORMAT = 1
"""Of dataset.json; raised when an older reader would go wrong."""


def write_patch(folder: Path, id: str, sample: Sample, void: int) -> None:
    """Write the arrays of one patch; a file has its name only when it is whole.

    Args:
        folder: of the dataset.
        id: of the patch: letters, digits, "_", "-" and ".". Whole numbers suit every reader of PASTIS.
        sample: its series is stored as it is; a cloud mask, labels and parcels where it has them.
        void: what stands for an ignored pixel (255 in the sample): the number of classes, as in PASTIS.

    Raises:
        CropzooError: a label above the classes; an id that is no file name; a file that cannot be written.
    """
    if not is_id(id):
        raise CropzooError(f"patch {id!r}; its id names files; use letters, digits, '_', '-' and '.'")
    _save(series_file(folder, id), np.asarray(sample.series))
    if sample.clear is not None:
        _save(clear_file(folder, id), np.asarray(sample.clear, np.bool_))
    write_labels(folder, id, sample.labels, sample.parcels, void)


def write_labels(folder: Path, id: str, labels: NDArray[Any] | None, parcels: NDArray[Any] | None, void: int) -> None:
    """Write the annotations of one patch, those that it has; see `write_patch`."""
    if labels is not None:
        _save(labels_file(folder, id), _with_void(np.asarray(labels), void, id)[None])
    if parcels is not None:
        _save(parcels_file(folder, id), np.asarray(parcels, np.int32))


def finish(
    folder: Path,
    *,
    patches: Sequence[Patch],
    classes: Sequence[LabelClass],
    sources: Sequence[str] | None = None,
    bands: Sequence[str],
    scale: float,
    label_scale: int = 1,
    citation: str = "",
    license: str = "",
    made_from: Mapping[str, Any],
    rotations: Sequence[Rotation],
    moments: Mapping[int, RunningStats],
) -> None:
    """Write the tables that make the patches a dataset; after this it can be read.

    Args:
        folder: holds the patches that `write_patch` wrote.
        patches: all of them, in the order in which they are to be read.
        classes: by label index; the void class is added.
        sources: codes of the source of each class, ";" between several; a class's own code if None.
        bands: of the series, in order.
        scale: reflectance of one stored unit.
        label_scale: how many times finer the labels are than the series.
        citation, license: of the data, for the model card.
        made_from: what the dataset was made of, for whoever wants to make it again.
        rotations: which folds are train, val and test, as `cropzoo.data.pastis.schema.rotations` gives.
        moments: of every fold, of stored units at clear pixels.

    Raises:
        CropzooError: a fold without moments; a patch without its series; a file that cannot be written.
    """
    folder.joinpath(METADATA).unlink(missing_ok=True)  # while tables change, an earlier dataset here is none
    missing = sorted({patch.fold for patch in patches} - set(moments))
    if missing:
        raise CropzooError(f"dataset {str(folder)!r}; fold {missing[0]!r} has patches and no band statistics")
    for patch in patches:
        if not series_file(folder, patch.id).is_file():
            raise CropzooError(f"dataset {str(folder)!r}; patch {patch.id!r} is listed and its series was not written")
    codes = [str(each.code) for each in classes] if sources is None else list(sources)
    write_text(folder / CLASSES, _class_table(classes, codes))
    norm = {
        f"Fold_{fold}": {"mean": each.mean.tolist(), "std": each.std.tolist(), "count": each.count}
        for fold, each in sorted(moments.items())
    }
    write_json(statistics_file(folder), norm)
    description = {
        "format": FORMAT,
        "bands": list(bands),
        "scale": scale,
        "label_scale": label_scale,
        "citation": citation,
        "license": license,
        "made_from": dict(made_from),
        "rotations": list(rotations),
    }
    write_json(folder / DESCRIPTION, description)
    write_metadata(folder, patches)


def _with_void(labels: NDArray[Any], void: int, patch: str) -> NDArray[np.uint8]:
    used = labels[labels != IGNORE]
    if used.size and not 0 <= int(used.min()) <= int(used.max()) < void:
        wrong = int(used.max()) if int(used.max()) >= void else int(used.min())
        raise CropzooError(f"patch {patch!r}; label {wrong!r} is no class; classes are 0 to {void - 1}, 255 is ignored")
    return np.where(labels == IGNORE, void, labels).astype(np.uint8)


def _save(path: Path, array: NDArray[Any]) -> None:
    native = array.astype(array.dtype.newbyteorder("="), copy=False)  # readers hand arrays to torch, which wants it so
    with atomic_write(path) as scratch, scratch.open("wb") as file:
        np.save(file, native, allow_pickle=False)


def _class_table(classes: Sequence[LabelClass], sources: Sequence[str]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("index", "code", "name", "color", "sources"))
    for index, (each, source) in enumerate(zip(classes, sources, strict=True)):
        rows.writerow((index, each.code, each.name, each.color, source))
    rows.writerow((len(classes), "", "void", "#ffffff", ""))
    return text.getvalue()


class SeriesWriter:
    """Series and cloud mask of one patch, as context: both files get their names when the block ends well.

    Args:
        folder: of the dataset.
        id: of the patch.
        shape: (T, C, H, W) of the series.
        dtype: of the series.

    Raises:
        CropzooError: a file that cannot be written.
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
        """Write the next date: values (C, H, W) of the series' dtype, and where they are clear (H, W)."""
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
