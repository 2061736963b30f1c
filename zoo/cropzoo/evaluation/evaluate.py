"""Scoring a checkpoint on a dataset whose bands and classes are matched by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray

from cropzoo.config.recipe import Recipe
from cropzoo.data.batch import Batch
from cropzoo.data.dates import date_warnings
from cropzoo.data.loader import Collate, make_loader
from cropzoo.data.normalize import Normalizer
from cropzoo.data.open import open_dataset, open_split
from cropzoo.data.patches import Key, Tiles
from cropzoo.data.sample import Dataset, LabelClass, Sample
from cropzoo.data.subsets import Relabeled, choose_for, label_table, subsample_labels
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.metrics import Scorer
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, check_head, read_metadata, scoring_recipe
from cropzoo.models.factory import check_image_size, load_model
from cropzoo.models.upsample import match_labels
from cropzoo.parallel import get_rank, get_world_size
from cropzoo.plugins.registry import Zoo
from cropzoo.runtime import Runtime, interruptible, make_trainer


class _Evaluation(pl.LightningModule):
    def __init__(self, model: Model, normalizer: Normalizer, classes: Sequence[str], temperature: float) -> None:
        super().__init__()
        self.model, self.normalizer = model, normalizer
        self.scorer = Scorer(classes, temperature=temperature)
        self.scores: dict[str, Any] = {}

    def test_step(self, batch: Batch, index: int) -> None:
        batch = self.normalizer(batch)
        self.scorer.update(self.model(batch.series, batch.dates, batch.valid), batch)

    def on_test_epoch_end(self) -> None:
        self.scores = self.scorer.compute()


def evaluate(
    model: Model,
    normalizer: Normalizer,
    samples: Sequence[Sample],
    classes: Sequence[str],
    collate: Collate,
    recipe: Recipe,
    runtime: Runtime,
    *,
    temperature: float = 1.0,
) -> dict[str, Any]:
    """The scores of a model on a split, each labeled pixel counted once.

    Beside the keys of `Scorer.compute` stands `label_scale`: how many times finer than the images pixels of labels are.

    Args:
        model: what is scored.
        normalizer: from stored numbers to the model's.
        samples: the split.
        classes: names, by label index.
        collate: how items become a batch.
        recipe: tile size, dates, batch size and precision.
        runtime: device and workers; a distributed run shares the tiles out.
        temperature: divides the logits before confidence is taken of them.

    Raises:
        CropzooError: when the split is empty or has no labeled pixel.
    """
    if not len(samples):
        raise CropzooError("scoring a split; it has no sample; choose another split")
    rank, processes = get_rank(), get_world_size()
    loader = make_loader(
        Tiles(samples, recipe),
        collate,
        batch_size=recipe.batch_size,
        workers=runtime.workers,
        rank=rank,
        world=processes,
    )
    module = _Evaluation(model, normalizer, classes, temperature)
    trainer = make_trainer(runtime, precision=recipe.precision)
    with interruptible():
        trainer.test(module, loader, verbose=False)
    return {**module.scores, "label_scale": samples[0].label_scale}


@torch.no_grad()
def predict_sample(
    model: Model, normalizer: Normalizer, sample: Sample, collate: Collate, recipe: Recipe
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The class of every pixel of a sample and the probability of that class.

    Args:
        model: in evaluation mode.
        normalizer: from stored numbers to the model's.
        sample: of any size.
        collate: how tiles become a batch.
        recipe: tile size and dates.

    Returns:
        (classes (sH, sW) uint8, confidence (sH, sW) float32), s = `recipe.head.upsample`; where tiles overlap the first
        one counts.
    """
    tiles, scale = Tiles([sample], recipe), recipe.head.upsample
    size, (height, width) = scale * recipe.image_size, (scale * side for side in sample.series.shape[-2:])
    logits = np.zeros((1, height, width), np.float32)
    for start in range(0, len(tiles), recipe.batch_size):
        chunk = range(start, min(start + recipe.batch_size, len(tiles)))
        batch = normalizer(collate([tiles[Key(0, position)] for position in chunk]))
        batch = batch.to(next(model.parameters()).device)
        output = model(batch.series, batch.dates, batch.valid).float().cpu().numpy()
        if len(logits) != output.shape[1]:
            logits = np.zeros((output.shape[1], height, width), np.float32)
        for values, position in zip(output, chunk, strict=True):
            tile = tiles.places[position][1]
            top, left = scale * (tile.row + tile.seen_rows), scale * (tile.column + tile.seen_columns)
            rows, columns = (
                slice(top, min(scale * tile.row + size, height)),
                slice(left, min(scale * tile.column + size, width)),
            )
            inner = values[:, scale * tile.seen_rows :, scale * tile.seen_columns :]
            logits[:, rows, columns] = inner[:, : rows.stop - rows.start, : columns.stop - columns.start]
    chance = torch.from_numpy(logits).softmax(dim=0).numpy()
    return chance.argmax(axis=0).astype(np.uint8), chance.max(axis=0)


_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class Trial:
    """A model and the split that it is put to; see `evaluate` for the fields."""

    model: Model
    normalizer: Normalizer
    split: str
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    collate: Collate
    recipe: Recipe
    metadata: Metadata


def tell_trial(trial: Trial) -> None:
    """Warn of dates of the split that are left out or padded."""
    for line in date_warnings({trial.split: trial.samples}, trial.recipe):
        _log.warning("%s", line)


def score_trial(trial: Trial, runtime: Runtime) -> dict[str, Any]:
    """The scores of a trial; see `Scorer.compute` for the keys, `evaluate` for errors."""
    return evaluate(
        trial.model,
        trial.normalizer,
        trial.samples,
        trial.classes,
        trial.collate,
        trial.recipe,
        runtime,
        temperature=trial.metadata.temperature,
    )


def score_floor(trial: Trial, zoo: Zoo) -> dict[str, Any]:
    """The scores of five nearest neighbors on the split of a trial: pixels of the same data's training split vote.

    They know the labels that the training had, and all dates; see `nearest_neighbor`, and `floor_scores` for the keys.

    Raises:
        CropzooError: when no pixel of either split is labeled.
    """
    from cropzoo.evaluation.knn_baseline import floor_scores, nearest_neighbor

    train = _samples(_dataset(trial.recipe, zoo), "train", trial.recipe, trial.metadata, zoo)
    known = subsample_labels(train, trial.recipe.label_fraction, trial.recipe.seed)
    return floor_scores(nearest_neighbor(known, trial.samples), trial.samples, trial.classes)


def open_trial(path: Path, zoo: Zoo, split: str, changes: Mapping[str, Any], upsample: str | None = None) -> Trial:
    """The model of a checkpoint, and a split whose bands and classes are matched to it.

    Args:
        path: of the checkpoint.
        zoo: where backbone and dataset are looked up.
        split: of the dataset.
        changes: settings in the recipe's mapping form over those that it was trained with.
        upsample: how logits are brought to labels that are finer; see `match_labels`.

    Raises:
        UsageError: when neither checkpoint nor changes name a dataset, no statistics are stored, or the grids of logits
            and labels don't fit.
        CropzooError: when bands or classes don't fit.
    """
    metadata = read_metadata(path)
    check_head(metadata)
    recipe = scoring_recipe(metadata, zoo, changes)
    if recipe.precision == "16-mixed" and "precision" not in changes and not torch.cuda.is_available():
        _log.warning("trained in 16-mixed, which needs a GPU; scored in 32-true")
        recipe = recipe.model_copy(update={"precision": "32-true"})
    if metadata.scale is None or not (metadata.bands and metadata.mean and metadata.std):
        raise UsageError(
            f"{str(path)!r} holds no band statistics, so it can start a training (--weights) but not be scored; "
            "import it again with --statistics-of DATASET"
        )
    dataset = _dataset(recipe, zoo)
    _tell_unseen(dataset, metadata.classes)
    samples = _samples(dataset, split, recipe, metadata, zoo)
    normalizer = Normalizer(dataset.bands, metadata.bands, dataset.scale, metadata.mean, metadata.std)
    model = match_labels(load_model(path, zoo=zoo), metadata.upsample, samples[0].label_scale, upsample)
    check_image_size(metadata.backbone.name, model.backbone.size_multiple, recipe.image_size)
    collate = Collate(metadata.dates, metadata.length)
    names = tuple(label.name for label in metadata.classes)
    return Trial(model, normalizer, split, samples, names, collate, recipe, metadata)


def _dataset(recipe: Recipe, zoo: Zoo) -> Dataset:
    return open_dataset(zoo, recipe.dataset.name, recipe.dataset.options)


def _samples(dataset: Dataset, split: str, recipe: Recipe, metadata: Metadata, zoo: Zoo) -> Sequence[Sample]:
    """The samples of a split that the recipe chooses, labeled by the classes of the checkpoint."""
    samples = choose_for(recipe, open_split(dataset, split, zoo.datasets[recipe.dataset.name].spec.splits), split)
    return Relabeled(samples, label_table(dataset.classes, metadata.classes), len(dataset.classes))


def _tell_unseen(dataset: Dataset, wanted: Sequence[LabelClass]) -> None:
    """Name the dataset's classes that the model never saw, and that are ignored.

    Raises:
        CropzooError: when these are all.
    """
    known = {label.name for label in wanted}
    unseen = [label.name for label in dataset.classes if label.name not in known]
    if unseen:
        _log.warning("classes that the model never saw are left out of the scores: %s", ", ".join(unseen))
    if len(unseen) == len(dataset.classes):
        ours, theirs = (", ".join(label.name for label in classes) for classes in (wanted, dataset.classes))
        raise CropzooError(
            f"the model and the data share no class; the model knows {ours}, the data have {theirs or 'no labels'}"
        )
