"""How far two networks' answers lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cropzoo.checkpoint import Metadata
from cropzoo.contracts import Batch, Model
from cropzoo.data.dates import encode_dates
from cropzoo.data.normalising import Normaliser
from cropzoo.errors import CropzooError
from cropzoo.exporting.series import Given

TOLERANCE = 1e-4

Run = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Logits and probabilities, (B, K, H, W) each."""


@dataclass(frozen=True)
class Difference:
    """The largest differences over some series.

    Args:
        series: how many.
        logits: as they are.
        relative: of logits, in units of the largest logit where that is above 1.
        probabilities: as they are.
    """

    series: int
    logits: float
    relative: float
    probabilities: float

    @property
    def largest(self) -> float:
        """What must not be above the tolerance: float32 knows logits of 100 to no more than 1e-5 of them."""
        return max(self.relative, self.probabilities)


def compare(found: Sequence[Run], wanted: Sequence[Run]) -> Difference:
    """The largest differences of answers; not a number where shapes or finiteness differ."""
    pairs = [(a, b) for ours, theirs in zip(found, wanted, strict=True) for a, b in zip(ours, theirs, strict=True)]
    series = sum(len(logits) for logits, _ in found)
    if any(a.shape != b.shape or not (np.isfinite(a) == np.isfinite(b)).all() for a, b in pairs):
        return Difference(series, np.nan, np.nan, np.nan)
    gaps = [float(np.abs(np.nan_to_num(a) - np.nan_to_num(b)).max()) for a, b in pairs]
    units = [max(1.0, float(np.abs(np.nan_to_num(b)).max())) for _, b in pairs[::2]]
    logits = gaps[::2]
    relative = max(gap / unit for gap, unit in zip(logits, units, strict=True))
    return Difference(series, max(logits), relative, max(gaps[1::2]))


def agrees(difference: Difference) -> bool:
    """Whether the difference is within the tolerance; what is not a number is not."""
    return difference.largest <= TOLERANCE


def answered(model: Model, metadata: Metadata, trials: Sequence[Given]) -> tuple[list[Given], list[Run]]:
    """The series that the model itself can take, and its answers; it need not take an image of a few pixels.

    Raises:
        CropzooError: when it takes none of them.
    """
    taken, answers, problem = [], [], None
    for given in trials:
        try:
            answers.append(reference(model, metadata, given))
        except Exception as error:  # of the network's own operations, in as many ways as there are
            problem = error
        else:
            taken.append(given)
    if not taken:
        raise CropzooError(
            f"backbone {metadata.backbone.name!r} on series of shape {trials[0].series.shape}; {problem}; "
            "mend the checkpoint"
        ) from problem
    return taken, answers


@torch.no_grad()
def reference(model: Model, metadata: Metadata, given: Given) -> Run:
    """The model's own answer, asked as `cropzoo evaluate` does: dates encoded and numbers normalised outside of it."""
    encoded = np.zeros_like(given.dates)
    for row, days, real in zip(encoded, given.dates, given.valid, strict=True):
        row[real] = encode_dates(days[real].astype(np.int32), metadata.dates)
    normaliser = Normaliser(metadata.bands, metadata.bands, metadata.scale or 1.0, metadata.mean, metadata.std)
    batch = normaliser(Batch(*(torch.from_numpy(value) for value in (given.series, encoded, given.valid))))
    logits = model(batch.series, batch.dates, batch.valid) / metadata.temperature
    return logits.numpy(), logits.softmax(1).numpy()
