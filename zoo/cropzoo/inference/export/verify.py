"""How far two networks' answers lie apart."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cropzoo.data.batch import Batch
from cropzoo.data.dates import encode_dates
from cropzoo.data.normalize import Normalizer
from cropzoo.data.open import open_dataset, open_split
from cropzoo.data.patches import PatchItem, PatchKey, Tiles
from cropzoo.errors import CropzooError
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, scoring_recipe
from cropzoo.plugins.registry import Zoo

SPRING_2018 = 17600
"""A day, since 1970-01-01."""


@dataclass(frozen=True)
class Given:
    """What a graph is given.

    Args:
        series: (B, T, C, H, W), float32, as stored; zero at padding.
        dates: (B, T), int64, days since 1970-01-01; 0 at padding.
        valid: (B, T), bool.
    """

    series: NDArray[np.float32]
    dates: NDArray[np.int64]
    valid: NDArray[np.bool_]

    def by_name(self) -> dict[str, NDArray[Any]]:
        """The inputs by their names."""
        return {"series": self.series, "dates": self.dates, "valid": self.valid}


def random_series(metadata: Metadata, batch: int, length: int, height: int, width: int, seed: int = 0) -> Given:
    """Whole numbers that spread as the model's bands do, at dates that none shares; two in five dates are padding.

    The first sample's dates are all valid where it is not alone. What stands at padding is random too.
    """
    rng = np.random.default_rng((seed, batch, length, height, width))
    shape = (batch, length, metadata.in_channels, height, width)
    mean, std = (np.array(values)[:, None, None] for values in (metadata.mean, metadata.std))
    stored = rng.normal(mean, std, shape) / (metadata.scale or 1.0)
    series = np.rint(stored).astype(np.float32) if (metadata.scale or 1.0) < 0.1 else stored.astype(np.float32)
    days = SPRING_2018 + rng.integers(0, 300) + rng.integers(1, 12, (batch, length)).cumsum(1)
    valid = rng.random((batch, length)) < 0.6
    valid[np.arange(batch), rng.integers(0, length, batch)] = True
    if batch > 1:
        valid[0] = True
    return Given(series, np.where(valid, days, 0), valid)


def random_trials(metadata: Metadata, dynamic: Collection[str], multiple: int) -> list[Given]:
    """Random series of shapes that use what is dynamic: single and many dates, one and several samples, other sizes."""
    side, usual = metadata.image_size, metadata.length or 12
    shapes = [(1, usual, side, side)]
    if "dates" in dynamic:
        shapes += [(1, length, side, side) for length in (1, 5)]
    if "batch" in dynamic:
        shapes.append((3, usual, side, side))
    if "size" in dynamic:
        shapes.append((2, usual, side + multiple, side + 2 * multiple))
    return [random_series(metadata, *shape, seed=number) for number, shape in enumerate(shapes)]


def real_series(metadata: Metadata, zoo: Zoo, split: str = "test", most: int = 4) -> Given:
    """Tiles, spread over a split of the data that a model was trained on, at the dates that scoring would use.

    Raises:
        CropzooError: when the data cannot be had or are not those of the model.
    """
    from cropzoo.data.datamodule import patch_options  # loads Lightning, which only this check needs

    recipe = scoring_recipe(metadata, zoo, {})
    dataset = open_dataset(zoo, recipe.dataset.name, recipe.dataset.options)
    missing = [band for band in metadata.bands if band not in dataset.bands]
    if missing:
        raise CropzooError(f"the data lack the bands {', '.join(missing)}")
    samples = open_split(dataset, split, zoo.datasets[recipe.dataset.name].spec.splits)
    tiles = Tiles(samples, patch_options(recipe))
    chosen = np.unique(np.linspace(0, len(tiles) - 1, min(most, len(tiles))).round().astype(int))
    items = [tiles[PatchKey(0, int(position))] for position in chosen]
    return _joined(items, [dataset.bands.index(band) for band in metadata.bands], metadata.length)


def _joined(items: Sequence[PatchItem], picks: Sequence[int], length: int | None) -> Given:
    """Tiles as one batch, padded to the longest or to `length`."""
    longest = length or max(len(item.sample.dates) for item in items)
    height, width = items[0].sample.series.shape[-2:]
    series = np.zeros((len(items), longest, len(picks), height, width), np.float32)
    dates, valid = np.zeros(series.shape[:2], np.int64), np.zeros(series.shape[:2], np.bool_)
    for row, item in enumerate(items):
        count = len(item.sample.dates)
        series[row, :count] = item.sample.series[:, picks]
        dates[row, :count], valid[row, :count] = item.sample.dates, True
    return Given(series, dates, valid)


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
    """The model's own answer, asked as `cropzoo evaluate` does: dates encoded and numbers normalized outside of it."""
    encoded = np.zeros_like(given.dates)
    for row, days, real in zip(encoded, given.dates, given.valid, strict=True):
        row[real] = encode_dates(days[real].astype(np.int32), metadata.dates)
    normalizer = Normalizer(metadata.bands, metadata.bands, metadata.scale or 1.0, metadata.mean, metadata.std)
    batch = normalizer(Batch(*(torch.from_numpy(value) for value in (given.series, encoded, given.valid))))
    logits = model(batch.series, batch.dates, batch.valid) / metadata.temperature
    return logits.numpy(), logits.softmax(1).numpy()
