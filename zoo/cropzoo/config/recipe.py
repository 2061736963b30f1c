"""The recipe: everything that defines a run, frozen and validated. `short_forms` describes its mapping form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from cropzoo.config.schema import Flag, Options, Real, Schema, Whole
from cropzoo.config.short_forms import SHORT_KEYS, STAGE_FIELDS, VERSION, Settings, expand_short_forms, list_stages
from cropzoo.errors import UnknownName, UsageError

SCALES = (1, 2, 4)
"""Scale factors between the images' resolution and that of the features."""


class Auxiliary(Schema):
    """An objective whose loss, times `weight`, is added to the loss of a stage."""

    objective: str
    weight: Real = Field(gt=0)
    options: Options = Field(default_factory=dict)


class Stage(Schema):
    """One objective with its own budget and learning rate.

    The budget is a number of epochs, or of steps (optimizer updates), which replaces that of epochs: training ends with
    the epoch that reaches it, within the first one if that is longer. The learning rate rises linearly over
    `warmup_epochs`, then falls on a cosine to `lr_min`; it changes every step. A fitted stage has neither, and `epochs`
    of 0: its objective is fitted once to frozen features.
    """

    objective: str
    options: Options = Field(default_factory=dict)
    auxiliary: tuple[Auxiliary, ...] = ()
    epochs: Whole = Field(20, ge=1)
    steps: Whole | None = Field(None, ge=1)
    lr: Real = Field(1e-3, gt=0)
    lr_min: Real = Field(5e-6, ge=0)
    warmup_epochs: Real = Field(1.0, ge=0)
    weight_decay: Real = Field(0.01, ge=0)

    @property
    def fitted(self) -> bool:
        """Whether the objective is fitted instead of trained."""
        return self.epochs == 0

    def fit_epochs(self, steps: int) -> Stage:
        """The stage with the number of epochs of `steps` steps that its budget gives."""
        return self if self.steps is None else self.model_copy(update={"epochs": -(-self.steps // steps)})

    def count_steps(self, steps: int) -> int:
        """Number of steps in all epochs, each of `steps` steps or, if the only one, of the budget."""
        return self.epochs * (min(steps, self.steps or steps) if self.epochs == 1 else steps)

    def to_mapping(self) -> Settings:
        """The mapping form, with every default written out."""
        if self.fitted:
            return {"objective": self.objective, **({"options": dict(self.options)} if self.options else {})}
        fields = [field for field in STAGE_FIELDS if field != "steps" or self.steps is not None]
        values = {"objective": self.objective, **{field: getattr(self, field) for field in fields}}
        if self.auxiliary:
            values["auxiliary"] = [each.model_dump(mode="json", exclude_defaults=True) for each in self.auxiliary]
        return {**values, **({"options": dict(self.options)} if self.options else {})}


Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
DateSampling = Literal["uniform", "random", "clearest"]
Baseline = Literal["knn", "forest", "none"]


class PluginChoice(Schema):
    """The name of a plugin's entry with the options for its factory."""

    name: str
    options: Options = Field(default_factory=dict)


class HeadChoice(Schema):
    """The part between the backbone's features and the objective.

    Args:
        upsample: scale factor between the images' resolution and that of features and logits, for finer labels.
    """

    upsample: Literal[1, 2, 4] = 1


class Recipe(Schema):
    """Everything that defines a run.

    Args:
        backbone: network and its options.
        dataset: dataset and its options.
        stages: pre-training stages in order, then the stage whose head is the result.
        head: resolution of features and logits.
        weights: checkpoint file, run folder or catalog entry that initializes the backbone.
        adapt_bands: accept weights that were trained on other bands, and load what fits.
        freeze: keep the backbone's weights in the last stage.
        lr_scale: learning-rate multipliers of modules in the last stage, such as {backbone: 0.1}.
        label_fraction: share of the training parcels of each class whose labels are used.
        label_parcels: maximum number of training parcels of each class whose labels are used; None for all.
        label_pixels: maximum number of labeled training pixels of each class; None for all.
        train_years, test_years: years of the training and validation samples, and of the test samples; all if empty.
        train_sites, test_sites: sites of these samples, by name or pattern such as "T31*"; all if empty.
        image_size: side of the training crops and of the evaluation tiles, px.
        length: number of dates that the backbone is built for, to which series are padded and sampled; None for any.
        max_dates: largest number of dates of a sample that are used; None for all.
        date_sampling: selection of these dates in training; evaluation replaces "random" by "uniform".
        min_clear: share of clear pixels that a date of a crop needs to be used; 0 keeps all dates.
        batch_size: crops per step, over all processes together.
        crops_per_tile: random crops in an epoch for each tile of the training samples; a small dataset needs several,
            so that an epoch is more than a few steps.
        val_fraction: share of the tiles of the validation split that are scored after each epoch, drawn once; the
            final scores are those of all tiles.
        weight_average: decay per step of an exponential moving average of the weights, such as 0.99, which is validated
            and kept instead of the weights; 0 disables it.
        flip_rotate: random flips and quarter turns in training.
        temporal_dropout: share of dates that are dropped at random in training.
        end_early: share of training crops whose series end at a random date, for maps early in a season.
        gradient_clip_norm: norm to which gradients are clipped; 0 disables clipping.
        patience: epochs without a better validation score after which a stage stops; 0 disables early stopping.
        seed: random seed of initial weights, sampling order, crops and augmentation.
        precision: number format, as in Lightning's Trainer.
        baseline: classifier that is scored on the test split next to the model; "none" for none.
    """

    backbone: PluginChoice
    dataset: PluginChoice
    stages: tuple[Stage, ...] = Field(min_length=1)
    head: HeadChoice = Field(default_factory=lambda: HeadChoice())
    weights: str | None = None
    adapt_bands: Flag = False
    freeze: Flag = False
    lr_scale: dict[str, Real] = Field(default_factory=dict)
    label_fraction: Real = Field(1.0, gt=0, le=1)
    label_parcels: Whole | None = Field(None, ge=1)
    label_pixels: Whole | None = Field(None, ge=1)
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
    crops_per_tile: Whole = Field(1, ge=1)
    val_fraction: Real = Field(1.0, gt=0, le=1)
    weight_average: Real = Field(0.0, ge=0, lt=1)
    flip_rotate: Flag = True
    temporal_dropout: Real = Field(0.0, ge=0, lt=1)
    end_early: Real = Field(0.0, ge=0, le=1)
    gradient_clip_norm: Real = Field(1.0, ge=0)
    patience: Whole = Field(0, ge=0)
    seed: Whole = Field(0, ge=0)
    precision: Precision = "32-true"
    baseline: Baseline = "knn"

    @field_validator("precision", mode="before")
    @classmethod
    def _short_precision(cls, value: Any) -> Any:
        short = {"32": "32-true", "fp32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed", "fp16": "16-mixed"}
        return short.get(str(value), value)

    @property
    def pretrain(self) -> tuple[str, ...]:
        """Names of the objectives before the last."""
        return tuple(stage.objective for stage in self.stages[:-1])

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the objectives of all stages, then of their auxiliary objectives."""
        auxiliary = [each.objective for stage in self.stages for each in stage.auxiliary]
        return (*(stage.objective for stage in self.stages), *auxiliary)

    def to_mapping(self) -> Settings:
        """The mapping form, with every default written out."""
        plain = self.model_dump(mode="json", exclude={"backbone", "dataset", "stages", "min_clear"})
        return {
            "version": VERSION,
            "backbone": {"name": self.backbone.name, **self.backbone.options},
            "dataset": {"name": self.dataset.name, "min_clear": self.min_clear, **self.dataset.options},
            "stages": [stage.to_mapping() for stage in self.stages],
            **plain,
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Recipe:
        """The recipe of a mapping.

        Args:
            values: settings of the present version; `upgrade_recipe` reads those of earlier ones.
            where: the source of the mapping, for messages.

        Raises:
            UsageError: a key is unknown, or a value is not allowed.
        """
        settings = expand_short_forms(values, where)
        check_objectives(settings.get("objectives", {}), list_stages(settings, where), where)
        return build_recipe(settings, where)


RECIPE_KEYS = (*Recipe.model_fields, *SHORT_KEYS)
"""Keys of settings."""


def flat_settings(recipe: Recipe) -> Settings:
    """Every setting of a recipe by its path, such as "cscl.window"; "stages.0.lr" if an objective has two stages."""
    flat: Settings = {}
    for key, value in recipe.to_mapping().items():
        if key == "stages":
            names = [stage["objective"] for stage in value]
            flat[key] = names
            for number, stage in enumerate(value):
                path = stage["objective"] if names.count(stage["objective"]) == 1 else f"stages.{number}"
                own = {name: item for name, item in stage.items() if name not in ("objective", "options")}
                flat |= {f"{path}.{name}": item for name, item in (own | stage.get("options", {})).items()}
        else:
            flat |= {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def check_keys(settings: Mapping[str, Any], where: str, objectives: Iterable[str] = ()) -> None:
    """Check the keys of settings.

    Args:
        settings: the settings.
        where: their source, for messages.
        objectives: names of objectives, which are suggested too.

    Raises:
        UsageError: a key is the name of an objective.
        UnknownName: a key is unknown; the message names the close ones.
    """
    for key in settings.keys() - set(RECIPE_KEYS):
        if key in objectives:
            raise UsageError(f"{where}: {key!r} is an objective, not a setting; write {key}.KEY, or use objectives")
        raise UnknownName(f"setting in {where}:", key, {*RECIPE_KEYS, *objectives})


def check_objectives(objectives: Mapping[str, Settings], stages: Sequence[Settings], where: str) -> None:
    """Check that the settings of each objective apply to one stage, or to auxiliary objectives.

    Args:
        objectives: settings by objective.
        stages: from `list_stages`.
        where: the source of the settings, for messages.

    Raises:
        UsageError: no stage or several stages have the objective, or a setting would have no effect.
    """
    joined = {each["objective"] for stage in stages for each in stage["auxiliary"]}
    for name, section in objectives.items():
        numbers = [number for number, stage in enumerate(stages) if stage["objective"] == name]
        if len(numbers) > 1:
            places = " and ".join(f"stages.{number}" for number in numbers)
            key = next(iter(section), "lr")
            raise UsageError(
                f"{where}: settings are given for {name!r}, which is the objective of {places}; address one of them, "
                f"such as --set stages.{numbers[0]}.{key}=VALUE"
            )
        if not numbers and name not in joined:
            raise UsageError(
                f"{where}: settings are given for {name!r}, which is no stage of this run; add --pretrain {name}"
            )
        unread = [] if numbers else [key for key in (*STAGE_FIELDS, "auxiliary") if key in section]
        if unread:
            raise UsageError(
                f"{where}: {name}.{unread[0]} is given, but {name!r} is only an auxiliary objective, without epochs "
                "and rates of its own; remove it"
            )


def build_recipe(settings: Mapping[str, Any], where: str, fitted: Collection[str] = ()) -> Recipe:
    """The recipe of expanded settings.

    Args:
        settings: the settings.
        where: their source, for messages.
        fitted: names of the objectives that are fitted to frozen features; epochs and rates do not apply to them.

    Raises:
        UsageError: a key is unknown, a value is not allowed, or a fitted objective is not the last stage.
    """
    check_keys(settings, where)
    values = {key: value for key, value in settings.items() if key not in SHORT_KEYS}
    stages = list_stages(settings, where)
    _check_places(stages, fitted, where)
    values["stages"] = [_make_stage(stage, where, stage["objective"] in fitted) for stage in stages]
    if any(stage.fitted for stage in values["stages"]):  # the last one
        values |= {"freeze": True, "lr_scale": {}}
    dataset = dict(values.get("dataset", {}))
    if "min_clear" in dataset:
        values["min_clear"] = dataset.pop("min_clear")
    values |= {"backbone": _choice(values.get("backbone", {})), "dataset": _choice(dataset)}
    return Recipe.parse(values, where)


def _check_places(stages: Sequence[Settings], fitted: Collection[str], where: str) -> None:
    """Check that objectives that are fitted to frozen features train no backbone.

    Raises:
        UsageError: one of them is auxiliary, has auxiliary objectives, or is not the last stage.
    """
    for number, stage in enumerate(stages):
        name, auxiliary = stage["objective"], [each["objective"] for each in stage["auxiliary"]]
        found = next((each for each in auxiliary if each in fitted), name if name in fitted else None)
        problem = (
            f"it is an auxiliary objective of {name!r}"
            if found in auxiliary
            else f"it has the auxiliary objective {auxiliary[0]!r}"
            if auxiliary
            else f"it is stage {number + 1} of {len(stages)}"
            if number < len(stages) - 1
            else ""
        )
        if found and problem:
            raise UsageError(
                f"{where}: {found!r} is fitted to frozen features and gives no gradient, but {problem}; use it "
                f"alone as the last stage: --objective {found}"
            )


def _make_stage(stage: Settings, where: str, fitted: bool) -> Stage:
    where = f"{where}: stage {stage['objective']!r}"
    if stage["objective"] in [each["objective"] for each in stage["auxiliary"]]:
        raise UsageError(f"{where}: auxiliary names the objective of the stage itself; name another objective")
    if fitted:
        own = {"objective": stage["objective"], "options": stage["options"]}
        return Stage.parse(own, where).model_copy(update={"epochs": 0})
    return Stage.parse(stage, where)


def _choice(section: Mapping[str, Any]) -> Settings:
    options = dict(section)
    named = {"name": options.pop("name")} if "name" in options else {}
    return {**named, "options": options}
