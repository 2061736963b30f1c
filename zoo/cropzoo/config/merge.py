"""Layers of settings merged into one recipe: flags over a file over a catalog entry over defaults."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from cropzoo.config.catalog import Catalog
from cropzoo.config.plugin_records import check_plugins, read_records
from cropzoo.config.recipe import RECIPE_KEYS, Recipe, build_recipe, check_keys, check_objectives
from cropzoo.config.schema import parse_yaml
from cropzoo.config.short_forms import (
    DEFAULT_OBJECTIVE,
    RATE_FIELDS,
    STAGE_FIELDS,
    Settings,
    expand_short_forms,
    iterate_sections,
    list_stages,
    objectives_in,
    overlay_section,
    patch_stages,
    set_path,
)
from cropzoo.config.upgrade import RENAMED_KEYS
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.plugins.registry import Zoo
from cropzoo.plugins.specs import Spec

_log = logging.getLogger("cropzoo")


def merge(lower: Settings, upper: Settings) -> Settings:
    """`upper` over `lower`, both expanded: sections are merged key by key, other values are replaced.

    - A list of stages replaces the list below; `pretrain` and `objective` rebuild the list, in which a stage that stays
      keeps its settings. The settings of an objective that is not used any more are dropped.
    - A rate or number of epochs for all stages replaces that of single stages below. A number of epochs also replaces
      a number of steps below.
    - Another name of a backbone or dataset drops the options of the name below.
    """
    merged = deepcopy(lower)
    _rebuild_stages(merged, upper)
    _drop_overridden(merged, upper)
    for name, section in upper.get("objectives", {}).items():
        _overlay_objective(merged, name, section)
    for key, value in upper.items():
        below = merged.get(key)
        if key == "stages":
            merged[key] = _merge_stages(below, value)
        elif key in ("objectives", "pretrain", "objective"):
            continue
        elif isinstance(value, Mapping) and isinstance(below, dict) and not _has_other_name(value, below):
            merged[key] = {**below, **value}
        else:
            merged[key] = value
    _drop_settings(merged, lower, upper)
    return merged


def _has_other_name(value: Mapping[str, Any], below: Settings) -> bool:
    return "name" in value and "name" in below and value["name"] != below["name"]


def _rebuild_stages(merged: Settings, upper: Settings) -> None:
    """Rebuild the stages of `merged` as `upper` names them."""
    stages = merged.get("stages")
    if isinstance(upper.get("stages"), list):
        for key in ("pretrain", "objective", "stages"):
            merged.pop(key, None)
    elif not {"pretrain", "objective"} & upper.keys():
        return
    elif isinstance(stages, list):
        first, last = stages[:-1], stages[-1]
        names = upper.get("pretrain", _names(first))
        if upper.get("objective", last["objective"]) != last["objective"]:
            last = _take(first, upper["objective"])
        merged["stages"] = [*(_take(first, name) for name in names), last]
    else:
        merged |= {key: upper[key] for key in ("pretrain", "objective") if key in upper}


def _drop_settings(merged: Settings, lower: Settings, upper: Settings) -> None:
    """Drop the settings that `lower` has for an objective which is no stage, or not even auxiliary, any more."""
    objectives, own = merged.get("objectives", {}), upper.get("objectives", {})
    named, stages = objectives_in(merged), _stage_names(merged)
    for name in objectives.keys() & objectives_in(lower) - named - own.keys():
        del objectives[name]
    for name in objectives.keys() & set(_stage_names(lower)) - set(stages):
        kept = {"options", *own.get(name, {})}
        objectives[name] = {key: value for key, value in objectives[name].items() if key in kept}


def _stage_names(settings: Settings) -> list[str]:
    """The objectives that settings name as stages; the default of the last one is not among them."""
    stages = settings.get("stages")
    last = [settings["objective"]] if "objective" in settings else []
    return _names(stages) if isinstance(stages, list) else [*settings.get("pretrain", ()), *last]


def _names(stages: Iterable[Settings]) -> list[str]:
    return [stage["objective"] for stage in stages]


def _take(stages: list[Settings], objective: str) -> Settings:
    """Remove and return the first stage of an objective; a new one if there is none."""
    for number, stage in enumerate(stages):
        if stage["objective"] == objective:
            return stages.pop(number)
    return {"objective": objective}


def _drop_overridden(merged: Settings, upper: Settings) -> None:
    """Remove the rates and epochs of single stages that `upper` gives for all of them."""
    for section in iterate_sections(merged):
        for field in RATE_FIELDS:
            if field in upper:
                section.pop(field, None)
    if "epochs" in upper:
        merged.pop("steps", None)
    stages = merged.get("stages")
    last = upper.get("objective", merged.get("objective", DEFAULT_OBJECTIVE))
    if isinstance(upper.get("stages"), list) and upper["stages"]:
        last = upper["stages"][-1]["objective"]
    elif isinstance(stages, list) and stages:
        last = stages[-1]["objective"]
        for stage in stages:
            _drop_budget(stage, upper, stage is stages[-1])
    for name, section in merged.get("objectives", {}).items():
        _drop_budget(section, upper, name == last)


def _drop_budget(section: Settings, upper: Settings, is_last: bool) -> None:
    """Remove the budget of a stage or objective that `upper` gives for all of them."""
    if ("epochs" if is_last else "pretrain_epochs") in upper:
        section.pop("epochs", None)
        section.pop("steps", None)
    elif is_last and "steps" in upper:
        section.pop("steps", None)


def _overlay_objective(merged: Settings, name: str, section: Settings) -> None:
    """Settings of an objective over those below: of its stages, of its own, and the options where it is auxiliary."""
    options = section.get("options", {})
    objectives = merged.setdefault("objectives", {})
    found = objectives.get(name, {})
    for stage in merged["stages"] if isinstance(merged.get("stages"), list) else ():
        if stage["objective"] == name:
            if "auxiliary" in section and "auxiliary" in stage:
                found = {**found, "auxiliary": stage["auxiliary"]}
            for key in section.keys() - {"options"}:
                stage.pop(key, None)
            _drop_options(stage, options)
    objectives[name] = overlay_section(found, section)
    for each in (each for below in iterate_sections(merged) for each in below.get("auxiliary", ())):
        if each["objective"] == name:
            _drop_options(each, options)


def _drop_options(section: Settings, options: Mapping[str, Any]) -> None:
    if "options" in section:
        section["options"] = {key: value for key, value in section["options"].items() if key not in options}


def _merge_stages(below: Any, above: Any) -> Any:
    """A list replaces what is below; changes by index apply to a list below, or wait for one."""
    if isinstance(above, list) or below is None:
        return above
    if isinstance(below, list):
        return patch_stages(below, above, "the recipe")
    return {**below, **{number: overlay_section(below.get(number, {}), change) for number, change in above.items()}}


def parse_assignments(assignments: Iterable[str], zoo: Zoo | None = None) -> Settings:
    """Settings of `--set PATH=VALUE` arguments; values are read as YAML. Old names are replaced, with a warning.

    Args:
        assignments: the arguments; `set_path` describes the paths.
        zoo: its specs say which options have new names; None replaces only the names of settings.

    Raises:
        UsageError: an argument has no "=", or its path or value cannot be read.
    """
    settings: Settings = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment!r}; it must be key=value, section.key=value or objective.key=value")
        try:
            value = parse_yaml(text, f"--set {path}")
        except CropzooError as error:
            raise UsageError(str(error)) from None
        if path in RENAMED_KEYS:
            _log.warning("--set %s is deprecated; use --set %s", path, RENAMED_KEYS[path])
            path = RENAMED_KEYS[path]
        set_path(settings, path, value, f"--set {assignment!r}")
    if zoo is not None:
        for old, new in _rename_options(zoo, settings):
            _log.warning("--set: option %s is deprecated; use %s", old, new)
    return settings


def resolve_recipe(
    zoo: Zoo, catalog: Catalog, *layers: tuple[str, Mapping[str, Any]], entry: str | None = None
) -> tuple[Recipe, str]:
    """The recipe of these layers over the defaults of a catalog entry.

    Args:
        zoo: names are looked up in it.
        catalog: its entries hold the defaults.
        layers: pairs of source and settings, in the order of increasing priority.
        entry: catalog entry of the defaults; the one named BACKBONE.DATASET if None, none if empty.

    Returns:
        The recipe, and the name of the entry that gave its defaults, or an empty string.

    Raises:
        UsageError: a name or key is unknown or a value is not allowed; the message names the layer.
    """
    given: Settings = {}
    expanded = [(where, _check_layer(zoo, catalog, layer, where)) for where, layer in layers]
    for _, upper in expanded:
        given = merge(given, upper)
    named = merge(_read_entry(zoo, catalog, entry), given) if entry else given
    dataset = named.get("dataset", {}).get("name", "synthetic")
    of_weights = pretrained_backbone(zoo, catalog, named.get("weights"))
    backbone = named.get("backbone", {}).get("name") or of_weights.get("name")
    if not backbone:
        raise UsageError(f"no backbone is named; add --backbone NAME, one of: {', '.join(zoo.backbones)}")
    used = {f"backbone {backbone}", f"dataset {dataset}", *(f"objective {each}" for each in objectives_in(named))}
    for where, layer in layers:
        check_plugins(zoo, read_records(layer, where), where, used)
    _look_up(zoo, backbone, dataset)

    given = merge({"backbone": {"name": backbone}, "dataset": {"name": dataset}}, given)
    pair = f"{backbone}.{dataset}" if entry is None else entry
    settings = _read_entry(zoo, catalog, pair) if pair in catalog.entries else {}
    of_weights = pretrained_backbone(zoo, catalog, given.get("weights", settings.get("weights")))
    defaults = {**settings, "backbone": of_weights} if of_weights.get("name") == backbone else settings
    merged = merge(defaults, given)
    _rename_options(zoo, merged)
    stages = list_stages(merged, "the recipe")
    for stage in stages:
        for name in (stage["objective"], *_names(stage["auxiliary"])):
            zoo.objectives[name]
    check_objectives(given.get("objectives", {}), stages, "the recipe")
    if stages[-1]["objective"] in _fitted(zoo):
        _check_fitted(expanded, stages)
    return build_recipe(merged, "the recipe", _fitted(zoo)), pair if settings else ""


def pretrained_backbone(zoo: Zoo, catalog: Catalog, weights: object) -> Settings:
    """Name and options of the network that the weights of a catalog entry belong to; empty for other weights."""
    entry = catalog.entries.get(str(weights))
    if entry is None or entry.weights is None:
        return {}
    section: Settings = _read_entry(zoo, catalog, str(weights)).get("backbone", {})
    if entry.weights.format == "published" and section["name"] in zoo.backbones:
        section = {**zoo.backbones[section["name"]].spec.published, **section}
    return section


def read_recipe(zoo: Zoo, values: Mapping[str, Any], where: str) -> Recipe:
    """The stored recipe of a run, whose options may have names of earlier versions.

    Raises:
        UsageError: a key is unknown, or a value is not allowed.
    """
    check_plugins(zoo, read_records(values, where), where)
    settings = expand_short_forms(values, where)
    _rename_options(zoo, settings)
    return build_recipe(settings, where, _fitted(zoo))


def _fitted(zoo: Zoo) -> tuple[str, ...]:
    """Names of the objectives that are fitted to frozen features."""
    return tuple(name for name, entry in zoo.objectives.items() if entry.spec.fitted)


def _check_fitted(layers: Iterable[tuple[str, Settings]], stages: list[Settings]) -> None:
    """Check that nothing is set for a last stage that is fitted, by the layer that names it or by one above.

    Layers below, such as the recipe of another run, were written for another objective. Augmentation and other settings
    of trained stages are a warning if there is no such stage: a series of runs may share them.

    Raises:
        UsageError: epochs, rates or gradients are set.
    """
    name, number, named = stages[-1]["objective"], len(stages) - 1, False
    for where, layer in layers:
        named = named or name in objectives_in(layer)
        if not named:
            continue
        sections = layer.get("stages", {})
        of_stage = sections.get(number, {}) if isinstance(sections, dict) else sections[-1] if sections else {}
        own = [of_stage, layer.get("objectives", {}).get(name, {})]
        unread = [key for key in STAGE_FIELDS if any(key in section for section in own)]
        unread += [key for key in ("epochs", "steps", *(() if number else RATE_FIELDS)) if key in layer]
        unread += [key for key in ("freeze", "lr_scale") if key in layer and (key == "freeze") != bool(layer[key])]
        if unread:
            raise UsageError(
                f"{where}: {unread[0]} is given, but {name!r} is fitted once to frozen features, without epochs, rates "
                "and gradients; remove it, or name an objective that trains, such as segmentation"
            )
        ignored = [key for key, off in _TRAINING_ONLY.items() if layer.get(key, off) != off]
        if ignored and not number and not _TRAINING_ONLY.keys() <= layer.keys():
            _log.warning(
                "%s: no effect of %s; %r is fitted once, without epochs and augmentation; remove these settings, or "
                "pre-train the backbone (--pretrain)",
                where,
                ", ".join(ignored),
                name,
            )


_TRAINING_ONLY: Settings = {
    "crops_per_tile": 1,
    "val_fraction": 1,
    "weight_average": 0,
    "flip_rotate": False,
    "temporal_dropout": 0,
    "end_early": 0,
    "gradient_clip_norm": 0,
    "patience": 0,
}
"""Settings that only trained stages read, with the values that change nothing; a stored recipe lists all of them."""


def _check_layer(zoo: Zoo, catalog: Catalog, layer: Mapping[str, Any], where: str) -> Settings:
    settings = _expand_layer(zoo, catalog, layer, where)
    check_keys(settings, where, zoo.objectives)
    for name in settings.get("objectives", {}):
        if name not in zoo.objectives:
            raise UnknownName(f"setting in {where}:", name, {*RECIPE_KEYS, *zoo.objectives})
    return settings


def _read_entry(zoo: Zoo, catalog: Catalog, name: str) -> Settings:
    return _expand_layer(zoo, catalog, catalog[name].recipe, f"catalog entry {name!r}")


def _expand_layer(zoo: Zoo, catalog: Catalog, layer: Mapping[str, Any], where: str) -> Settings:
    settings = expand_short_forms(layer, where)
    if "/" in settings.get("backbone", {}).get("name", ""):
        settings["backbone"] = _expand_member(zoo, settings["backbone"], where)
    _expand_tag(zoo, catalog, settings, where)
    _rename_options(zoo, settings)
    return settings


def _expand_tag(zoo: Zoo, catalog: Catalog, settings: Settings, where: str) -> None:
    """Write a backbone BACKBONE.TAG as the backbone and the weights of that catalog entry, in place."""
    name = settings.get("backbone", {}).get("name", "")
    found = split_tag(zoo, name)
    if found is None:
        return
    weights = catalog.find_tag(*found)
    if settings.get("weights", weights) != weights:
        raise UsageError(
            f"{where}: backbone is {name!r}, which names its weights, and weights is {settings['weights']!r}; "
            "remove one of them"
        )
    settings["backbone"]["name"], settings["weights"] = found[0], weights


def split_tag(zoo: Zoo, name: str) -> tuple[str, str] | None:
    """Backbone and tag of a name such as "presto.worldcereal"; None if the name has no tag."""
    backbone = next((each for each in zoo.backbones if name.startswith(f"{each}.")), None)
    return None if name in zoo.backbones or backbone is None else (backbone, name.removeprefix(f"{backbone}."))


def _expand_member(zoo: Zoo, section: Settings, where: str) -> Settings:
    """The section of a family's member, with the family's name and the option that selects the member."""
    name, options = zoo.resolve_backbone(section["name"])
    for option in options.keys() & section.keys():
        raise UsageError(
            f"{where}: backbone is {section['name']!r} and backbone.{option} is {section[option]!r}; remove one of them"
        )
    return {**section, "name": name, **options}


def _look_up(zoo: Zoo, backbone: str, dataset: str) -> None:
    """Look names up, so that an unknown one is reported with the close ones before anything is built."""
    zoo.backbones[backbone]
    if dataset not in zoo.datasets and os.path.isdir(dataset):
        raise UsageError(f"dataset {dataset!r} is a folder; end its name in '/' to use the dataset prepared there")
    zoo.datasets[dataset]


def _rename_options(zoo: Zoo, settings: Settings) -> list[tuple[str, str]]:
    """Replace option names of earlier versions in place; pairs of the old and the new path of each."""
    renamed: list[tuple[str, str]] = []

    def rename(spec: Spec, options: Settings, path: str) -> None:
        for old in spec.renamed_options.keys() & options.keys():
            new = spec.renamed_options[old]
            value = options.pop(old)
            options.setdefault(new, value)
            renamed.append((f"{path}.{old}", f"{path}.{new}"))

    for kind, shelf in (("backbone", zoo.backbones), ("dataset", zoo.datasets)):
        section = settings.get(kind, {})
        if isinstance(section, dict) and section.get("name") in shelf:
            rename(shelf[section["name"]].spec, section, kind)
    sections = dict(settings.get("objectives", {}))
    if isinstance(settings.get("stages"), list):
        sections |= {f"stages.{number}": stage for number, stage in enumerate(settings["stages"])}
    for path, section in sections.items():
        items = [(section.get("objective", path), section)]
        items += [(each["objective"], each) for each in section.get("auxiliary", ()) if isinstance(each, dict)]
        for name, item in items:
            if name in zoo.objectives and item.get("options"):
                rename(zoo.objectives[name].spec, item["options"], path)
    return renamed
