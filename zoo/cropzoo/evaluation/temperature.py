"""Confidence that means what it says: one temperature for all logits, found on data that training did not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from cropzoo.data.batch import Batch
from cropzoo.data.loader import make_loader
from cropzoo.data.patches import Tiles
from cropzoo.data.sample import IGNORE
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.evaluate import Trial, open_trial, tell_trial
from cropzoo.evaluation.metrics import CalibrationError
from cropzoo.models.checkpoint import Metadata, read_state, save_checkpoint
from cropzoo.parallel import get_world_size
from cropzoo.plugins.registry import Zoo
from cropzoo.runtime import Runtime, interruptible, make_trainer

LEAST, MOST = 0.05, 20.0
"""Temperatures that are looked at. One at an end has no minimum between: the model is right, or wrong, everywhere."""

_PIXELS = 1 << 20
"""Labeled pixels that are kept; of 20 classes they take 84 MB, and the temperature is known to three digits."""

_PART = 1 << 17
_STEPS = 60
"""Halvings of the range, far below what single precision can tell apart."""


@dataclass(frozen=True)
class Calibration:
    """What a calibration came to.

    Args:
        temperature: that the logits are divided by.
        pixels: labeled ones that it was found on.
        drawn: labeled ones that were there.
        loss, loss_before: mean negative log-likelihood of the true class with and without it, nats.
        ece, ece_before: expected calibration error over 15 bins with and without it, 0..1.
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
        """Whether the likelihood has no maximum between the temperatures that are looked at."""
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
    """Find the temperature of a checkpoint on a split and write it into the file, which is replaced as a whole.

    A temperature that was there before is replaced, not refined. Classes stay as they are: dividing all logits of a
    pixel by one number does not change their order. Stored scores keep their calibration error as `ece_uncalibrated`.

    Args:
        path: of the checkpoint.
        zoo: where backbone and dataset are looked up.
        split: one that neither training nor the reported scores use, which is val.
        changes: settings in the recipe's mapping form over those that it was trained with.
        runtime: device and workers.
        out: another file to write instead.

    Raises:
        UsageError: as `open_trial`, or in one of several processes.
        CropzooError: the split has no labeled pixel, or the logits are not finite; the file stays as it was.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2; the minimum is found by halving, since the loss is convex in
        the inverse of the temperature.
    """
    if get_world_size() > 1:
        raise UsageError("calibrating in several processes; one is enough for a split; start it without torchrun")
    trial = open_trial(path, zoo, split, changes or {})
    tell_trial(trial)
    logits, labels, drawn = _gather(trial, runtime or Runtime())
    found = fit_temperature(logits, labels, drawn)
    values = {"temperature": found.temperature, "scores": _with_old_error(trial.metadata)}
    save_checkpoint(out or path, read_state(path), trial.metadata.model_copy(update=values))
    return found


def fit_temperature(logits: Tensor, labels: Tensor, drawn: int | None = None) -> Calibration:
    """The temperature that makes labels most likely.

    Args:
        logits: (N, K), float32.
        labels: (N,), int64, from 0 to K - 1.
        drawn: pixels that these were drawn from.

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
    before, after = (_tell(logits, labels, value) for value in (1.0, temperature))
    return Calibration(temperature, len(labels), drawn or len(labels), after[0], before[0], after[1], before[1])


def _slope(logits: Tensor, labels: Tensor, inverse: float) -> float:
    """The derivative of the mean loss by the inverse temperature: expected logit less that of the true class."""
    total = 0.0
    for part, truth in _parts(logits, labels):
        expected = ((part * inverse).softmax(dim=1) * part).sum(dim=1)
        total += float((expected - part.gather(1, truth[:, None])[:, 0]).double().sum())
    return total / len(labels)


def _tell(logits: Tensor, labels: Tensor, temperature: float) -> tuple[float, float]:
    """Mean loss and calibration error."""
    error, total = CalibrationError(), 0.0
    for part, truth in _parts(logits, labels):
        log = (part / temperature).log_softmax(dim=1)
        total -= float(log.gather(1, truth[:, None]).double().sum())
        confidence, predictions = log.max(dim=1)
        error.update(confidence.exp(), predictions == truth)
    return total / len(labels), float(error.compute())


def _parts(logits: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Small enough that what is computed of them takes little memory."""
    for start in range(0, len(labels), _PART):
        yield logits[start : start + _PART], labels[start : start + _PART]


def _gather(trial: Trial, runtime: Runtime) -> tuple[Tensor, Tensor, int]:
    """Logits (N, K) and labels (N,) of pixels drawn from a split, and how many it has."""
    loader = make_loader(
        Tiles(trial.samples, trial.recipe),
        trial.collate,
        batch_size=trial.recipe.batch_size,
        workers=runtime.workers,
    )
    module = _Gathering(trial)
    trainer = make_trainer(runtime, precision=trial.recipe.precision)
    with interruptible():
        trainer.test(module, loader, verbose=False)
    return module.drawn.result()


class _Gathering(pl.LightningModule):
    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self.model, self.normalizer = trial.model, trial.normalizer
        self.drawn = Draw(_PIXELS)

    def test_step(self, batch: Batch, index: int) -> None:
        if batch.labels is None:
            return
        batch = self.normalizer(batch)
        assert batch.labels is not None
        logits = self.model(batch.series, batch.dates, batch.valid).float()
        scale = batch.labels.shape[-1] // logits.shape[-1]
        if scale > 1:
            logits = logits.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
        known = batch.labels != IGNORE
        self.drawn.add(logits.movedim(1, -1)[known].cpu(), batch.labels[known].long().cpu())


class Draw:
    """A sample of pixels, each as likely as the next, of a stream whose length nobody knows; the same every time.

    Every pixel gets a random number, and those with the smallest stay.

    Args:
        most: pixels to keep.
    """

    def __init__(self, most: int) -> None:
        self.most, self.seen, self._limit = most, 0, 1.0
        self._random = torch.Generator().manual_seed(0)
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []
        self._count = 0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add pixels: (n, K) and (n,)."""
        self.seen += len(labels)
        keys = torch.rand(len(labels), generator=self._random, dtype=torch.float64)
        near = keys < self._limit
        self._kept.append((keys[near], logits[near].clone(), labels[near].clone()))
        self._count += int(near.sum())
        if self._count > 2 * self.most:
            self._thin()

    def result(self) -> tuple[Tensor, Tensor, int]:
        """Logits, labels, and how many there were in all."""
        if not self._kept:
            return torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64), 0
        self._thin()
        return self._kept[0][1], self._kept[0][2], self.seen

    def _thin(self) -> None:
        keys, logits, labels = (torch.cat([each[field] for each in self._kept]) for field in range(3))
        self._kept.clear()
        if len(keys) > self.most:
            self._limit = float(keys.kthvalue(self.most).values)
            stay = keys <= self._limit
            keys, logits, labels = keys[stay], logits[stay], labels[stay]
        self._kept, self._count = [(keys, logits, labels)], len(keys)


def _with_old_error(metadata: Metadata) -> dict[str, Any]:
    """The stored scores, whose calibration error is no longer that of the model."""
    scores = dict(metadata.scores)
    if scores.get("ece") is not None:
        scores = {**scores, "ece_uncalibrated": scores.get("ece_uncalibrated", scores["ece"]), "ece": None}
    return scores
