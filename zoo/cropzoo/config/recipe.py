"""The recipe: all that defines a run, frozen and validated.

Its mapping form is one and the same in recipe.yaml, in `--config` files and in the catalog:

    backbone: {name: tsvit, dim: 64}
    dataset: {name: synthetic, seed: 3}
    pretrain: [cscl]
    cscl: {epochs: 10, window: 5}
    segmentation: {epochs: 20, lr: 1e-3, auxiliary: {boundary: 0.1}}
    batch_size: 16
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Literal

from pydantic import Field, field_validator

from cropzoo.config.schema import Flag, Real, Schema, Whole, rename_keys
from cropzoo.errors import UnknownName, UsageError

SCALES = (1, 2, 4)
"""How many times finer than the images features can be."""


def objectives_of(recipe: Recipe) -> list[str]:
    """The objectives of all stages, with those that join them."""
    joined = [each.objective for stage in recipe.stages for each in stage.auxiliary]
    return [*(stage.objective for stage in recipe.stages), *joined]


class Auxiliary(Schema):
    """An objective whose loss, times `weight`, is added to that of a stage.

    Its options stand in the section of its name, as those of a stage do.
    """

    objective: str
    weight: Real = Field(gt=0)
    options: dict[str, Any] = Field(default_factory=dict)


class Stage(Schema):
    """One objective with its own epochs and rates.

    The rate rises linearly over `warmup_epochs`, then falls on a cosine to `lr_min`, by step. In the mapping form
    `auxiliary` is a text such as "cscl:0.1,boundary:0.5", or a mapping of names to weights.
    """

    objective: str
    options: dict[str, Any] = Field(default_factory=dict)
    auxiliary: tuple[Auxiliary, ...] = ()
    epochs: Whole = Field(20, ge=1)
    lr: Real = Field(1e-3, gt=0)
    lr_min: Real = Field(5e-6, ge=0)
    warmup_epochs: Real = Field(1.0, ge=0)
    weight_decay: Real = Field(0.01, ge=0)


RATE_FIELDS = ("lr", "lr_min", "warmup_epochs", "weight_decay")
STAGE_FIELDS = ("epochs", *RATE_FIELDS)


def auxiliary_weights(value: Any, where: str) -> dict[str, float]:
    """Names of objectives with their weights, from either form that `auxiliary` may have.

    Raises:
        UsageError: for anything else.
    """
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return dict(value)
    weights: dict[str, float] = {}
    try:
        for part in str(value or "").split(","):
            if part.strip() not in ("", "none"):
                name, _, weight = part.partition(":")
                weights[name.strip()] = float(weight)
    except ValueError:
        raise UsageError(
            f"{where}: auxiliary is {value!r}; it must be objectives with their weights, such as 'cscl:0.1'"
        ) from None
    return weights


def auxiliary_names(section: Any, where: str) -> tuple[str, ...]:
    """The objectives that the section of a stage is joined by."""
    return tuple(auxiliary_weights(section.get("auxiliary"), where)) if isinstance(section, Mapping) else ()


def make_stage(
    objective: str, section: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]], where: str
) -> Stage:
    """The stage of a section.

    Args:
        objective: of the stage.
        section: its settings and, with any other key, the objective's options.
        options: of each objective that it is joined by.
        where: what the section stands in, for messages.

    Raises:
        UsageError: for a value that is not allowed.
    """
    where = f"{where}: stage {objective!r}"
    weights = auxiliary_weights(section.get("auxiliary"), where)
    if objective in weights:
        raise UsageError(f"{where}: it is joined by itself; name another objective in auxiliary")
    joined = [{"objective": name, "weight": weight, "options": options[name]} for name, weight in weights.items()]
    fields = {key: section[key] for key in STAGE_FIELDS if key in section}
    own = {key: value for key, value in section.items() if key not in (*STAGE_FIELDS, "auxiliary")}
    return Stage.parse({"objective": objective, "options": own, "auxiliary": joined, **fields}, where)


def sections(stages: Iterable[Stage]) -> dict[str, dict[str, Any]]:
    """The mapping form of stages: a section for each of them, and for each objective that joins one."""
    found: dict[str, dict[str, Any]] = {}
    for stage in stages:
        rates = {name: getattr(stage, name) for name in STAGE_FIELDS}
        weights = {joined.objective: joined.weight for joined in stage.auxiliary}
        found[stage.objective] = {**rates, **({"auxiliary": weights} if weights else {}), **stage.options}
        for joined in stage.auxiliary:
            if joined.options:
                found.setdefault(joined.objective, dict(joined.options))
    return found


Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
DateSampling = Literal["uniform", "random", "clearest"]


class Choice(Schema):
    """A plugin's name with the options for its factory."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class HeadChoice(Schema):
    """What stands between the backbone's features and an objective or the head.

    Args:
        upsample: how many times finer than the images features and logits are, for labels that are.
    """

    upsample: Literal[1, 2, 4] = 1


LISTS = {"train_years": int, "test_years": int, "train_sites": str, "test_sites": str}
"""Settings that a text with commas, or one value, may give, with the type of their items."""


RENAMED = {"turns": "flip_rotate", "date_drop": "temporal_dropout", "clip_norm": "gradient_clip_norm"}
"""Settings of earlier versions, and what they are called today."""


class Recipe(Schema):
    """What a run is made of.

    Args:
        stages: pre-training objectives in order, then the one whose head is the result.
        head: resolution of features and logits.
        weights: a checkpoint file or catalog entry that the backbone starts from.
        adapt_bands: take weights that were trained on other bands, as far as they fit.
        freeze: the last stage leaves the backbone as it is.
        lr_scale: factors of the last stage's rate for parts of it by name, such as {backbone: 0.1}.
        label_fraction: share of the training split's parcels, of each class, whose labels are used.
        train_years, test_years: seasons of the samples of train and val, and of test; all if empty.
        train_sites, test_sites: likewise sites, by name or pattern such as "T31*".
        image_size: side of the crops in training and of the tiles in evaluation, px.
        length: dates that the backbone is built for: series are padded and sampled to it; None for any number.
        max_dates: at most so many dates of a sample are used; None for all.
        date_sampling: which ones, in training; evaluation replaces "random" by "uniform".
        min_clear: share of clear pixels that a date of a crop needs to be used; 0 keeps all.
        batch_size: crops a step, over all processes together.
        flip_rotate: flips and quarter turns in training.
        temporal_dropout: share of dates that training leaves out at random.
        end_early: share of crops whose series training ends at a random date, for maps early in a season.
        gradient_clip_norm: gradients are scaled down to this norm; 0 for never.
        patience: stop a stage after so many epochs without a better validation score; 0 for never.
        seed: of initial weights, order, crops and dropping.
        precision: of Lightning's Trainer.
    """

    backbone: Choice
    dataset: Choice
    stages: tuple[Stage, ...] = Field(min_length=1)
    head: HeadChoice = Field(default_factory=lambda: HeadChoice())
    weights: str | None = None
    adapt_bands: Flag = False
    freeze: Flag = False
    lr_scale: dict[str, Real] = Field(default_factory=dict)
    label_fraction: Real = Field(1.0, gt=0, le=1)
    train_years: tuple[Whole, ...] = ()
    test_years: tuple[Whole, ...] = ()
    train_sites: tuple[str, ...] = ()
    test_sites: tuple[str, ...] = ()
    image_size: Whole = Field(24, ge=1)
    length: Whole | None = Field(None, ge=1)
    max_dates: Whole | None = Field(None, ge=1)
    date_sampling: DateSampling = "uniform"
    min_clear: Real = Field(0.0, ge=0, le=1)
    batch_size: Whole = Field(16, ge=1)
    flip_rotate: Flag = True
    temporal_dropout: Real = Field(0.0, ge=0, lt=1)
    end_early: Real = Field(0.0, ge=0, le=1)
    gradient_clip_norm: Real = Field(1.0, ge=0)
    patience: Whole = Field(0, ge=0)
    seed: Whole = Field(0, ge=0)
    precision: Precision = "32-true"

    @field_validator("precision", mode="before")
    @classmethod
    def _short_precision(cls, value: Any) -> Any:
        short = {"32": "32-true", "fp32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed", "fp16": "16-mixed"}
        return short.get(str(value), value)

    @property
    def pretrain(self) -> tuple[str, ...]:
        """Names of the objectives before the last."""
        return tuple(stage.objective for stage in self.stages[:-1])

    def to_mapping(self) -> dict[str, Any]:
        """The mapping form, with every default written out."""
        plain = self.model_dump(mode="json", exclude={"backbone", "dataset", "stages", "min_clear"})
        return {
            "backbone": {"name": self.backbone.name, **self.backbone.options},
            "dataset": {"name": self.dataset.name, "min_clear": self.min_clear, **self.dataset.options},
            "pretrain": list(self.pretrain),
            "objective": self.stages[-1].objective,
            **sections(self.stages),
            **plain,
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str, objectives: Iterable[str]) -> Recipe:
        """The recipe of a merged mapping.

        Args:
            where: what the mapping is, for messages.
            objectives: every known one, to tell a section that no stage uses from an unknown key.

        Raises:
            UsageError: for a key that is unknown or a value that is not allowed.
        """
        rest, known = normalize(values, where), set(objectives)
        names = [*rest.pop("pretrain", ()), rest.pop("objective", "segmentation")]
        if len(set(names)) < len(names):
            raise UsageError(f"{where}: stages are {', '.join(names)}; an objective can be a stage only once")
        shared = {name: rest.pop(name) for name in RATE_FIELDS if name in rest}
        epochs = {True: rest.pop("epochs", None), False: rest.pop("pretrain_epochs", None)}
        joined = {name: auxiliary_names(rest.get(name), where) for name in names}
        used = {*names, *chain.from_iterable(joined.values())}
        given = {name: _section(rest.pop(name), name, where) for name in sorted((known | used) & rest.keys())}
        for name in given.keys() - used:
            raise UsageError(
                f"{where}: settings are given for {name!r}, which is no stage of this run; add --pretrain {name}"
            )
        stages = []
        for name in names:
            count = epochs[name == names[-1]]
            section = {**shared, **({} if count is None else {"epochs": count}), **given.get(name, {})}
            options = {each: _joined_options(given.get(each, {}), each, names, where) for each in joined[name]}
            stages.append(make_stage(name, section, options, where))
        dataset = rest.pop("dataset", {})
        if "min_clear" in dataset:
            rest["min_clear"] = dataset.pop("min_clear")
        allowed = {*cls.model_fields, *STAGE_FIELDS, "pretrain", "pretrain_epochs", "objective"} - {"stages"}
        for key in rest:
            if key not in allowed:
                raise UnknownName(f"setting in {where}:", key, allowed | known)
        rest |= {"backbone": _choice(rest.get("backbone", {})), "dataset": _choice(dataset), "stages": stages}
        return cls.parse(rest, where)


def normalize(layer: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The mapping form with its short forms written out.

    `backbone: tsvit` becomes a mapping with a name, `pretrain: cscl` a list of one, as do years and sites,
    `min_clear` an item of the dataset, and a dataset whose name has a "/" is the prepared one in that folder.

    Raises:
        UsageError: for one of these that is neither form.
    """
    settings = rename_keys(layer, RENAMED)
    for key in ("backbone", "dataset"):
        if key in settings:
            settings[key] = _named(settings[key], f"{where}: {key}")
    if "/" in settings.get("dataset", {}).get("name", ""):
        settings["dataset"] = {**dataset_at(settings["dataset"].pop("name")), **settings["dataset"]}
    if "min_clear" in settings:
        dataset = settings.setdefault("dataset", {})
        if "min_clear" in dataset:
            raise UsageError(f"{where}: min_clear is given twice, alone and as dataset.min_clear; leave one out")
        dataset["min_clear"] = settings.pop("min_clear")
    for key, kind in LISTS.items():
        if key in settings:
            try:
                settings[key] = as_list(settings[key], kind)
            except ValueError as error:
                raise UsageError(f"{where}: {key} is {settings[key]!r}; {error}") from None
    if "pretrain" in settings:
        chosen = settings["pretrain"]
        names = chosen.split(",") if isinstance(chosen, str) else chosen or []
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise UsageError(f"{where}: pretrain is {chosen!r}; it must be a list of objectives")
        settings["pretrain"] = [name.strip() for name in names if name.strip() not in ("", "none")]
    if not isinstance(settings.get("objective", ""), str):
        raise UsageError(f"{where}: objective is {settings['objective']!r}; it must be the name of an objective")
    return settings


def as_list(value: Any, kind: type) -> list[Any]:
    """Several values of one, or of a text with commas, as they come from a command line; none of nothing.

    Raises:
        ValueError: for one that is not of the kind, which is int or str.
    """
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        return [] if value is None else [kind(part) for part in (str(part).strip() for part in parts) if part]
    except ValueError:
        raise ValueError("it must be whole numbers with commas between them") from None


def dataset_at(folder: str) -> dict[str, Any]:
    """The section of the dataset that `cropzoo prepare` made in a folder."""
    return {"name": "prepared", "root": folder}


def _named(value: Any, what: str) -> dict[str, Any]:
    section = {"name": value} if isinstance(value, str) else value
    if not isinstance(section, Mapping) or not isinstance(section.get("name", ""), str):
        raise UsageError(f"{what} is {value!r}; it must be a name or a mapping with a name")
    return dict(section)


def _section(value: Any, objective: str, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: {objective} is {value!r}; it must be a mapping of that stage's settings")
    return value


def _choice(section: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(section)
    named = {"name": options.pop("name")} if "name" in options else {}
    return {**named, "options": options}


def _joined_options(section: Mapping[str, Any], objective: str, stages: Iterable[str], where: str) -> dict[str, Any]:
    """The options of an objective that joins a stage; only one that is a stage too has epochs and rates.

    Raises:
        UsageError: for epochs or rates that nothing would read.
    """
    unread = [key for key in (*STAGE_FIELDS, "auxiliary") if key in section]
    if unread and objective not in stages:
        raise UsageError(
            f"{where}: {objective}.{unread[0]} is given, but {objective!r} only joins another stage (auxiliary), which "
            "has its own epochs and rates; leave it out"
        )
    return {key: value for key, value in section.items() if key not in (*STAGE_FIELDS, "auxiliary")}
