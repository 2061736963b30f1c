"""An exported ONNX file as what maps ask: onnxruntime computes, PyTorch is not needed for the network."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.dates import encode_dates
from cropzoo.errors import UsageError
from cropzoo.inference.export.formats import read_notes
from cropzoo.inference.export.onnx import OnnxSession
from cropzoo.inference.model_info import Facts, facts_of, recipe_of

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxPredictor:
    """The network of a file that `cropzoo export --format onnx` wrote.

    Args:
        path: of the file.
        device: "auto", "cpu", or "cuda" where an onnxruntime for GPUs is installed.

    Raises:
        CropzooError: when onnxruntime is not installed, or the file is not what it should be.
        UsageError: for a device that cannot be had.
    """

    precision = "32-true"

    def __init__(self, path: Path, device: str = "auto") -> None:
        self._session = OnnxSession(path, _providers(device), _threads())
        notes = read_notes(self._session.notes, repr(str(path)))
        facts = facts_of(notes.metadata, recipe_of(notes.metadata, path), path, notes.size_multiple)
        self.facts: Facts = replace(facts, fixed_size="size" not in notes.dynamic)
        self._together = "batch" in notes.dynamic

    def probabilities(
        self, series: NDArray[Any], dates: NDArray[np.int64], valid: NDArray[np.bool_], first: int
    ) -> NDArray[np.float32]:
        """As `Predictor.probabilities` says."""
        series = series.astype(np.float32, copy=False)
        if self.facts.dates == "days" and not _counted_from(dates, valid, first):
            series, dates, valid = _with_first(series, dates, valid, first)
        inputs = {"series": series, "dates": dates, "valid": valid}
        if self._together:
            return self._answer(inputs)
        rows = [{name: value[row : row + 1] for name, value in inputs.items()} for row in range(len(series))]
        return np.concatenate([self._answer(each) for each in rows])

    def _answer(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        return cast(NDArray[np.float32], self._session.answer(inputs, ["probabilities"])[0])


def _counted_from(dates: NDArray[np.int64], valid: NDArray[np.bool_], first: int) -> bool:
    """Whether each series' own first date is counted from the same September as `first`, as the graph does."""
    own = np.where(valid, dates, np.iinfo(np.int64).max).min(1)
    return all(_september(int(day)) == _september(first) for day in own)


def _september(day: int) -> int:
    return day - int(encode_dates(np.array([day], np.int32), "days")[0])


def _with_first(
    series: NDArray[np.float32], dates: NDArray[np.int64], valid: NDArray[np.bool_], first: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """The same with `first` before all dates, as one that is not used: a graph counts from it all the same."""
    before = ((0, 0), (1, 0))
    series = np.pad(series, (*before, (0, 0), (0, 0), (0, 0)))
    return series, np.pad(dates, before, constant_values=first), np.pad(valid, before)


def _providers(device: str) -> list[str]:
    """What computes, the preferred first.

    Raises:
        UsageError: for a device that cannot be had.
    """
    from importlib.util import find_spec

    kind = device.partition(":")[0]
    if kind == "cpu" or find_spec("onnxruntime") is None:  # the session tells what is not installed
        return [_PROVIDERS["cpu"]]
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if kind not in ("auto", *_PROVIDERS):
        raise UsageError(f"device {device!r} for an ONNX file; use auto, cpu or cuda")
    if kind == "cuda" and _PROVIDERS["cuda"] not in there:
        raise UsageError(
            f"device {device!r} for an ONNX file; the installed onnxruntime knows no GPU; use --device cpu, or "
            "install onnxruntime-gpu in its place"
        )
    return [_PROVIDERS[each] for each in ("cuda", "cpu") if _PROVIDERS[each] in there]


def _threads() -> int:
    """Threads of an operation, as PyTorch takes them; 0 for as many as there are cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else 0
