"""What a run starts from: its data, checked and described, and its backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from cropzoo.catalogue import Catalogue
from cropzoo.contracts import Backbone
from cropzoo.errors import CropzooError, UsageError
from cropzoo.files import write_json
from cropzoo.fit.callbacks import Tell
from cropzoo.fit.module import seed_from
from cropzoo.fit.trainer import Runtime
from cropzoo.label_budget import few_labels
from cropzoo.models import Shape, create_backbone
from cropzoo.narrowing import narrow
from cropzoo.opening import open_dataset, open_split
from cropzoo.processes import world
from cropzoo.recipe import Recipe
from cropzoo.resolution import SCALES
from cropzoo.runs import RunFolder
from cropzoo.samples import Dataset, Sample
from cropzoo.selection import choose_for
from cropzoo.statistics import class_counts
from cropzoo.transfer import start_from
from cropzoo.weights import find_checkpoint
from cropzoo.zoo import Zoo

SPLITS = ("train", "val", "test")

SHOWN = 6
"""New parameters that are listed by name; the rest is counted."""


@dataclass(frozen=True)
class Data:
    """An open dataset.

    Args:
        splits: train and val, and test where there are labels to score by.
        counts: labelled pixels of each class, by split; none of a dataset without labels.
    """

    dataset: Dataset
    splits: dict[str, Sequence[Sample]]
    counts: dict[str, list[int]]


def open_data(zoo: Zoo, recipe: Recipe) -> Data:
    """The splits of the recipe's dataset, which knows no more classes and statistics than its training samples show.

    Raises:
        UsageError: for a dataset without labels that an objective of the recipe needs.
        CropzooError: for a split without a labelled pixel where they are needed, and whatever the dataset finds wrong.
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
    splits["train"] = few_labels(splits["train"], recipe.label_fraction, recipe.seed)
    counts = {name: class_counts(each, classes).tolist() if classes else [] for name, each in splits.items()}
    if needing:
        for name, pixels in counts.items():
            if not sum(pixels):
                raise CropzooError(f"split {name!r} has no labelled pixel; give it more data or another division")
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


def objectives_of(recipe: Recipe) -> list[str]:
    """The objectives of all stages, with those that join them."""
    joined = [each.objective for stage in recipe.stages for each in stage.auxiliary]
    return [*(stage.objective for stage in recipe.stages), *joined]


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


def describe(folder: RunFolder, recipe: Recipe, zoo: Zoo, data: Data, runtime: Runtime) -> None:
    """Write split.json and environment.json."""
    names = [label.name for label in data.dataset.classes]
    split = {
        name: {
            "samples": len(samples),
            "names": [samples[number].name for number in range(len(samples))],
            "pixels": dict(zip(names, data.counts[name], strict=True)),
        }
        for name, samples in data.splits.items()
    }
    write_json(folder.path / "split.json", split)
    folder.write_environment(runtime.device, world()[1], packages(recipe, zoo))


def packages(recipe: Recipe, zoo: Zoo) -> list[str]:
    """Distributions whose plugins take part."""
    owners = [zoo.backbones[recipe.backbone.name].owner, zoo.datasets[recipe.dataset.name].owner]
    owners += [zoo.objectives[name].owner for name in objectives_of(recipe)]
    return [owner.distribution for owner in owners if owner.distribution]


def new_backbone(
    recipe: Recipe, zoo: Zoo, in_channels: int, classes: int, bands: Sequence[str] | None = None
) -> Backbone:
    """The recipe's backbone with its initial weights.

    Args:
        recipe: names it, with its options.
        zoo: where it is looked up.
        in_channels: number of bands.
        classes: number of classes; without any the network is built for one.
        bands: names, by which initial weights are matched; None leaves out the options that only say where those
            come from, since the backbone gets other weights.
    """
    torch.manual_seed(seed_from(recipe.seed, "backbone"))
    name, options = recipe.backbone.name, recipe.backbone.options
    if bands is None:
        options = zoo.backbones[name].spec.architecture(options)
    shape = Shape(in_channels, max(classes, 1), recipe.image_size, recipe.length, recipe.head.upsample)
    return create_backbone(name, shape, zoo=zoo, options=options, bands=bands)


def load_weights(
    backbone: Backbone, recipe: Recipe, zoo: Zoo, catalogue: Catalogue, dataset: Dataset, tell: Tell, offline: bool
) -> None:
    """Start the backbone from `recipe.weights`, and tell what fits."""
    if recipe.weights is None:
        return
    path = find_checkpoint(recipe.weights, catalogue, offline)
    transfer = start_from(
        backbone,
        recipe.backbone.name,
        path,
        dataset.bands,
        recipe.adapt_bands,
        [label.name for label in dataset.classes],
        lambda bands, classes: new_backbone(recipe, zoo, bands, classes),
    )
    tell(f"weights {recipe.weights}: {len(transfer.loaded)} parameters loaded, {len(transfer.fresh)} start new")
    for line in transfer.fresh[:SHOWN]:
        tell(f"  new: {line}")
    if len(transfer.fresh) > SHOWN:
        tell(f"  new: and {len(transfer.fresh) - SHOWN} more")
