"""Recipes from the metadata of a checkpoint: for scoring with other data, and for mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cropzoo.config.merge import merge, read_recipe
from cropzoo.config.plugin_records import check_plugins
from cropzoo.config.recipe import PluginChoice, Recipe
from cropzoo.config.short_forms import expand_short_forms
from cropzoo.errors import UnknownName, UsageError
from cropzoo.models.checkpoint import Metadata
from cropzoo.plugins.options import known_options
from cropzoo.plugins.registry import Zoo, load_target

_SUBSETS = ("train_years", "train_sites", "test_years", "test_sites")
_LABELS = ("label_fraction", "label_parcels", "label_pixels")

_CHANGEABLE = ("dataset", "image_size", "max_dates", "date_sampling", "batch_size", "precision", *_SUBSETS)
"""Settings that scoring uses and that do not define the network."""


def scoring_recipe(metadata: Metadata, zoo: Zoo, changes: Mapping[str, Any]) -> Recipe:
    """The recipe that a checkpoint was trained with, with changes for scoring.

    Args:
        metadata: metadata of the checkpoint.
        zoo: names are looked up in it.
        changes: settings that replace those of the training. With another dataset, `min_clear` is kept, but years,
            sites and label fraction are not.

    Raises:
        UsageError: neither the checkpoint nor the changes name a dataset, or a setting cannot be changed.
    """
    changes = expand_short_forms(changes, "the command line")
    for key in changes:
        if key not in _CHANGEABLE:
            raise UnknownName("setting of a scoring:", key, _CHANGEABLE, "other settings are fixed by the training")
    trained = {
        **metadata.recipe,
        "backbone": {"name": metadata.backbone.name, **metadata.backbone.options},
        "length": metadata.length,
    }
    trained.setdefault("image_size", metadata.image_size)
    trained = expand_short_forms(trained, "the checkpoint's recipe")
    if "name" in changes.get("dataset", {}):
        trained = {key: value for key, value in trained.items() if key not in (*_SUBSETS, *_LABELS)}
    if "name" not in changes.get("dataset", {}) and metadata.dataset is not None:
        check_plugins(zoo, metadata.plugins, "the checkpoint", {f"dataset {metadata.dataset.name}"})
    if "dataset" not in changes:
        trained["dataset"] = _with_scale(trained.get("dataset", {}), metadata, zoo)
    merged = merge(trained, changes)
    dataset = merged.setdefault("dataset", {})
    dataset.setdefault("min_clear", trained.get("dataset", {}).get("min_clear", 0))
    if "name" not in dataset:
        raise UsageError("scoring a checkpoint that names no training dataset; name a dataset with --dataset")
    return read_recipe(zoo, merged, "the checkpoint's recipe")


def mapping_recipe(metadata: Metadata, where: str) -> Recipe:
    """The part of the training's recipe that affects predictions; plugins for datasets and objectives are not needed.

    Args:
        metadata: metadata of the checkpoint.
        where: the recipe in error messages.
    """
    trained = expand_short_forms(metadata.recipe, "the checkpoint's recipe")
    read = "max_dates", "date_sampling", "batch_size", "precision"
    kept: dict[str, Any] = {str(key): trained[key] for key in read if key in trained}
    dataset = trained.get("dataset", {})
    if "min_clear" in dataset:
        kept["min_clear"] = dataset["min_clear"]
    parts = {"backbone": metadata.backbone, "dataset": PluginChoice(name="none"), "stages": [{"objective": "none"}]}
    shape = {"length": metadata.length, "image_size": metadata.image_size}
    return Recipe.parse({**parts, **shape, **kept}, where)


def _with_scale(dataset: Mapping[str, Any], metadata: Metadata, zoo: Zoo) -> dict[str, Any]:
    """The dataset of the training with the scale that it had; without a number, the option depends on the files."""
    name = str(dataset.get("name"))
    if metadata.scale is None or dataset.get("scale") is not None or name not in zoo.datasets:
        return dict(dataset)
    spec = zoo.datasets[name].spec
    has_option = "scale" in known_options(load_target(spec.build, f"dataset {name!r}"))
    return {**dataset, "scale": metadata.scale} if has_option else dict(dataset)
