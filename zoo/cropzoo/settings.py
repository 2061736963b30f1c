"""Layers of settings into one recipe: flags over a file over the catalogue over defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cropzoo.catalogue import Catalogue
from cropzoo.errors import UsageError
from cropzoo.recipe import SHARED_FIELDS, Recipe
from cropzoo.schema import parse_yaml
from cropzoo.zoo import Zoo

Settings = dict[str, Any]
_NO_STAGE = ("backbone", "dataset")


def normalise(layer: Mapping[str, Any], where: str) -> Settings:
    """Short forms written out: `backbone: tsvit` is a mapping with a name, `pretrain: cscl` a list of one."""
    settings = dict(layer)
    for key in ("backbone", "dataset"):
        if isinstance(settings.get(key), str):
            settings[key] = {"name": settings[key]}
        elif not isinstance(settings.get(key, {}), Mapping):
            raise UsageError(f"{where}: {key} is {settings[key]!r}; it must be a name or a mapping with a name")
    if "pretrain" in settings:
        chosen = settings["pretrain"]
        names = chosen.split(",") if isinstance(chosen, str) else chosen or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UsageError(f"{where}: pretrain is {chosen!r}; it must be a list of objectives")
        settings["pretrain"] = [name for name in names if name != "none"]
    return settings


def merge(lower: Settings, upper: Settings) -> Settings:
    """`upper` over `lower`: sections are merged key by key, all else is replaced.

    A rate or number of epochs given for the whole run replaces what a lower layer gave to one stage, and another
    name for a section drops the options that the lower layer gave to the name before.
    """
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in lower.items()}
    for field, section in _sections_set_by(upper, merged):
        section.pop(field, None)
    for key, value in upper.items():
        below = merged.get(key)
        if (
            isinstance(value, Mapping)
            and isinstance(below, dict)
            and value.get("name", below.get("name")) == below.get("name")
        ):
            merged[key] = {**below, **value}
        else:
            merged[key] = value
    return merged


def _sections_set_by(upper: Settings, merged: Settings) -> Iterator[tuple[str, Settings]]:
    """Each field that `upper` gives for several stages, with the section of each of those stages."""
    stages = {name: value for name, value in merged.items() if isinstance(value, dict) and name not in _NO_STAGE}
    last = upper.get("objective", merged.get("objective", "segmentation"))
    for name, section in stages.items():
        for field in SHARED_FIELDS:
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
        value = parse_yaml(text, f"--set {path}")
        if len(keys) == 1:
            settings[keys[0]] = value
            continue
        section = settings.setdefault(keys[0], {})
        if not isinstance(section, dict):
            section = settings[keys[0]] = {"name": section}
        section[keys[1]] = value
    return settings


def resolve(zoo: Zoo, catalogue: Catalogue, *layers: tuple[str, Mapping[str, Any]]) -> tuple[Recipe, str]:
    """The recipe of these layers, the strongest last, over the catalogue's entry for that pair.

    Args:
        layers: (what it is, settings).

    Returns:
        The recipe and the name of the catalogue entry that gave its defaults, empty if none did.

    Raises:
        UsageError: for anything that is unknown or not allowed, named with the layer.
    """
    asked: Settings = {}
    for where, layer in layers:
        settings = normalise(layer, where)
        for key in settings:
            if key in zoo.objectives and not isinstance(settings[key], Mapping):
                raise UsageError(f"{where}: {key} is {settings[key]!r}; it must be a mapping of that stage's settings")
        asked = merge(asked, settings)
    asked.setdefault("dataset", {}).setdefault("name", "synthetic")
    backbone = asked.get("backbone", {}).get("name")
    if not backbone:
        raise UsageError(f"no backbone is named; add --backbone NAME, one of: {', '.join(zoo.backbones)}")
    _check_names(zoo, asked)

    pair = f"{backbone}.{asked['dataset']['name']}"
    defaults = catalogue.entries[pair].recipe if pair in catalogue.entries else {}
    used = {*asked.get("pretrain", defaults.get("pretrain", ())), asked.get("objective", "segmentation")}
    lower = {key: value for key, value in normalise(defaults, pair).items() if key not in zoo.objectives or key in used}
    merged = merge(lower, asked)
    for name in zoo.objectives:
        if name in merged and name not in used:
            raise UsageError(f"settings are given for {name!r}, which is no stage of this run; add --pretrain {name}")
    return Recipe.from_mapping(merged, "the recipe", list(zoo.objectives)), pair if defaults else ""


def _check_names(zoo: Zoo, asked: Settings) -> None:
    """Look every name up, so that an unknown one is told with the close ones before anything is built."""
    zoo.backbones[asked["backbone"]["name"]]
    zoo.datasets[asked["dataset"]["name"]]
    for name in (*asked.get("pretrain", ()), asked.get("objective", "segmentation")):
        zoo.objectives[name]
