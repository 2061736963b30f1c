"""Schema of a study file: the axes of its grid and the settings that all its runs share.

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
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cropzoo.config.merge import merge
from cropzoo.config.schema import Real, Schema, Whole
from cropzoo.config.short_forms import VERSION, as_list, expand_short_forms
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.data.dates import parse_day, parse_days
from cropzoo.errors import UsageError

AS_TRAINED = "as trained"
"""Name of the scores from the end of training in tables with additional scorings."""


class Scoring(Schema):
    """An additional way to score the best weights of finished runs, without training.

    Args:
        until: Last day of the series: "06-15" in the year in which a series ends, or "2019-06-15".
        upsample: Interpolation of the logits to finer labels.
        dataset: Options that replace those of the training, such as {label_scale: 4}. With a name, another dataset.
        years: Years of the scored samples, as in a recipe's `test_years`. An empty list selects all years.
        sites: Sites of the scored samples, as in a recipe's `test_sites`. An empty list selects all sites.
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
            raise ValueError(f"the scoring changes nothing; set at least one of {', '.join(type(self).model_fields)}")
        return self

    def to_mapping(self) -> dict[str, Any]:
        """The fields that were given."""
        return self.model_dump(mode="json", exclude_unset=True)

    def changes(self, split: str) -> dict[str, Any]:
        """Settings that replace those of the training to score a split, in the recipe's mapping form."""
        group = "test" if split == "test" else "train"  # val shares the years and sites of train
        given = {"dataset": self.dataset, f"{group}_years": list(self.years), f"{group}_sites": list(self.sites)}
        return {key: value for key, value in given.items() if key.removeprefix(f"{group}_") in self.model_fields_set}


def day_text(value: Any) -> str:
    """A day as text.

    Raises:
        ValueError: If the value is not a day.
    """
    text = str(value)
    try:
        parse_day("until", text)
    except UsageError as error:
        raise ValueError(str(error).partition("; ")[2]) from None
    return text


Budget = Literal["total", "finetune"]
Split = Literal["test", "val"]

_MAX_SEEDS = 1000
"""Largest number of seeds. A larger integer was probably meant as a seed."""

_VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+]*")
_SCORING = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+ -]*")

_AXES = {"pretrain": "pretrain", "seed": "seeds", "label_fraction": "label_fractions"}
"""Axis of the study by the recipe setting that it replaces."""


class Baseline(Schema):
    """The cell that the others are compared with, for each backbone and label fraction.

    Args:
        pretrain: Pre-training of the baseline. Default: "none" if the grid has it, else the first one.
        variant: Variant of the baseline. By default, cells with another pre-training are compared with their own
            variant, and cells with the baseline's pre-training with its first variant.
    """

    pretrain: str | None = None
    variant: str | None = None


class Study(Schema):
    """A study: the axes of its grid and the settings that all runs share.

    Args:
        backbones: Names of backbones.
        pretrain: Pre-training objectives; "none" for no pre-training, "cscl+mtm" for two stages in sequence.
        seeds: Random seeds of the runs. An integer N means 0 to N - 1.
        folds: Values of `dataset.fold`. The confusion matrices of a seed's folds are summed before scores are computed.
        label_fractions: Fractions of the training parcels whose labels are used.
        variants: Settings in the recipe's mapping form, by the name of the variant.
        dataset: A dataset's name, or a mapping with a name and options.
        epochs: Epochs of the last stage, or of all stages together under the budget "total". Overrides `recipe`;
            overridden by `variants`.
        pretrain_epochs: Epochs of each pre-training stage. Default under the budget "total": a quarter of `epochs`.
        budget: "total": pre-training takes its epochs from the last stage, so that all runs have the same number of
            steps. "finetune": pre-training adds its epochs.
        baseline: The cell that the others are compared with.
        split: Split whose scores are compared. Use "val" to choose settings.
        until: Days such as 06-15. Finished runs are also scored on series that end on each of them.
        scorings: Additional ways to score finished runs, by name.
        recipe: Settings of all runs, in the recipe's mapping form.
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
        if value > _MAX_SEEDS:
            raise ValueError(f"an integer is the number of seeds, at most {_MAX_SEEDS}; give a list to name seeds")
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
                f"the grid is empty: no {' and no '.join(empty)}; give at least one value for each, "
                "such as --backbones tsvit --pretrain none,cscl --seeds 3"
            )
        for what, names, pattern, signs in (
            ("variant", self.variants, _VARIANT, ". _ = +"),
            ("scoring", self.all_scorings, _SCORING, ". _ = + - and spaces"),
        ):
            for name in names:
                if not pattern.fullmatch(name):
                    raise ValueError(
                        f"{what} {name!r} is not a valid folder name; use letters, digits and any of {signs}"
                    )
        for name in self.scorings:
            if name == AS_TRAINED or name in {_until(day) for day in self.until}:
                raise ValueError(f"scoring {name!r} has a reserved name; rename it")
        return self

    @property
    def all_scorings(self) -> dict[str, Scoring]:
        """Every additional scoring by name, the days of `until` first."""
        return {_until(day): Scoring(until=day) for day in self.until} | self.scorings

    def to_mapping(self) -> dict[str, Any]:
        """The mapping form, defaults included."""
        return {
            **self.model_dump(mode="json"),
            "scorings": {name: scoring.to_mapping() for name, scoring in self.scorings.items()},
        }


def _until(day: str) -> str:
    """Name of the scoring of series that end on a day."""
    return f"until {day}"


def _unique(value: Any) -> Any:
    """The value; a list without duplicates and empty texts, its texts stripped."""
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
    """The study of a file and of the flags that override it.

    Args:
        file: Content of the study file; empty without one.
        flags: Keys of a study that replace those of the file.
        settings: (source, settings in a recipe's mapping form) that override the file's `recipe`, the strongest last.
        where: Name of file and flags in error messages.
        objectives: Names of known objectives, which files of version 1 use as keys.

    Raises:
        UsageError: If a key is unknown, a value is not allowed, or the grid is empty.
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
    """Settings in full form, which must not set an axis."""
    found = expand_short_forms(settings, where)
    if isinstance(found.get("stages"), list):
        raise UsageError(f"{where}: stages is an axis of the study; set pretrain of the study instead")
    for key in _AXES.keys() & found.keys():
        raise UsageError(f"{where}: {key} is an axis of the study; set {_AXES[key]} of the study instead")
    if "name" in found.get("backbone", {}):
        raise UsageError(f"{where}: backbone is an axis of the study; set backbones of the study instead")
    return found


def objectives_of(pretrain: str) -> tuple[str, ...]:
    """Names of the objectives of an item of `pretrain`, in order."""
    return tuple(name.strip() for name in pretrain.split("+") if name.strip() not in ("", "none"))
