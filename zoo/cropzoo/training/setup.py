"""Set-up of a run: its initial backbone, and the files that describe data and environment."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from cropzoo.config.catalog import Catalog
from cropzoo.config.recipe import PluginChoice, Recipe
from cropzoo.config.run_dir import RunFolder
from cropzoo.data.datamodule import DataModule
from cropzoo.errors import CropzooError
from cropzoo.io import Log, write_json
from cropzoo.models.base import Backbone
from cropzoo.models.checkpoint import InitialWeights, list_origins, read_metadata
from cropzoo.models.download import find_checkpoint
from cropzoo.models.factory import Shape, create_backbone, maps_bands
from cropzoo.models.transfer import load_initial_weights
from cropzoo.parallel import get_world_size
from cropzoo.plugins.options import known_options
from cropzoo.plugins.registry import Zoo, load_target
from cropzoo.runtime import Runtime
from cropzoo.training.module import derive_seed

_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class Resources:
    """What a training needs in addition to its recipe.

    Args:
        zoo: plugins, by which names are looked up.
        catalog: catalog, in which `recipe.weights` is looked up.
        runtime: device and workers.
        log: takes lines of progress.
        offline: whether to never access the network.
        loggers: names of the loggers that receive the metrics.
    """

    zoo: Zoo
    catalog: Catalog
    runtime: Runtime
    log: Log
    offline: bool = False
    loggers: tuple[str, ...] = ()

    def without_log(self) -> Resources:
        """The same for a process that reports nothing."""
        return replace(self, log=_discard)


def _discard(line: str) -> None:
    """Take a line of progress of a process other than the first."""


def adopt_options(recipe: Recipe, resources: Resources) -> Recipe:
    """The recipe with the options of the backbone that its weights were trained with, where it gives none itself.

    Options that differ are reported: parameters of another shape are not loaded, and others may not mean the same.

    Args:
        recipe: the recipe as it was given, without defaults.
        resources: plugins, catalog and log.

    Raises:
        CropzooError: the weights cannot be found or read.
    """
    name, member = resources.zoo.resolve_backbone(recipe.backbone.name)
    if recipe.weights is None:
        return recipe
    metadata = read_metadata(find_checkpoint(recipe.weights, resources.catalog, resources.zoo, resources.offline))
    if metadata.backbone.name != name:
        return recipe  # an error when the weights are loaded
    spec = resources.zoo.backbones[name].spec
    known = known_options(load_target(spec.build, f"backbone {name!r}"))
    trained = {key: value for key, value in spec.architecture(metadata.backbone.options).items() if key in known}
    given = spec.upgrade_options({**recipe.backbone.options, **member})
    different = [key for key in given.keys() & trained.keys() if given[key] != trained[key]]
    if different:
        listed = ", ".join(f"{key}={trained[key]!r}, here {given[key]!r}" for key in sorted(different))
        _log.warning(
            "weights %s were trained with %s; parameters of another shape are not loaded, and the others may not fit; "
            "set the options to the values of the weights (--set backbone.%s=...), or train them sufficiently",
            recipe.weights,
            listed,
            min(different),
        )
    return recipe.model_copy(update={"backbone": PluginChoice(name=name, options={**trained, **given})})


def initialize_backbone(recipe: Recipe, data: DataModule, resources: Resources, resuming: bool) -> Backbone:
    """Create the backbone of a recipe with its initial weights, and load `recipe.weights`.

    Args:
        recipe: the recipe.
        data: data module of the training.
        resources: plugins, catalog and log.
        resuming: whether the run has weights already; then no other weights are looked for.
    """
    bands, classes = data.dataset.bands, data.class_names
    pretrained = not (resuming or recipe.weights)
    backbone = create_recipe_backbone(recipe, resources.zoo, bands, len(classes), pretrained)
    if recipe.weights is None or resuming:
        return backbone
    path = find_checkpoint(recipe.weights, resources.catalog, resources.zoo, resources.offline)
    transfer = load_initial_weights(
        backbone,
        recipe.backbone.name,
        path,
        bands,
        recipe.adapt_bands,
        classes,
        lambda bands, classes: create_recipe_backbone(recipe, resources.zoo, bands, classes),
        maps_bands(resources.zoo, recipe.backbone.name),
    )
    for line in transfer.describe(recipe.weights):
        resources.log(line)
    for origin in list_origins(read_metadata(path), recipe.weights):
        if seen := origin.describe():
            resources.log(f"  {origin.name} was trained on: {seen}. Scores on data that it was trained on are too high")
    return backbone


def find_origins(recipe: Recipe, resources: Resources) -> tuple[InitialWeights, ...]:
    """What the weights that a recipe starts from were made from and trained on; nothing is downloaded."""
    if recipe.weights is None:
        return ()
    try:
        path = find_checkpoint(recipe.weights, resources.catalog, resources.zoo, offline=True)
        return list_origins(read_metadata(path), recipe.weights)
    except CropzooError as error:  # a run that is resumed without them
        resources.log(f"the checkpoint does not say what its initial weights were trained on: {error}")
        return ()


def create_recipe_backbone(
    recipe: Recipe, zoo: Zoo, bands: Sequence[str], classes: int, pretrained: bool = False
) -> Backbone:
    """Create the backbone of a recipe with random or pretrained initial weights.

    Args:
        recipe: the recipe.
        zoo: plugins, by which the backbone is looked up.
        bands: names of the bands.
        classes: number of classes; a network for data without labels is built for one.
        pretrained: whether to load the initial weights that options of the backbone select.
    """
    torch.manual_seed(derive_seed(recipe.seed, "backbone"))
    name, options = recipe.backbone.name, recipe.backbone.options
    if not pretrained:
        options = zoo.backbones[name].spec.architecture(options)
    shape = Shape(len(bands), max(classes, 1), recipe.image_size, recipe.length, recipe.head.upsample)
    return create_backbone(name, shape, zoo=zoo, options=options, bands=bands)


def describe_run(folder: RunFolder, data: DataModule, resources: Resources) -> None:
    """Write split.json and environment.json."""
    split = {
        name: {
            "samples": len(samples),
            "names": [samples[number].name for number in range(len(samples))],
            "pixels": dict(zip(data.class_names, data.counts[name], strict=True)),
        }
        for name, samples in data.splits.items()
    }
    write_json(folder.path / "split.json", split)
    packages = plugin_packages(data.recipe, resources.zoo)
    folder.write_environment(resources.runtime.device, get_world_size(), packages)


def plugin_packages(recipe: Recipe, zoo: Zoo) -> list[str]:
    """Distributions of the plugins of a recipe."""
    owners = [zoo.backbones[recipe.backbone.name].owner, zoo.datasets[recipe.dataset.name].owner]
    owners += [zoo.objectives[name].owner for name in recipe.objectives]
    return [owner.distribution for owner in owners if owner.distribution]
