"""The splits of a dataset as a recipe selects them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from cropzoo.config.recipe import SCALES, Recipe, objectives_of
from cropzoo.data.loader import Collate
from cropzoo.data.normalize import Normalizer
from cropzoo.data.open import open_dataset, open_split
from cropzoo.data.sample import Dataset, Sample
from cropzoo.data.statistics import class_counts
from cropzoo.data.subsets import choose_for, narrow, subsample_labels
from cropzoo.errors import CropzooError, UsageError
from cropzoo.plugins.registry import Zoo

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Data:
    """An open dataset.

    Args:
        splits: train and val, and test where there are labels to score by.
        counts: labeled pixels of each class, by split; none of a dataset without labels.
    """

    dataset: Dataset
    splits: dict[str, Sequence[Sample]]
    counts: dict[str, list[int]]


def open_data(zoo: Zoo, recipe: Recipe) -> Data:
    """The splits of the recipe's dataset, which knows no more classes and statistics than its training samples show.

    Raises:
        UsageError: for a dataset without labels that an objective of the recipe needs.
        CropzooError: for a split without a labeled pixel where they are needed, and whatever the dataset finds wrong.
    """
    dataset = open_dataset(zoo, recipe.dataset.name, recipe.dataset.options)
    spec, classes = zoo.datasets[recipe.dataset.name].spec, len(dataset.classes)
    needing = [name for name in objectives_of(recipe) if zoo.objectives[name].spec.needs_labels]
    if needing and not classes:
        others = ", ".join(name for name, entry in zoo.objectives.items() if not entry.spec.needs_labels)
        raise UsageError(
            f"training with {needing[0]!r} on dataset {spec.name!r}; the dataset has no labels, and the objective "
            "needs them; use a dataset with labels, or pre-train alone with an objective that needs none: "
            f"--set objective=NAME ({others or 'no plugin here offers one'})"
        )
    if recipe.train_years or recipe.train_sites:
        dataset = narrow(dataset, choose_for(recipe, open_split(dataset, "train", spec.splits), "train"))
        classes = len(dataset.classes)
    splits = dict(_open_splits(dataset, recipe, spec.splits, needed=bool(needing)))
    splits["train"] = subsample_labels(splits["train"], recipe.label_fraction, recipe.seed)
    counts = {name: class_counts(each, classes).tolist() if classes else [] for name, each in splits.items()}
    if needing:
        for name, pixels in counts.items():
            if not sum(pixels):
                raise CropzooError(f"split {name!r} has no labeled pixel; give it more data or another division")
            check_resolution(name, splits[name][0], recipe)
    return Data(dataset, splits, counts)


def _open_splits(
    dataset: Dataset, recipe: Recipe, known: Sequence[str], needed: bool
) -> Iterator[tuple[str, Sequence[Sample]]]:
    """Train and val, and test where there are labels; it may be missing where nothing needs them."""
    for name in SPLITS if dataset.classes else SPLITS[:2]:
        try:
            yield name, choose_for(recipe, open_split(dataset, name, known), name)
        except CropzooError:
            if needed or name != "test":
                raise


def check_resolution(split: str, sample: Sample, recipe: Recipe) -> None:
    """Refuse labels that are not as fine as the logits.

    Raises:
        UsageError: naming both ways out.
    """
    labels, logits = sample.label_scale, recipe.head.upsample
    if labels != logits:
        way = f"set head.upsample={labels}, or " if labels in SCALES else ""
        raise UsageError(
            f"training with head.upsample={logits}; labels of split {split!r} have {labels} x the resolution of the "
            f"images, logits {logits} x; {way}use labels of {logits} x their resolution"
        )


@dataclass(frozen=True)
class Materials:
    """What every stage works with.

    Args:
        counts: pixels of each class in the training split, (classes,), int64.
        classes: names, by label index.
    """

    recipe: Recipe
    zoo: Zoo
    splits: Mapping[str, Sequence[Sample]]
    counts: Tensor
    classes: tuple[str, ...]
    normalizer: Normalizer
    collate: Collate
