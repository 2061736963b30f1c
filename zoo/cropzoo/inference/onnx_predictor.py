"""Prediction with an exported ONNX file in onnxruntime."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.dates import encode_dates
from cropzoo.errors import CropzooError, UsageError
from cropzoo.inference.export.formats import read_notes
from cropzoo.inference.export.onnx import OnnxSession
from cropzoo.inference.model_info import ModelInfo, make_model_info
from cropzoo.models.stored_recipe import mapping_recipe

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxPredictor:
    """The network of a file that `cropzoo export --format onnx` wrote.

    Args:
        path: Path of the file.
        device: "auto", "cpu", or "cuda" with onnxruntime-gpu.

    Raises:
        CropzooError: onnxruntime is not installed, or the file is not a valid export.
        UsageError: The device is not available.
    """

    precision = "32-true"

    def __init__(self, path: Path, device: str = "auto") -> None:
        self._session = OnnxSession(path, _providers(device), _threads())
        notes = read_notes(self._session.notes, repr(str(path)))
        facts = make_model_info(
            notes.metadata, mapping_recipe(notes.metadata, f"the recipe of {str(path)!r}"), path, notes.size_multiple
        )
        self.facts: ModelInfo = replace(facts, fixed_size="size" not in notes.dynamic)
        self._batched = "batch" in notes.dynamic

    def probabilities(
        self,
        series: NDArray[Any],
        dates: NDArray[np.int64],
        valid: NDArray[np.bool_],
        first: int,
        clear: NDArray[np.bool_] | None = None,
        location: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """See `Predictor.probabilities`."""
        series = series.astype(np.float32, copy=False)
        if self.facts.dates == "days" and not _have_origin(dates, valid, first):
            series, dates, valid = _prepend_date(series, dates, valid, first)
        inputs: dict[str, NDArray[Any]] = {"series": series, "dates": dates, "valid": valid}
        if "clear" in self._session.inputs:
            shape = (*series.shape[:2], *series.shape[3:])
            inputs["clear"] = np.ones(shape, np.bool_) if clear is None else clear
        if "location" in self._session.inputs:
            inputs["location"] = np.full((len(series), 2), np.nan, np.float32) if location is None else location
        if self._batched:
            return self._compute(inputs)
        rows = [{name: value[row : row + 1] for name, value in inputs.items()} for row in range(len(series))]
        return np.concatenate([self._compute(each) for each in rows])

    def _compute(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        found = self._session.compute(inputs, ["probabilities"])[0]
        series, facts = inputs["series"], self.facts
        rows, columns = (facts.upsample * side for side in series.shape[-2:])
        wanted = (len(series), len(facts.classes), rows, columns)
        if found.shape != wanted or found.dtype != np.float32 or not np.isfinite(found).all():
            raise CropzooError(
                f"{str(self._session.path)!r} on series of shape {series.shape}; it returned {found.dtype} of shape "
                f"{found.shape}, and finite float32 of shape {wanted} were expected; export it again with cropzoo"
            )
        return cast(NDArray[np.float32], found)


def _have_origin(dates: NDArray[np.int64], valid: NDArray[np.bool_], first: int) -> bool:
    """Whether the first date of each series gives the same origin of the encoding "days" as `first`."""
    first_dates = np.where(valid, dates, np.iinfo(np.int64).max).min(1)
    return all(_origin(int(day)) == _origin(first) for day in first_dates)


def _origin(day: int) -> int:
    """The last 1 September on or before a day, the origin of the encoding "days"."""
    return day - int(encode_dates(np.array([day], np.int32), "days")[0])


def _prepend_date(
    series: NDArray[np.float32], dates: NDArray[np.int64], valid: NDArray[np.bool_], first: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Prepend `first` as an unused date, which a graph takes as the origin of the encoding "days"."""
    before = ((0, 0), (1, 0))
    series = np.pad(series, (*before, (0, 0), (0, 0), (0, 0)))
    return series, np.pad(dates, before, constant_values=first), np.pad(valid, before)


def _providers(device: str) -> list[str]:
    """Execution providers for a device, in order of preference.

    Raises:
        UsageError: The device is not available.
    """
    from importlib.util import find_spec

    kind = device.partition(":")[0]
    if kind == "cpu" or find_spec("onnxruntime") is None:  # the session reports what is not installed
        return [_PROVIDERS["cpu"]]
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if kind not in ("auto", *_PROVIDERS):
        raise UsageError(f"device {device!r} for an ONNX file; use auto, cpu or cuda")
    if kind == "cuda" and _PROVIDERS["cuda"] not in available:
        raise UsageError(
            f"device {device!r} for an ONNX file; the installed onnxruntime does not support GPUs; use --device cpu, "
            "or install onnxruntime-gpu instead"
        )
    return [_PROVIDERS[each] for each in ("cuda", "cpu") if _PROVIDERS[each] in available]


def _threads() -> int:
    """Threads per operation from OMP_NUM_THREADS, as in PyTorch; 0 for one per core."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return int(threads) if re.fullmatch("[0-9]{1,6}", threads) else 0
