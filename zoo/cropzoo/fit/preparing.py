"""What a run starts from: its data, checked and described, and its backbone."""

from __future__ import annotations

from collections.abc import Sequence
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
        counts: labelled pixels of each class, by split.
    """

    dataset: Dataset
    splits: dict[str, Sequence[Sample]]
    counts: dict[str, list[int]]


def open_data(zoo: Zoo, recipe: Recipe) -> Data:
    """The three splits of the recipe's dataset.

    Raises:
        UsageError: for a dataset without labels.
        CropzooError: for a split without a labelled pixel, and whatever the dataset finds wrong.
    """
    dataset = open_dataset(zoo, recipe.dataset.name, recipe.dataset.options)
    spec = zoo.datasets[recipe.dataset.name].spec
    if not dataset.classes:
        raise UsageError(
            f"training on dataset {spec.name!r}; it has no labels, and a run ends on scores; use a dataset with labels"
        )
    splits = {name: choose_for(recipe, open_split(dataset, name, spec.splits), name) for name in SPLITS}
    splits["train"] = few_labels(splits["train"], recipe.label_fraction, recipe.seed)
    counts = {name: class_counts(samples, len(dataset.classes)).tolist() for name, samples in splits.items()}
    for name, pixels in counts.items():
        if not sum(pixels):
            raise CropzooError(f"split {name!r} has no labelled pixel; give it more data or another division")
    for name, samples in splits.items():
        check_resolution(name, samples[0], recipe)
    return Data(dataset, splits, counts)


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
    owners += [zoo.objectives[stage.objective].owner for stage in recipe.stages]
    return [owner.distribution for owner in owners if owner.distribution]


def new_backbone(
    recipe: Recipe, zoo: Zoo, in_channels: int, classes: int, bands: Sequence[str] | None = None
) -> Backbone:
    """The recipe's backbone with its initial weights.

    Args:
        recipe: names it, with its options.
        zoo: where it is looked up.
        in_channels: number of bands.
        classes: number of classes.
        bands: names, by which initial weights are matched; None leaves out the options that only say where those
            come from, since the backbone gets other weights.
    """
    torch.manual_seed(seed_from(recipe.seed, "backbone"))
    name, options = recipe.backbone.name, recipe.backbone.options
    if bands is None:
        options = zoo.backbones[name].spec.architecture(options)
    shape = Shape(in_channels, classes, recipe.image_size, recipe.length, recipe.head.upsample)
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
