"""Layers of settings into one recipe: flags over a file over the catalog over defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cropzoo.config.catalog import Catalog
from cropzoo.config.recipe import RATE_FIELDS, STAGE_FIELDS, Recipe, auxiliary_names, normalize
from cropzoo.config.schema import parse_yaml
from cropzoo.errors import CropzooError, UsageError
from cropzoo.plugins.registry import Zoo

__all__ = ["merge", "normalize", "parse_assignments", "resolve"]

Settings = dict[str, Any]
_NO_STAGE = ("backbone", "dataset", "head", "lr_scale")


def merge(lower: Settings, upper: Settings) -> Settings:
    """`upper` over `lower`: sections are merged key by key, all else is replaced.

    A rate or number of epochs given for the whole run replaces what a lower layer gave to one stage, and another
    name for a section drops the options that the lower layer gave to the name before. A stage that `upper` leaves out
    takes its settings along.
    """
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in lower.items()}
    if "pretrain" in upper:
        for name in set(lower.get("pretrain", ())) - set(upper["pretrain"]):
            merged.pop(name, None)
    for field, section in _sections_set_by(upper, merged):
        section.pop(field, None)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, dict) and not _renames(value, below):
            merged[key] = {**below, **value}
        else:
            merged[key] = value
    return merged


def _renames(value: Mapping[str, Any], below: Settings) -> bool:
    return "name" in value and "name" in below and value["name"] != below["name"]


def _sections_set_by(upper: Settings, merged: Settings) -> Iterator[tuple[str, Settings]]:
    """Each field that `upper` gives for several stages, with the section of each of those stages."""
    stages = {name: value for name, value in merged.items() if isinstance(value, dict) and name not in _NO_STAGE}
    last = upper.get("objective", merged.get("objective", "segmentation"))
    for name, section in stages.items():
        for field in RATE_FIELDS:
            if field in upper:
                yield field, section
        if ("epochs" if name == last else "pretrain_epochs") in upper:
            yield "epochs", section


def parse_assignments(assignments: Iterable[str]) -> Settings:
    """Settings of `--set a.b=c` arguments; values are read as YAML.

    Raises:
        UsageError: for an argument without "=" or with an empty part.
    """
    settings: Settings = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.split(".")
        if not equals or not all(keys) or len(keys) > 2:
            raise UsageError(f"--set {assignment!r}; it must read key=value or section.key=value")
        try:
            value = parse_yaml(text, f"--set {path}")
        except CropzooError as error:
            raise UsageError(str(error)) from None
        section = settings.get(keys[0])
        if len(keys) == 1 and isinstance(section, dict) and isinstance(value, str):
            section["name"] = value
        elif len(keys) == 1:
            settings[keys[0]] = value
        elif isinstance(section, dict):
            section[keys[1]] = value
        else:
            settings[keys[0]] = {**({} if section is None else {"name": section}), keys[1]: value}
    return settings


def resolve(
    zoo: Zoo, catalog: Catalog, *layers: tuple[str, Mapping[str, Any]], entry: str | None = None
) -> tuple[Recipe, str]:
    """The recipe of these layers, the strongest last, over an entry of the catalog.

    Args:
        layers: (what it is, settings).
        entry: the catalog entry that gives the defaults; the one named BACKBONE.DATASET if None.

    Returns:
        The recipe and the name of the entry that gave its defaults, empty if none did.

    Raises:
        UsageError: for anything that is unknown or not allowed, named with the layer.
    """
    asked: Settings = {}
    for where, layer in layers:
        asked = merge(asked, _checked(zoo, layer, where))
    named = merge(_checked(zoo, catalog[entry].recipe, f"catalog entry {entry!r}"), asked) if entry else asked
    dataset = named.get("dataset", {}).get("name", "synthetic")
    backbone = named.get("backbone", {}).get("name")
    if not backbone:
        raise UsageError(f"no backbone is named; add --backbone NAME, one of: {', '.join(zoo.backbones)}")
    _look_up(zoo, backbone, dataset)

    asked = merge({"backbone": {"name": backbone}, "dataset": {"name": dataset}}, asked)
    pair = entry or f"{backbone}.{dataset}"
    defaults = catalog.entries[pair].recipe if pair in catalog.entries else {}
    lower = _checked(zoo, defaults, f"catalog entry {pair!r}")
    merged = merge(lower, asked)
    _leave_out(zoo, merged, lower, asked)
    return Recipe.from_mapping(merged, "the recipe", zoo.objectives), pair if defaults else ""


def _leave_out(zoo: Zoo, merged: Settings, lower: Settings, asked: Settings) -> None:
    """Take out what the entry says of objectives that are no stage of this run, after looking up those that are."""
    stages = [*merged.get("pretrain", ()), merged.get("objective", "segmentation")]
    joined = {name for stage in stages for name in auxiliary_names(merged.get(stage), "the recipe")}
    for name in (*stages, *sorted(joined)):
        zoo.objectives[name]
    for name in lower.keys() & merged.keys() & set(zoo.objectives) - set(stages):
        if name not in joined and name not in asked:
            merged.pop(name)
        elif name in joined:  # the stage that it joins has its own epochs and rates
            merged[name] = {k: v for k, v in merged[name].items() if k not in STAGE_FIELDS or k in asked.get(name, {})}


def _checked(zoo: Zoo, layer: Mapping[str, Any], where: str) -> Settings:
    settings = normalize(layer, where)
    if "/" in settings.get("backbone", {}).get("name", ""):
        settings["backbone"] = _member(zoo, settings["backbone"], where)
    for key in settings:
        if key in zoo.objectives and not isinstance(settings[key], Mapping):
            raise UsageError(f"{where}: {key} is {settings[key]!r}; it must be a mapping of that stage's settings")
    return settings


def _member(zoo: Zoo, section: Settings, where: str) -> Settings:
    """The section of a family's member, with the family's name and the option that the member's name stands for."""
    name, options = zoo.backbone_choice(section["name"])
    for option in options.keys() & section.keys():
        raise UsageError(
            f"{where}: backbone is {section['name']!r} and backbone.{option} is {section[option]!r}; leave one out"
        )
    return {**section, "name": name, **options}


def _look_up(zoo: Zoo, backbone: str, dataset: str) -> None:
    """Look names up, so that an unknown one is told with the close ones before anything is built."""
    zoo.backbones[backbone]
    if dataset not in zoo.datasets and Path(dataset).is_dir():
        raise UsageError(f"dataset {dataset!r} is a folder; end its name in '/' to use the dataset prepared there")
    zoo.datasets[dataset]
