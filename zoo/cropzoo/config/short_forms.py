"""Settings: the mapping form of a recipe, or of a part of one, with its short forms.

    version: 2
    backbone: {name: tsvit, dim: 64}
    dataset: {name: synthetic, seed: 3}
    stages:
      - {objective: cscl, epochs: 6, options: {window: 5}}
      - {objective: segmentation, epochs: 20, lr: 1e-3, auxiliary: [{objective: boundary, weight: 0.1}]}
    batch_size: 16

The short forms serve layers of settings that name only a part. `pretrain` and `objective` name the stages; `epochs`,
`pretrain_epochs` and the learning-rate settings apply to all of them, `steps` to the last; `objectives` holds settings
by objective. A key
with dots is a path: `cscl.window` is `objectives.cscl.options.window`, and `stages.0.lr` belongs to the first stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from cropzoo.errors import UnknownName, UsageError, quote

Settings = dict[str, Any]

VERSION: Final = 2
"""Version of the mapping form that is written."""

RATE_FIELDS = ("lr", "lr_min", "warmup_epochs", "weight_decay")
STAGE_FIELDS = ("epochs", "steps", *RATE_FIELDS)
SHORT_KEYS = ("version", "plugins", "objectives", "pretrain", "objective", "pretrain_epochs", *STAGE_FIELDS)
"""Keys of settings that are no fields of a recipe."""

DEFAULT_OBJECTIVE = "segmentation"
"""The objective of the last stage where none is named."""

SECTIONS = ("backbone", "dataset", "head", "lr_scale")
"""Keys that hold a mapping; in a path, any other first part is the name of an objective."""

LISTS = {"train_years": int, "test_years": int, "train_sites": str, "test_sites": str}
"""Settings that may be one value or a text with commas, with the type of their items."""

_INTEGER = re.compile("[-+]?[0-9]{1,18}")

_SECTION_KEYS = (*STAGE_FIELDS, "auxiliary", "options")


def expand_short_forms(layer: Mapping[str, Any], where: str) -> Settings:
    """Settings with their short forms written out; the layer is not changed.

    `backbone: tsvit` becomes a mapping with a name; `pretrain: cscl`, years and sites become lists; `min_clear` becomes
    an item of the dataset; a dataset whose name has a "/" becomes the prepared dataset in that folder; `auxiliary`
    becomes a list; keys with dots become nested mappings.

    Args:
        layer: the settings.
        where: the source of the settings, for messages.

    Raises:
        UsageError: a value has neither form, or a stage has an unknown key.
    """
    settings = expand_paths(layer, where)
    settings.pop("plugins", None)  # a record of the run that wrote the recipe, no setting
    version = settings.pop("version", VERSION)
    if version != VERSION:
        raise UsageError(f"{where}: version is {version!r}; this cropzoo reads version {VERSION}; upgrade cropzoo")
    for key in ("backbone", "dataset"):
        if key in settings:
            settings[key] = _expand_name(settings[key], f"{where}: {key}")
    if "/" in settings.get("dataset", {}).get("name", ""):
        settings["dataset"] = {**dataset_at(settings["dataset"].pop("name")), **settings["dataset"]}
    if "min_clear" in settings:
        dataset = settings.setdefault("dataset", {})
        if "min_clear" in dataset:
            raise UsageError(f"{where}: min_clear is given twice, also as dataset.min_clear; remove one of them")
        dataset["min_clear"] = settings.pop("min_clear")
    for key, kind in LISTS.items():
        if key in settings:
            try:
                settings[key] = as_list(settings[key], kind)
            except ValueError as error:
                raise UsageError(f"{where}: {key} is {settings[key]!r}; {error}") from None
    _expand_stages(settings, where)
    return settings


def expand_paths(layer: Mapping[str, Any], where: str) -> Settings:
    """A copy of the layer whose keys with dots became nested mappings.

    Raises:
        UsageError: a path has an empty part or too many parts.
    """
    settings: Settings = {}
    for key, value in layer.items():
        set_path(settings, key, deepcopy(value), where)
    return settings


def set_path(settings: Settings, path: str, value: Any, where: str) -> None:
    """Set the value at a path such as `lr`, `backbone.dim`, `cscl.window`, `stages.0.lr` or `objectives.cscl.lr`.

    Args:
        settings: changed in place.
        path: keys with dots between them.
        value: the value.
        where: the source of the settings, for messages.

    Raises:
        UsageError: the path has an empty part or too many parts, or crosses a value that is no mapping.
    """
    first, *rest = path.split(".")
    if not all((first, *rest)):
        raise UsageError(f"{where}: {quote(path)} is not a setting; write key, section.key or objective.key")
    if not rest:
        section = settings.get(first)
        if first in SECTIONS and isinstance(section, dict) and isinstance(value, str):
            section["name"] = value
        else:
            settings[first] = value
        return
    if first in SECTIONS:
        section = settings.get(first)
        if not isinstance(section, dict):
            section = settings[first] = {} if section is None else {"name": section}
    elif first in ("stages", "objectives"):
        section, rest = _section_at(settings, first, rest[0], f"{where}: {quote(path)}"), rest[1:]
    else:
        section = _section_at(settings, "objectives", first, f"{where}: {quote(path)}")
    if first not in SECTIONS and rest and rest[0] not in _SECTION_KEYS[:-1]:
        rest = rest[1:] if rest[0] == "options" else rest
        section = section.setdefault("options", {})
    if len(rest) != 1:
        raise UsageError(f"{where}: {quote(path)} is not a setting; it has {'too many' if rest else 'too few'} parts")
    section[rest[0]] = value


def _section_at(settings: Settings, key: str, name: str, what: str) -> Settings:
    """The settings of one stage, by index, or of one objective, by name; new if they do not exist."""
    group = settings.setdefault(key, {})
    if key == "stages":
        if not re.fullmatch("[0-9]{1,6}", name):
            raise UsageError(f"{what}; a stage is addressed by its index from 0, such as stages.0.lr")
        if isinstance(group, list) and int(name) < len(group) and isinstance(group[int(name)], dict):
            section: Settings = group[int(name)]
            return section
    if not isinstance(group, dict):
        raise UsageError(f"{what}; {key} is given as well and has no such item")
    found: Settings = group.setdefault(int(name) if key == "stages" else name, {})
    if not isinstance(found, dict):
        raise UsageError(f"{what}; {name} is {found!r}, not a mapping")
    return found


def _expand_name(value: Any, what: str) -> Settings:
    section = {"name": value} if isinstance(value, str) else value
    if not isinstance(section, Mapping) or not isinstance(section.get("name", ""), str):
        raise UsageError(f"{what} is {value!r}; it must be a name or a mapping with a name")
    return dict(section)


def _expand_stages(settings: Settings, where: str) -> None:
    """Write out the short forms of everything that is about stages."""
    if "pretrain" in settings:
        chosen = settings["pretrain"]
        names = chosen.split(",") if isinstance(chosen, str) else chosen or []
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise UsageError(f"{where}: pretrain is {chosen!r}; it must be a list of objectives")
        settings["pretrain"] = [name.strip() for name in names if name.strip() not in ("", "none")]
    if not isinstance(settings.get("objective", ""), str):
        raise UsageError(f"{where}: objective is {settings['objective']!r}; it must be the name of an objective")
    objectives = settings.get("objectives", {})
    if not isinstance(objectives, Mapping):
        raise UsageError(f"{where}: objectives is {objectives!r}; it must be a mapping of objectives to their settings")
    if objectives:
        settings["objectives"] = {
            name: _expand_section(section, _SECTION_KEYS, f"{where}: objectives.{name}")
            for name, section in objectives.items()
        }
    stages = settings.get("stages", [])
    if isinstance(stages, list):
        for key in {"pretrain", "objective"} & settings.keys() if "stages" in settings else ():
            raise UsageError(f"{where}: stages and {key} are given, which name the same stages; remove one of them")
        for number, stage in enumerate(stages):
            stages[number] = _expand_stage(stage, f"{where}: stages.{number}")
    elif isinstance(stages, Mapping) and all(isinstance(number, int) for number in stages):
        settings["stages"] = {
            number: _expand_section(section, ("objective", *_SECTION_KEYS), f"{where}: stages.{number}")
            for number, section in stages.items()
        }
    else:
        raise UsageError(f"{where}: stages is {stages!r}; it must be a list such as [{{objective: cscl, epochs: 6}}]")


def _expand_stage(stage: Any, what: str) -> Settings:
    section = {"objective": stage} if isinstance(stage, str) else stage
    found = _expand_section(section, ("objective", *_SECTION_KEYS), what)
    if not isinstance(found.get("objective"), str):
        raise UsageError(f"{what} is {stage!r}; it must name its objective, such as {{objective: cscl, epochs: 6}}")
    return found


def _expand_section(section: Any, keys: Sequence[str], what: str) -> Settings:
    if not isinstance(section, Mapping):
        raise UsageError(f"{what} is {section!r}; it must be a mapping with any of {', '.join(keys)}")
    for key in section:
        if key not in keys:
            raise UnknownName(f"setting in {what}:", key, keys, "options of the objective belong in options")
    found = dict(section)
    if not isinstance(found.get("options", {}), Mapping):
        raise UsageError(f"{what}: options is {found['options']!r}; it must be a mapping of the objective's options")
    if "auxiliary" in found:
        found["auxiliary"] = expand_auxiliary(found["auxiliary"], what)
    return found


def expand_auxiliary(value: Any, where: str) -> list[Settings]:
    """Auxiliary objectives as a list of mappings with objective, weight and options.

    Args:
        value: such a list, a text such as "cscl:0.1,boundary:0.5", or a mapping of names to weights.
        where: the source of the value, for messages.

    Raises:
        UsageError: the value has none of these forms, or an objective appears twice.
    """
    problem = UsageError(
        f"{where}: auxiliary is {value!r}; it must be objectives with their weights, such as 'cscl:0.1' or "
        "[{objective: cscl, weight: 0.1}]"
    )
    found: list[Settings] = []
    if isinstance(value, list | tuple):
        if not all(isinstance(each, Mapping) and isinstance(each.get("objective"), str) for each in value):
            raise problem
        found = [dict(each) for each in value]
    elif isinstance(value, Mapping):
        found = [{"objective": name, "weight": weight} for name, weight in value.items()]
    else:
        for part in str(value or "").split(","):
            if part.strip() not in ("", "none"):
                name, _, weight = part.partition(":")
                try:
                    found.append({"objective": name.strip(), "weight": float(weight)})
                except ValueError:
                    raise problem from None
    names = [each["objective"] for each in found]
    if len(set(names)) < len(names):
        raise UsageError(f"{where}: auxiliary is {value!r}; it names an objective twice")
    return found


def as_list(value: Any, kind: type) -> list[Any]:
    """A list of one value, of several, or of a text with commas; an empty list of None.

    Args:
        value: one of these.
        kind: type of the items, int or str.

    Raises:
        ValueError: an item is not of that type.
    """
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    if kind is str and any(isinstance(part, bool | float) for part in parts):
        raise ValueError("its items must be texts; put them in quotes")
    texts = [text for part in parts if (text := str(part).strip())] if value is not None else []
    if kind is int and not all(map(_INTEGER.fullmatch, texts)):  # int("1_6") is 16
        raise ValueError("it must be whole numbers with commas between them")
    return [kind(text) for text in texts]


def dataset_at(folder: str) -> Settings:
    """The settings of the dataset that `cropzoo prepare` wrote to a folder."""
    return {"name": "prepared", "root": folder}


def list_stages(settings: Mapping[str, Any], where: str) -> list[Settings]:
    """The stages that expanded settings describe, each with the values that apply to it.

    Values of a stage win over those of `objectives`, and these over values for all stages.

    Args:
        settings: from `expand_short_forms`.
        where: the source of the settings, for messages.

    Raises:
        UsageError: a path addresses a stage that does not exist.
    """
    stages = settings.get("stages", {})
    if not isinstance(stages, list):
        names = [*settings.get("pretrain", ()), settings.get("objective", DEFAULT_OBJECTIVE)]
        stages = patch_stages([{"objective": name} for name in names], stages, where)
    objectives = settings.get("objectives", {})
    shared = {field: settings[field] for field in RATE_FIELDS if field in settings}
    found = []
    for number, stage in enumerate(stages):
        section = objectives.get(stage["objective"], {})
        is_last = number == len(stages) - 1
        budget = {"epochs": settings.get("epochs" if is_last else "pretrain_epochs")}
        if is_last:
            budget["steps"] = settings.get("steps")
        given = {key: value for key, value in budget.items() if value is not None}
        values = {**shared, **given, **section, **stage}
        values["options"] = {**section.get("options", {}), **stage.get("options", {})}
        values["auxiliary"] = [
            {**each, "options": {**objectives.get(each["objective"], {}).get("options", {}), **each.get("options", {})}}
            for each in values.get("auxiliary", ())
        ]
        found.append(values)
    return found


def patch_stages(stages: Sequence[Settings], changes: Mapping[int, Settings], where: str) -> list[Settings]:
    """Copies of the stages with the changes of some of them, by index.

    Raises:
        UsageError: there is no stage of an index.
    """
    patched = [dict(stage) for stage in stages]
    for number, change in changes.items():
        if number >= len(stages):
            known = ", ".join(f"{index} {stage['objective']}" for index, stage in enumerate(stages))
            raise UsageError(f"{where}: stages.{number} is set, but the run has no such stage; its stages are {known}")
        patched[number] = overlay_section(patched[number], change)
    return patched


def overlay_section(below: Settings, above: Mapping[str, Any]) -> Settings:
    """The settings of a stage or objective with those above them; options are merged key by key.

    An auxiliary objective keeps the options that it had.
    """
    merged = {**below, **above}
    if "options" in below and "options" in above:
        merged["options"] = {**below["options"], **above["options"]}
    if "auxiliary" in below and "auxiliary" in above:
        merged["auxiliary"] = keep_options(above["auxiliary"], below["auxiliary"])
    return merged


def keep_options(above: Sequence[Settings], below: Sequence[Settings]) -> list[Settings]:
    """Auxiliary objectives, each with the options that it had below, unless it has others."""
    known = {each["objective"]: each.get("options", {}) for each in below}
    return [
        {**each, "options": {**known.get(each["objective"], {}), **each.get("options", {})}}
        if known.get(each["objective"])
        else each
        for each in above
    ]


def iterate_sections(settings: Mapping[str, Any]) -> Iterator[Settings]:
    """The settings of every stage and every objective, as found in expanded settings."""
    stages = settings.get("stages", {})
    yield from stages if isinstance(stages, list) else stages.values()
    yield from settings.get("objectives", {}).values()


def objectives_in(settings: Mapping[str, Any]) -> set[str]:
    """The objectives of the stages that expanded settings name, with the auxiliary ones."""
    stages = settings.get("stages", {})
    named = [stage["objective"] for stage in stages] if isinstance(stages, list) else []
    joined = [each["objective"] for section in iterate_sections(settings) for each in section.get("auxiliary", ())]
    last = [settings["objective"]] if "objective" in settings else []
    return {*named, *settings.get("pretrain", ()), *last, *joined}
