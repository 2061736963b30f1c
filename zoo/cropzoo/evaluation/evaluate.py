"""Scores of a model on a split of a dataset whose bands and classes are matched by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from cropzoo.data.batch import Batch
from cropzoo.data.datamodule import DataModule, ModelInputs, open_data
from cropzoo.data.dates import date_warnings
from cropzoo.data.normalize import Normalizer
from cropzoo.data.patches import PatchKey
from cropzoo.data.sample import Dataset, Sample
from cropzoo.data.units import compare_pixel_sizes, describe_unit, find_unit, sample_medians, sample_pixel_size
from cropzoo.evaluation.metrics import Scorer
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, check_head, check_statistics, read_metadata
from cropzoo.models.factory import load_weights
from cropzoo.models.stored_recipe import scoring_recipe
from cropzoo.models.upsample import match_labels
from cropzoo.plugins.registry import Zoo
from cropzoo.runtime import Runtime, choose_device, choose_precision, interruptible, make_trainer

_log = logging.getLogger("cropzoo")


def evaluate(model: Model, data: DataModule, split: str, runtime: Runtime) -> dict[str, Any]:
    """Score a model on a split, with each labeled pixel counted once.

    Args:
        model: the model.
        data: data module with the split.
        split: name of the split.
        runtime: device; a distributed run shares the tiles out.

    Returns:
        The keys of `Scorer.compute`, and `label_scale`: how many times finer than the images the labels are.

    Raises:
        CropzooError: the split is empty or has no labeled pixel.
    """
    scorer = Scorer(data.class_names, temperature=model.temperature)
    scores: dict[str, Any] = predict_split(model, data, split, scorer, runtime)
    return {**scores, "label_scale": data.split(split)[0].label_scale}


class Collector(Protocol):
    """Receives the logits of a split batch by batch; a module is moved to the device of the model."""

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add a batch of logits, (B, K, H, W), with the normalized batch that they were computed from."""

    def compute(self) -> Any:
        """Return the result; in a distributed run every process calls this."""


def predict_split(model: Model, data: DataModule, split: str, collector: Collector, runtime: Runtime) -> Any:
    """Run a model over the tiles of a split.

    Args:
        model: the model.
        data: data module with the split; its recipe sets batch size and precision.
        split: name of the split.
        collector: receives the logits.
        runtime: device; a distributed run shares the tiles out.

    Returns:
        What the collector computed.
    """
    return predict_loader(model, data, data.tile_loader(split), collector, runtime)


def predict_loader(
    model: Model, data: DataModule, loader: DataLoader[Any], collector: Collector, runtime: Runtime
) -> Any:
    """Run a model over the batches of a loader of `data`; arguments and result as in `predict_split`."""
    module = _PredictionModule(model, data.normalizer, collector)
    trainer = make_trainer(runtime, precision=data.recipe.precision)
    with interruptible():
        trainer.test(module, loader, verbose=False)
    return module.result


class _PredictionModule(pl.LightningModule):
    def __init__(self, model: Model, normalizer: Normalizer, collector: Collector) -> None:
        super().__init__()
        self.model, self.normalizer, self.collector = model, normalizer, collector
        self.result: Any = None

    def test_step(self, batch: Batch, index: int) -> None:
        batch = self.normalizer(batch)
        self.collector.update(self.model.predict_batch(batch), batch)

    def on_test_epoch_end(self) -> None:
        self.result = self.collector.compute()


@torch.no_grad()
def predict_sample(model: Model, data: DataModule, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Predict the class of every pixel of a sample, with the probability of that class.

    Args:
        model: the model, in evaluation mode.
        data: data module of the model; it cuts and normalizes the tiles.
        sample: a sample of any size.

    Returns:
        Classes (sH, sW) uint8 and confidence (sH, sW) float32, where s is the upsampling of the model. Where tiles
        overlap, the first one counts.
    """
    tiles, scale, size = data.tiles([sample]), data.recipe.head.upsample, data.options.size
    height, width = (scale * side for side in sample.series.shape[-2:])
    logits = np.zeros((1, height, width), np.float32)
    for start in range(0, len(tiles), data.recipe.batch_size):
        chunk = range(start, min(start + data.recipe.batch_size, len(tiles)))
        batch = data.normalizer(data.collate([tiles[PatchKey(0, position)] for position in chunk]))
        batch = batch.to(model.device)
        output = model.predict_batch(batch).float().cpu().numpy()
        if len(logits) != output.shape[1]:
            logits = np.zeros((output.shape[1], height, width), np.float32)
        for values, position in zip(output, chunk, strict=True):
            tile = tiles.places[position][1]
            top, left = scale * (tile.row + tile.overlap_rows), scale * (tile.column + tile.overlap_columns)
            rows = slice(top, min(scale * (tile.row + size), height))
            columns = slice(left, min(scale * (tile.column + size), width))
            inner = values[:, scale * tile.overlap_rows :, scale * tile.overlap_columns :]
            logits[:, rows, columns] = inner[:, : rows.stop - rows.start, : columns.stop - columns.start]
    probabilities = torch.from_numpy(logits).softmax(dim=0).numpy()
    return probabilities.argmax(axis=0).astype(np.uint8), probabilities.max(axis=0)


def open_evaluation(
    path: Path,
    zoo: Zoo,
    split: str,
    changes: Mapping[str, Any],
    runtime: Runtime,
    upsample: str | None = None,
) -> tuple[Model, DataModule]:
    """Load a checkpoint and open its data for scoring.

    Args:
        path: path of the checkpoint file.
        zoo: plugins, by which backbone and dataset are looked up.
        split: name of the split that will be scored.
        changes: settings that replace those of the training, in the mapping form of a recipe.
        runtime: device and workers.
        upsample: how logits are interpolated to finer labels; see `match_labels`.

    Returns:
        The model with the metadata of its checkpoint, and the data matched to it.

    Raises:
        UsageError: neither checkpoint nor changes name a dataset, the checkpoint has no band statistics, or the grids
            of logits and labels do not fit.
        CropzooError: bands or classes do not fit.
    """
    metadata = read_metadata(path)
    check_head(metadata)
    recipe = scoring_recipe(metadata, zoo, changes)
    requested = recipe.precision if "precision" in changes else None
    precision = choose_precision(recipe.precision, requested, choose_device(runtime.device))
    recipe = recipe.model_copy(update={"precision": precision})
    check_statistics(metadata, f"scoring {str(path)!r}")
    model = load_weights(path, metadata, zoo)
    inputs = ModelInputs(
        dates=metadata.dates,
        inputs=metadata.inputs,
        normalization=metadata.normalization,
        size_multiple=model.backbone.size_multiple,
        bands=metadata.bands,
        mean=metadata.mean,
        std=metadata.std,
        classes=metadata.classes,
    )
    data = open_data(zoo, recipe, inputs, runtime.workers)
    for line in _compare_data(data.split(split)[0], data.dataset, metadata):
        _log.warning("%s", line)
    return match_labels(model, metadata.upsample, data.split(split)[0].label_scale, upsample), data


def _compare_data(sample: Sample, dataset: Dataset, metadata: Metadata) -> Iterator[str]:
    """Warnings if a sample differs from the training data in the unit of its values or the size of its pixels."""
    if line := compare_pixel_sizes(sample_pixel_size(sample), metadata.pixel_size):
        yield line
    medians = sample_medians(sample)
    picks = [list(dataset.bands).index(band) for band in metadata.bands]
    unit = None if medians is None else find_unit(medians[picks], metadata.mean, dataset.scale)
    if unit is not None:
        yield (
            f"the values of sample {sample.name!r} have another unit than the training data and are probably "
            f"{describe_unit(unit)}; set the scale of the dataset, such as --set dataset.scale={unit:g}"
        )


def warn_about_dates(data: DataModule, split: str) -> None:
    """Warn about dates of a split that are dropped or padded."""
    for line in date_warnings({split: data.split(split)}, data.options.dates):
        _log.warning("%s", line)


def score_baseline(name: str, data: DataModule, split: str) -> dict[str, Any]:
    """Score a baseline on a split; it learns from the labels that the training used, and uses all dates.

    Args:
        name: name of the baseline, one of `cropzoo.evaluation.baselines.BASELINES`.
        data: data module with the split and the training samples.
        split: name of the split.

    Returns:
        The keys of `score_predictions`, and the name.

    Raises:
        CropzooError: no pixel of either split is labeled, or a value is NaN or infinite.
    """
    from cropzoo.evaluation.baselines import BASELINES, score_predictions

    samples = data.split(split)
    predictions = BASELINES[name](data.training_samples, samples)
    return {"name": name, **score_predictions(predictions, samples, data.class_names)}
