"""Recipes that earlier versions wrote, in the form of today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from cropzoo.config.schema import rename_keys
from cropzoo.config.short_forms import RATE_FIELDS, SECTIONS, SHORT_KEYS, VERSION, Settings, expand_auxiliary
from cropzoo.errors import UsageError

RENAMED_KEYS = {"turns": "flip_rotate", "date_drop": "temporal_dropout", "clip_norm": "gradient_clip_norm"}
"""Keys of version 1, with their names of today."""

_KEYS = (
    *SECTIONS, *SHORT_KEYS, "stages", "weights", "adapt_bands", "freeze", "label_fraction", "train_years", "test_years",
    "train_sites", "test_sites", "image_size", "length", "max_dates", "date_sampling", "min_clear", "batch_size",
    "flip_rotate", "temporal_dropout", "end_early", "gradient_clip_norm", "patience", "seed", "precision",
)  # fmt: skip
"""Keys of version 1 by their names of today: a mapping under any other key holds the settings of an objective."""


def upgrade_recipe(values: Mapping[str, Any], objectives: Iterable[str] = ()) -> Settings:
    """A recipe, or a part of one, in the form of version 2; one that has a version is returned without changes.

    In version 1 the settings of an objective had its name as their key, with the options next to epochs and rates;
    `pretrain` and `objective` named the stages; `auxiliary` held only weights. A recipe that a run stored, with every
    setting of every stage, gets a list of stages; settings in any other become those of `objectives`.

    Args:
        values: the mapping as it was read.
        objectives: names of known objectives; another key that is close to a setting's is left for the error message.
    """
    if not values or "version" in values:
        return dict(values)
    settings = rename_keys(values, RENAMED_KEYS)
    names = _stage_names(settings)
    known = {*objectives, *names}
    sections = {
        key: _upgrade_section(settings.pop(key))
        for key, value in list(settings.items())
        if isinstance(value, Mapping) and key not in _KEYS and "." not in key and _is_objective(key, known)
    }
    if names and all({"epochs", *RATE_FIELDS} <= sections.get(name, {}).keys() for name in names):
        del settings["pretrain"], settings["objective"]
        settings["stages"] = _make_stages(names, sections)
        sections = {name: section for name, section in sections.items() if name not in _used(settings["stages"])}
    if sections:
        settings["objectives"] = {**settings.get("objectives", {}), **sections}
    return {"version": VERSION, **settings}


def _is_objective(key: str, known: set[str]) -> bool:
    """Whether a key is the name of an objective, whose plugin need not be installed, and no misspelled key."""
    return key in known or not get_close_matches(key, _KEYS, cutoff=0.6)


def _stage_names(settings: Mapping[str, Any]) -> list[str]:
    """The objectives of a recipe that names all its stages; none otherwise."""
    before, last = settings.get("pretrain") or [], settings.get("objective")
    if isinstance(before, str):
        before = [name.strip() for name in before.split(",")]
    if "pretrain" not in settings or not isinstance(last, str) or not isinstance(before, list):
        return []
    return [*(str(name) for name in before if name not in ("", "none")), last]


def _upgrade_section(section: Mapping[str, Any]) -> Settings:
    own = {key: section[key] for key in ("epochs", *RATE_FIELDS, "auxiliary") if key in section}
    options = {key: value for key, value in section.items() if key not in own}
    return {**own, **({"options": options} if options else {})}


def _make_stages(names: Iterable[str], sections: Mapping[str, Settings]) -> list[Settings]:
    """Stages with their sections; each auxiliary objective gets the options of the section of its name."""
    stages = []
    for name in names:
        stage = {"objective": name, **sections.get(name, {})}
        if "auxiliary" in stage:
            try:
                joined = expand_auxiliary(stage["auxiliary"], name)
            except UsageError:  # reported with its source where the recipe is built
                joined = []
            for each in joined:
                if options := sections.get(each["objective"], {}).get("options"):
                    each["options"] = dict(options)
            stage["auxiliary"] = joined or stage["auxiliary"]
        stages.append(stage)
    return stages


def _used(stages: Iterable[Settings]) -> set[str]:
    joined = [each for stage in stages for each in stage.get("auxiliary", ()) if isinstance(each, dict)]
    return {each["objective"] for each in (*stages, *joined)}
