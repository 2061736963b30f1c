"""Test inputs for exported graphs, and the differences between their outputs and the model's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cropzoo.data.batch import Batch
from cropzoo.data.dates import encode_dates
from cropzoo.data.loader import Collate
from cropzoo.data.normalize import Normalizer
from cropzoo.data.open import open_dataset, open_split
from cropzoo.data.patches import PatchKey, Tiles
from cropzoo.errors import CropzooError
from cropzoo.inference.export.graph import FURTHER_INPUTS
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata
from cropzoo.models.stored_recipe import scoring_recipe
from cropzoo.plugins.registry import Zoo

SPRING_2018 = 17600
"""10 March 2018, in days since 1970-01-01."""

TOLERANCE = 1e-4
"""Largest accepted difference between a graph and its model."""

ModelOutputs = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Logits and probabilities, (B, K, H, W) each."""


@dataclass(frozen=True)
class GraphInputs:
    """The inputs of a graph.

    Args:
        series: (B, T, C, H, W), float32, as stored; zero at padding.
        dates: (B, T), int64, days since 1970-01-01; 0 at padding.
        valid: (B, T), bool.
        clear: (B, T, H, W), bool; None for a graph without this input.
        location: (B, 2), float32; None for a graph without this input.
    """

    series: NDArray[np.float32]
    dates: NDArray[np.int64]
    valid: NDArray[np.bool_]
    clear: NDArray[np.bool_] | None = None
    location: NDArray[np.float32] | None = None

    def as_dict(self) -> dict[str, NDArray[Any]]:
        """The inputs of the graph by name."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None}

    def as_tensors(self) -> tuple[torch.Tensor | None, ...]:
        """The arguments of the graph in order; None for an input that it lacks."""
        given = [getattr(self, field.name) for field in fields(self)]
        while given[-1] is None:
            given.pop()
        return tuple(None if value is None else torch.from_numpy(value) for value in given)


def random_input(metadata: Metadata, batch: int, length: int, height: int, width: int, seed: int = 0) -> GraphInputs:
    """Random integers distributed like the model's bands, with different dates per sample and 40 % of them padding.

    In a batch of several samples, all dates of the first one are valid. Pixel values at padding are random as well.
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
    clear = rng.random((batch, length, height, width)) < 0.7 if "clear" in metadata.inputs else None
    location = rng.uniform(-60, 60, (batch, 2)).astype(np.float32) if "location" in metadata.inputs else None
    if location is not None:
        location[1:2] = np.nan
    return GraphInputs(series, np.where(valid, days, 0), valid, clear, location)


def random_inputs(metadata: Metadata, dynamic: Collection[str], multiple: int) -> list[GraphInputs]:
    """Random inputs that vary the dynamic axes: one and many dates, one and several samples, other image sizes."""
    side, usual = metadata.image_size, metadata.length or 12
    shapes = [(1, usual, side, side)]
    if "dates" in dynamic:
        shapes += [(1, length, side, side) for length in (1, 5)]
    if "batch" in dynamic:
        shapes.append((3, usual, side, side))
    if "size" in dynamic:
        shapes.append((2, usual, side + multiple, side + 2 * multiple))
    return [random_input(metadata, *shape, seed=number) for number, shape in enumerate(shapes)]


def dataset_inputs(metadata: Metadata, zoo: Zoo, split: str = "test", most: int = 4) -> GraphInputs:
    """Tiles spread over a split of the model's dataset, with the dates that evaluation would use.

    Raises:
        CropzooError: The dataset is not available or lacks bands of the model.
    """
    from cropzoo.data.datamodule import patch_options  # imports lightning, which only this check needs

    recipe = scoring_recipe(metadata, zoo, {})
    dataset = open_dataset(zoo, recipe.dataset.name, recipe.dataset.options)
    missing = [band for band in metadata.bands if band not in dataset.bands]
    if missing:
        raise CropzooError(f"the dataset lacks the bands {', '.join(missing)}")
    samples = open_split(dataset, split, zoo.datasets[recipe.dataset.name].spec.splits)
    tiles = Tiles(samples, patch_options(recipe))
    chosen = np.unique(np.linspace(0, len(tiles) - 1, min(most, len(tiles))).round().astype(int))
    batch = Collate("epoch", metadata.length, metadata.inputs)([tiles[PatchKey(0, int(each))] for each in chosen])
    picks = [dataset.bands.index(band) for band in metadata.bands]
    clear = batch.clear
    if "clear" in metadata.inputs and clear is None:
        clear = torch.ones((*batch.valid.shape, *batch.series.shape[-2:]), dtype=torch.bool)
    return GraphInputs(
        batch.series[:, :, picks].float().numpy(),
        batch.dates.numpy(),
        batch.valid.numpy(),
        clear.numpy() if clear is not None and "clear" in metadata.inputs else None,
        None if batch.location is None else batch.location.numpy(),
    )


@dataclass(frozen=True)
class OutputDifference:
    """The largest differences over a number of series.

    Args:
        series: Number of series.
        logits: Largest absolute difference of logits.
        relative: Largest difference of logits divided by the largest logit, where that is above 1.
        probabilities: Largest absolute difference of probabilities.
    """

    series: int
    logits: float
    relative: float
    probabilities: float

    @property
    def largest(self) -> float:
        """The value to compare with the tolerance; logits count relatively, because of the precision of float32."""
        return max(self.relative, self.probabilities)


def compare_outputs(found: Sequence[ModelOutputs], wanted: Sequence[ModelOutputs]) -> OutputDifference:
    """The largest differences of outputs; NaN where shapes or finiteness differ."""
    pairs = [(a, b) for ours, theirs in zip(found, wanted, strict=True) for a, b in zip(ours, theirs, strict=True)]
    series = sum(len(logits) for logits, _ in found)
    if any(a.shape != b.shape or not (np.isfinite(a) == np.isfinite(b)).all() for a, b in pairs):
        return OutputDifference(series, np.nan, np.nan, np.nan)
    gaps = [float(np.abs(np.nan_to_num(a) - np.nan_to_num(b)).max()) for a, b in pairs]
    units = [max(1.0, float(np.abs(np.nan_to_num(b)).max())) for _, b in pairs[::2]]
    logits = gaps[::2]
    relative = max(gap / unit for gap, unit in zip(logits, units, strict=True))
    return OutputDifference(series, max(logits), relative, max(gaps[1::2]))


def within_tolerance(difference: OutputDifference) -> bool:
    """Whether a difference is at most `TOLERANCE`; False for NaN."""
    return difference.largest <= TOLERANCE


def reference_outputs(
    model: Model, metadata: Metadata, trials: Sequence[GraphInputs]
) -> tuple[list[GraphInputs], list[ModelOutputs]]:
    """The inputs that the model accepts and its outputs for them; a model may refuse very small images.

    Raises:
        CropzooError: The model accepts none of the inputs.
    """
    accepted, outputs, problem = [], [], None
    for inputs in trials:
        try:
            outputs.append(reference_output(model, metadata, inputs))
        except Exception as error:  # any operation of the network can fail
            problem = error
        else:
            accepted.append(inputs)
    if not accepted:
        raise CropzooError(
            f"backbone {metadata.backbone.name!r} on series of shape {trials[0].series.shape}; {problem}; "
            "fix the checkpoint or the backbone"
        ) from problem
    return accepted, outputs


@torch.no_grad()
def reference_output(model: Model, metadata: Metadata, inputs: GraphInputs) -> ModelOutputs:
    """The model's outputs, computed as `cropzoo evaluate` does: dates are encoded and values normalized outside it."""
    encoded = np.zeros_like(inputs.dates)
    for row, days, real in zip(encoded, inputs.dates, inputs.valid, strict=True):
        row[real] = encode_dates(days[real].astype(np.int32), metadata.dates)
    statistics = metadata.scale or 1.0, metadata.mean, metadata.std, metadata.normalization
    series, _, valid, *_ = inputs.as_tensors()
    assert series is not None
    assert valid is not None
    further: dict[str, Any] = {
        name: torch.from_numpy(value) for name, value in inputs.as_dict().items() if name in FURTHER_INPUTS
    }
    batch = Batch(series, torch.from_numpy(encoded), valid, **further)
    logits = model.predict_batch(Normalizer(metadata.bands, metadata.bands, *statistics)(batch))
    return logits.numpy(), logits.softmax(1).numpy()
