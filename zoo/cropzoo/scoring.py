"""Scoring a checkpoint on a dataset whose bands and classes are matched by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cropzoo.checkpoint import Metadata, check_head, read_metadata
from cropzoo.contracts import Model
from cropzoo.data.dates import tell_dates
from cropzoo.data.loading import Collate
from cropzoo.data.normalising import Normaliser
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.evaluation import evaluate
from cropzoo.fit.trainer import Runtime
from cropzoo.label_budget import few_labels
from cropzoo.models import check_image_size, load_model
from cropzoo.opening import open_dataset, open_split
from cropzoo.recipe import Recipe, normalise
from cropzoo.relabelling import Relabelled, label_table
from cropzoo.resolution import match_labels
from cropzoo.samples import Dataset, LabelClass, Sample
from cropzoo.selection import choose_for
from cropzoo.settings import merge
from cropzoo.zoo import Zoo

_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class Trial:
    """A model and the split that it is put to; see `evaluate` for the fields."""

    model: Model
    normaliser: Normaliser
    split: str
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    collate: Collate
    recipe: Recipe
    metadata: Metadata


def tell_trial(trial: Trial) -> None:
    """Warn of dates of the split that are left out or padded."""
    for line in tell_dates({trial.split: trial.samples}, trial.recipe):
        _log.warning("%s", line)


def score_trial(trial: Trial, runtime: Runtime) -> dict[str, Any]:
    """The scores of a trial; see `Scorer.compute` for the keys, `evaluate` for errors."""
    return evaluate(
        trial.model,
        trial.normaliser,
        trial.samples,
        trial.classes,
        trial.collate,
        trial.recipe,
        runtime,
        temperature=trial.metadata.temperature,
    )


def score_floor(trial: Trial, zoo: Zoo) -> dict[str, Any]:
    """The scores of five nearest neighbours on the split of a trial: pixels of the same data's training split vote.

    They know the labels that the training had, and all dates; see `nearest_neighbour`, and `floor_scores` for the keys.

    Raises:
        CropzooError: when no pixel of either split is labelled.
    """
    from cropzoo.floor import floor_scores, nearest_neighbour  # scikit-learn is slow to import

    train = _samples(_dataset(trial.recipe, zoo), "train", trial.recipe, trial.metadata, zoo)
    known = few_labels(train, trial.recipe.label_fraction, trial.recipe.seed)
    return floor_scores(nearest_neighbour(known, trial.samples), trial.samples, trial.classes)


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
    normaliser = Normaliser(dataset.bands, metadata.bands, dataset.scale, metadata.mean, metadata.std)
    model = match_labels(load_model(path, zoo=zoo), metadata.upsample, samples[0].label_scale, upsample)
    check_image_size(metadata.backbone.name, model.backbone.size_multiple, recipe.image_size)
    collate = Collate(metadata.dates, metadata.length)
    names = tuple(label.name for label in metadata.classes)
    return Trial(model, normaliser, split, samples, names, collate, recipe, metadata)


def _dataset(recipe: Recipe, zoo: Zoo) -> Dataset:
    return open_dataset(zoo, recipe.dataset.name, recipe.dataset.options)


def _samples(dataset: Dataset, split: str, recipe: Recipe, metadata: Metadata, zoo: Zoo) -> Sequence[Sample]:
    """The samples of a split that the recipe chooses, labelled by the classes of the checkpoint."""
    samples = choose_for(recipe, open_split(dataset, split, zoo.datasets[recipe.dataset.name].spec.splits), split)
    return Relabelled(samples, label_table(dataset.classes, metadata.classes), len(dataset.classes))


_CHOICES = ("train_years", "train_sites", "test_years", "test_sites")

_CHANGEABLE = ("dataset", "image_size", "max_dates", "date_sampling", "batch_size", "precision", *_CHOICES)
"""Settings that scoring reads and the network's shape does not follow from."""


def scoring_recipe(metadata: Metadata, zoo: Zoo, changes: Mapping[str, Any]) -> Recipe:
    """The recipe that a checkpoint was trained with, for other data where `changes` name some.

    Raises:
        UsageError: when no data are named, or a change is not for scoring to make.
    """
    changes = normalise(changes, "the command line")
    for key in changes:
        if key not in _CHANGEABLE:
            raise UnknownName("setting of a scoring:", key, _CHANGEABLE, "all else is as the checkpoint was trained")
    trained = {
        **metadata.recipe,
        "backbone": {"name": metadata.backbone.name, **metadata.backbone.options},
        "length": metadata.length,
    }
    trained.setdefault("image_size", metadata.image_size)
    trained = normalise(trained, "the checkpoint's recipe")
    if "name" in changes.get("dataset", {}):  # other data have seasons, sites and parcels of their own
        trained = {key: value for key, value in trained.items() if key not in (*_CHOICES, "label_fraction")}
    merged = merge(trained, changes)
    min_clear = trained.get("dataset", {}).get("min_clear", 0)
    merged.setdefault("dataset", {}).setdefault(
        "min_clear", min_clear
    )  # other data, but clouds as the model knows them
    if "name" not in merged.get("dataset", {}):
        raise UsageError("the checkpoint does not say what it was trained on; name the data with --dataset")
    return Recipe.from_mapping(merged, "the checkpoint's recipe", zoo.objectives)


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
