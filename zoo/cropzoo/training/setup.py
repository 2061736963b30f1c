"""What a run starts from: its data, checked and described, and its backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cropzoo.config.catalog import Catalog
from cropzoo.config.recipe import Recipe, objectives_of
from cropzoo.config.run_dir import RunFolder
from cropzoo.data.datamodule import Data
from cropzoo.data.sample import Dataset
from cropzoo.io import Log, write_json
from cropzoo.models.base import Backbone
from cropzoo.models.download import find_checkpoint
from cropzoo.models.factory import Shape, create_backbone
from cropzoo.models.transfer import start_from
from cropzoo.parallel import get_world_size
from cropzoo.plugins.registry import Zoo
from cropzoo.runtime import Runtime
from cropzoo.training.module import seed_from

SHOWN = 6
"""New parameters that are listed by name; the rest is counted."""


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
    folder.write_environment(runtime.device, get_world_size(), packages(recipe, zoo))


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
    backbone: Backbone, recipe: Recipe, zoo: Zoo, catalog: Catalog, dataset: Dataset, tell: Log, offline: bool
) -> None:
    """Start the backbone from `recipe.weights`, and tell what fits."""
    if recipe.weights is None:
        return
    path = find_checkpoint(recipe.weights, catalog, offline)
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
