"""What a study asks for: the axes of its grid and what all its runs share.

backbones: [tsvit, unet3df]
pretrain: [none, cscl, cscl+mtm]
seeds: 5
dataset: synthetic
variants: {window5: {cscl.window: 5}, joint: {segmentation.auxiliary: "cscl:0.1"}}
recipe: {batch_size: 8}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cropzoo.config.merge import merge
from cropzoo.config.schema import Real, Schema, Whole
from cropzoo.config.short_forms import VERSION, as_list, expand_short_forms
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.data.dates import parse_day, parse_days
from cropzoo.errors import UsageError

AS_TRAINED = "as trained"
"""What the scores at the end of training are called beside others."""


class Scoring(Schema):
    """How the chosen weights of finished runs are scored once more; nothing is trained again.

    Args:
        until: the last day of the series, "06-15" of the year in which they end, or "2019-06-15".
        upsample: how logits are brought to labels that are finer.
        dataset: options over those of the training, such as {label_scale: 4}; a name, or options with one: other data.
        years, sites: of the samples that are scored, in the forms of a recipe's `test_years` and `test_sites`; an empty
            list is all of them, whatever the training chose.
    """

    until: str | None = None
    upsample: Literal["nearest", "bilinear"] | None = None
    dataset: str | dict[str, Any] = Field(default_factory=dict)
    years: tuple[Whole, ...] = ()
    sites: tuple[str, ...] = ()

    @field_validator("until", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        return None if value is None else day_text(value)

    @field_validator("years", "sites", mode="before")
    @classmethod
    def _list(cls, value: Any, info: Any) -> Any:
        return as_list(value, int if info.field_name == "years" else str)

    @model_validator(mode="after")
    def _other(self) -> Scoring:
        if not (self.until or self.upsample or self.dataset or {"years", "sites"} & self.model_fields_set):
            raise ValueError(
                f"a scoring must differ from that of the training; give any of {', '.join(type(self).model_fields)}"
            )
        return self

    def to_mapping(self) -> dict[str, Any]:
        """What was given."""
        return self.model_dump(mode="json", exclude_unset=True)

    def changes(self, split: str) -> dict[str, Any]:
        """Settings over those of the training, in the recipe's mapping form, to score this split."""
        group = "test" if split == "test" else "train"  # whose years and sites val has
        given = {"dataset": self.dataset, f"{group}_years": list(self.years), f"{group}_sites": list(self.sites)}
        return {key: value for key, value in given.items() if key.removeprefix(f"{group}_") in self.model_fields_set}


def day_text(value: Any) -> str:
    """A day as people write it; YAML reads 2019-06-15 as a date.

    Raises:
        ValueError: it is no day.
    """
    text = value.isoformat() if isinstance(value, date) else str(value)
    try:
        parse_day("until", text)
    except UsageError as error:
        raise ValueError(str(error).partition("; ")[2]) from None
    return text


Budget = Literal["total", "finetune"]
Split = Literal["test", "val"]

_MOST_SEEDS = 1000
"""That a number may stand for; a larger one is meant as a seed."""

_VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+]*")
_SCORING = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+ -]*")

_OWNED = {"pretrain": "pretrain", "seed": "seeds", "label_fraction": "label_fractions"}
"""Settings of a recipe that are axes, with the axis."""


class Baseline(Schema):
    """What the others are compared with, for each backbone and label fraction.

    Args:
        pretrain: of that cell; none where the grid has it, else the first, if not given.
        variant: of that cell. If not given, cells with other pre-training are compared with their own variant, and
            variants without with the first one.
    """

    pretrain: str | None = None
    variant: str | None = None


class Study(Schema):
    """The grid, and what all runs share.

    Args:
        backbones: names.
        pretrain: objectives to pre-train with; "none" for none, "cscl+mtm" for two stages in a row.
        seeds: of the runs; a number of them stands for 0, 1, 2, ...
        folds: `dataset.fold` of the runs; the scores of a seed come from the sum of their confusion matrices. None if
            empty.
        label_fractions: shares of the training parcels whose labels are used.
        variants: settings in the recipe's mapping form, by a name of theirs; a run without any of them if empty.
        dataset: a name or a mapping with a name.
        epochs, pretrain_epochs: as in a recipe; over `recipe`, under `variants`. Under the budget "total" a stage of
            pre-training that nothing gives epochs has a quarter of them.
        budget: "total": pre-training takes its epochs from those of the last stage, so that all runs see equally many
            steps; "finetune": it comes on top.
        baseline: what the others are compared with.
        split: whose scores are compared; settings are chosen on val.
        until: days, such as 06-15: finished runs are scored once more on series that end on each of them.
        scorings: other ways to score finished runs, by a name of theirs.
        recipe: settings of all runs, in the recipe's mapping form.
    """

    version: Literal[2] = VERSION
    backbones: tuple[str, ...] = ()
    pretrain: tuple[str, ...] = ("none",)
    seeds: tuple[Whole, ...] = (0,)
    folds: tuple[Whole, ...] = ()
    label_fractions: tuple[Real, ...] = (1.0,)
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    dataset: str | dict[str, Any] | None = None
    epochs: Whole | None = Field(None, ge=1)
    pretrain_epochs: Whole | None = Field(None, ge=1)
    budget: Budget = "total"
    baseline: Baseline = Field(default_factory=lambda: Baseline())
    split: Split = "test"
    until: tuple[str, ...] = ()
    scorings: dict[str, Scoring] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)

    @field_validator("backbones", "pretrain", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return _unique(value.split(",") if isinstance(value, str) else value)

    @field_validator("pretrain", mode="after")
    @classmethod
    def _one_spelling(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys("+".join(objectives_of(name)) or "none" for name in names))

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        if type(value) is not int:
            return _unique(value)
        if value > _MOST_SEEDS:
            raise ValueError(f"a number says how many seeds, up to {_MOST_SEEDS}; to name one, give a list")
        return tuple(range(value))

    @field_validator("folds", "label_fractions", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return _unique([value] if type(value) in (int, float) else value)

    @field_validator("until", mode="before")
    @classmethod
    def _days(cls, value: Any) -> Any:
        days = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
        texts = [day_text(day.strip() if isinstance(day, str) else day) for day in days if day != ""]
        try:
            return tuple(parse_days("until", ",".join(texts))) if texts else ()
        except UsageError as error:
            raise ValueError(str(error).partition("; ")[2]) from None

    @field_validator("baseline", mode="before")
    @classmethod
    def _short_baseline(cls, value: Any) -> Any:
        return {"pretrain": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _checked(self) -> Study:
        empty = [axis for axis in ("backbones", "pretrain", "seeds", "label_fractions") if not getattr(self, axis)]
        if empty:
            raise ValueError(
                f"the grid is empty, since nothing is given for {' and '.join(empty)}; give at least one of each, "
                "such as --backbones tsvit --pretrain none,cscl --seeds 3"
            )
        for what, names, pattern, signs in (
            ("variant", self.variants, _VARIANT, ". _ = +"),
            ("scoring", self.all_scorings, _SCORING, ". _ = + - and spaces"),
        ):
            for name in names:
                if not pattern.fullmatch(name):
                    raise ValueError(
                        f"{what} {name!r} is part of the names of folders; use letters, digits and any of {signs}"
                    )
        for name in self.scorings:
            if name == AS_TRAINED or name in {_until(day) for day in self.until}:
                raise ValueError(f"scoring {name!r} has the name of another one of the tables; rename it")
        return self

    @property
    def all_scorings(self) -> dict[str, Scoring]:
        """Every other way to score a run, the days of `until` first."""
        return {_until(day): Scoring(until=day) for day in self.until} | self.scorings

    def to_mapping(self) -> dict[str, Any]:
        """The mapping form, with every default written out."""
        return {
            **self.model_dump(mode="json"),
            "scorings": {name: scoring.to_mapping() for name, scoring in self.scorings.items()},
        }


def _until(day: str) -> str:
    """The name of the scoring of series that end on a day."""
    return f"until {day}"


def _unique(value: Any) -> Any:
    """Lists without what is in them already; texts without space around them."""
    if not isinstance(value, list | tuple):
        return value
    items = [item.strip() if isinstance(item, str) else item for item in value]
    return tuple(item for place, item in enumerate(items) if item != "" and item not in items[:place])


def read_study(
    file: Mapping[str, Any],
    flags: Mapping[str, Any],
    settings: Iterable[tuple[str, Mapping[str, Any]]],
    where: str,
    objectives: Iterable[str] = (),
) -> Study:
    """The study of a file and the flags over it.

    Args:
        file: what the file holds; empty for none.
        flags: keys of a study that replace the file's.
        settings: (what it is, settings in a recipe's mapping form) over the file's `recipe`, the strongest last.
        where: what file and flags are, for messages.
        objectives: names of known objectives, which files of version 1 use as keys.

    Raises:
        UsageError: for an unknown key, a value that is not allowed, or an empty grid.
    """
    study = Study.parse({**file, **flags}, where)
    if "version" not in file:
        variants = {name: upgrade_recipe(values, objectives) for name, values in study.variants.items()}
        recipe = upgrade_recipe(study.recipe, objectives)
        study = study.model_copy(update={"recipe": recipe, "variants": variants})
    recipe = _shared(study.recipe, f"{where}: recipe")
    for name, layer in settings:
        recipe = merge(recipe, _shared(layer, name))
    variants = {name: _shared(values, f"{where}: variant {name!r}") for name, values in study.variants.items()}
    return study.model_copy(update={"recipe": recipe, "variants": variants})


def _shared(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings that say nothing of the axes."""
    found = expand_short_forms(settings, where)
    if isinstance(found.get("stages"), list):
        raise UsageError(f"{where}: stages is given, but stages differ between the runs; give pretrain of the study")
    for key in _OWNED.keys() & found.keys():
        raise UsageError(f"{where}: {key} is given, but it differs between the runs; give {_OWNED[key]} of the study")
    if "name" in found.get("backbone", {}):
        raise UsageError(f"{where}: backbone is named, but it differs between the runs; give backbones of the study")
    return found


def objectives_of(pretrain: str) -> tuple[str, ...]:
    """The objectives that an item of `pretrain` names, in order."""
    return tuple(name.strip() for name in pretrain.split("+") if name.strip() not in ("", "none"))
