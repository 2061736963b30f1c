"""Calibration by temperature scaling: one temperature for all logits, fitted on data that training did not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cropzoo.data.batch import Batch
from cropzoo.data.sample import IGNORE
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.evaluate import open_evaluation, predict_split, warn_about_dates
from cropzoo.evaluation.metrics import CalibrationError
from cropzoo.models.checkpoint import Metadata, read_state, save_checkpoint
from cropzoo.parallel import get_world_size
from cropzoo.plugins.registry import Zoo
from cropzoo.runtime import Runtime

LEAST, MOST = 0.05, 20.0
"""Range of temperatures. At an end there is no minimum: the model is right, or wrong, almost everywhere."""

_PIXELS = 1 << 20
"""Maximum number of labeled pixels; with 20 classes they take 84 MB, and give the temperature to three digits."""

_CHUNK = 1 << 17
"""Pixels of one step of the computation, which bounds its memory."""

_STEPS = 60
"""Bisections of the range, to far below the resolution of single precision."""


@dataclass(frozen=True)
class Calibration:
    """Result of a calibration.

    Args:
        temperature: divisor of the logits.
        pixels: number of labeled pixels that it was fitted on.
        drawn: number of labeled pixels of the split, of which these are a random sample.
        loss: mean negative log-likelihood of the true class with the temperature, nats.
        loss_before: the same without it.
        ece: expected calibration error over 15 bins with the temperature, 0..1.
        ece_before: the same without it.
    """

    temperature: float
    pixels: int
    drawn: int
    loss: float
    loss_before: float
    ece: float
    ece_before: float

    @property
    def at_end(self) -> bool:
        """Whether the likelihood has no maximum within the range of temperatures."""
        return not 1.01 * LEAST < self.temperature < MOST / 1.01


def calibrate(
    path: Path,
    zoo: Zoo,
    *,
    split: str = "val",
    changes: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
    out: Path | None = None,
) -> Calibration:
    """Fit the temperature of a checkpoint on a split and write it into the file.

    An earlier temperature is replaced, not refined. Predicted classes do not change: dividing all logits of a pixel by
    one number keeps their order. Stored scores keep their calibration error as `ece_uncalibrated`.

    Args:
        path: path of the checkpoint file.
        zoo: plugins, by which backbone and dataset are looked up.
        split: name of the split; it should be one that neither training nor the reported scores use.
        changes: settings that replace those of the training, in the mapping form of a recipe.
        runtime: device and workers.
        out: path of the calibrated checkpoint; None replaces `path`.

    Raises:
        UsageError: as `open_evaluation`, or the run is distributed.
        CropzooError: the split has no labeled pixel, or the logits are not finite; the file is not changed.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2; the minimum is found by bisection, since the loss is convex
        in the inverse of the temperature.
    """
    if get_world_size() > 1:
        raise UsageError("calibrating in a distributed run; it works in one process; start it without torchrun")
    runtime = runtime or Runtime()
    model, data = open_evaluation(path, zoo, split, changes or {}, runtime)
    model.temperature = 1.0
    warn_about_dates(data, split)
    found = fit_temperature(*predict_split(model, data, split, LogitSample(_PIXELS), runtime))
    metadata = Metadata.parse(model.metadata, f"metadata of {str(path)!r}")
    values = {"temperature": found.temperature, "scores": _keep_old_error(metadata.scores)}
    save_checkpoint(out or path, read_state(path), metadata.model_copy(update=values))
    return found


def fit_temperature(logits: Tensor, labels: Tensor, drawn: int | None = None) -> Calibration:
    """Fit the temperature that maximizes the likelihood of labels.

    Args:
        logits: (N, K), float32.
        labels: (N,), int64, from 0 to K - 1.
        drawn: number of pixels that these were drawn from; N if None.

    Raises:
        CropzooError: there is no pixel, or a logit is not finite.
    """
    if not len(labels):
        raise CropzooError("calibrating on a split; it has no labeled pixel; choose another --split")
    if not bool(logits.isfinite().all()):
        raise CropzooError("calibrating; the model's logits hold NaN or infinity; check the series and the weights")
    low, high = 1 / MOST, 1 / LEAST
    for _ in range(_STEPS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if _slope(logits, labels, middle) > 0 else (middle, high)
    temperature = 1 / (low * high) ** 0.5
    before, after = (_measure(logits, labels, value) for value in (1.0, temperature))
    return Calibration(temperature, len(labels), drawn or len(labels), after[0], before[0], after[1], before[1])


def _slope(logits: Tensor, labels: Tensor, inverse: float) -> float:
    """Derivative of the mean loss by the inverse temperature: expected logit minus that of the true class."""
    total = 0.0
    for part, truth in _chunks(logits, labels):
        expected = ((part * inverse).softmax(dim=1) * part).sum(dim=1)
        total += float((expected - part.gather(1, truth[:, None])[:, 0]).double().sum())
    return total / len(labels)


def _measure(logits: Tensor, labels: Tensor, temperature: float) -> tuple[float, float]:
    """Mean loss and calibration error at a temperature."""
    error, total = CalibrationError(), 0.0
    for part, truth in _chunks(logits, labels):
        log = (part / temperature).log_softmax(dim=1)
        total -= float(log.gather(1, truth[:, None]).double().sum())
        confidence, predictions = log.max(dim=1)
        error.update(confidence.exp(), predictions == truth)
    return total / len(labels), float(error.compute())


def _chunks(logits: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(labels), _CHUNK):
        yield logits[start : start + _CHUNK], labels[start : start + _CHUNK]


class LogitSample:
    """Random sample of labeled pixels of a stream of unknown length; each pixel is equally likely, and runs repeat.

    Every pixel gets a random number, and those with the smallest numbers are kept.

    Args:
        size: maximum number of pixels.
    """

    def __init__(self, size: int) -> None:
        self.size, self.seen, self._limit = size, 0, 1.0
        self._random = torch.Generator().manual_seed(0)
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []
        self._count = 0

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add the labeled pixels of a batch; logits are (B, K, H, W), repeated where labels are finer."""
        if batch.labels is None:
            return
        logits = logits.float()
        scale = batch.labels.shape[-1] // logits.shape[-1]
        if scale > 1:
            logits = logits.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
        known = batch.labels != IGNORE
        self.add(logits.movedim(1, -1)[known].cpu(), batch.labels[known].long().cpu())

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add pixels: logits (n, K) and labels (n,)."""
        self.seen += len(labels)
        keys = torch.rand(len(labels), generator=self._random, dtype=torch.float64)
        near = keys < self._limit
        self._kept.append((keys[near], logits[near].clone(), labels[near].clone()))
        self._count += int(near.sum())
        if self._count > 2 * self.size:
            self._thin()

    def compute(self) -> tuple[Tensor, Tensor, int]:
        """Logits (N, K) and labels (N,) of the sample, and the number of pixels of the stream."""
        if not self._kept:
            return torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64), 0
        self._thin()
        return self._kept[0][1], self._kept[0][2], self.seen

    def _thin(self) -> None:
        keys, logits, labels = (torch.cat([each[field] for each in self._kept]) for field in range(3))
        self._kept.clear()
        if len(keys) > self.size:
            self._limit = float(keys.kthvalue(self.size).values)
            stay = keys <= self._limit
            keys, logits, labels = keys[stay], logits[stay], labels[stay]
        self._kept, self._count = [(keys, logits, labels)], len(keys)


def _keep_old_error(scores: dict[str, Any]) -> dict[str, Any]:
    """Rename the calibration error of stored scores, which is that of the uncalibrated model."""
    if scores.get("ece") is not None:
        scores = {**scores, "ece_uncalibrated": scores.get("ece_uncalibrated", scores["ece"]), "ece": None}
    return scores
