"""The recipe: all that defines a run, frozen and validated.

Its mapping form is one and the same in recipe.yaml, in `--config` files and in the catalogue:

    backbone: {name: tsvit, dim: 64}
    dataset: {name: synthetic, seed: 3}
    pretrain: [cscl]
    cscl: {epochs: 10, window: 5}
    segmentation: {epochs: 20, lr: 1e-3}
    batch_size: 16
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from cropzoo.errors import UnknownName, UsageError
from cropzoo.schema import Schema

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"]
DateSampling = Literal["uniform", "random", "clearest"]


class Choice(Schema):
    """A plugin's name with the options for its factory."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class Stage(Schema):
    """One objective with its own epochs and rates.

    The rate rises linearly over `warmup_epochs`, then falls on a cosine to `lr_min`, by step.
    """

    objective: str
    options: dict[str, Any] = Field(default_factory=dict)
    epochs: int = Field(20, ge=1)
    lr: float = Field(1e-3, gt=0)
    lr_min: float = Field(5e-6, ge=0)
    warmup_epochs: float = Field(1.0, ge=0)
    weight_decay: float = Field(0.01, ge=0)


STAGE_FIELDS = tuple(name for name in Stage.model_fields if name not in ("objective", "options"))
SHARED_FIELDS = tuple(name for name in STAGE_FIELDS if name != "epochs")
"""What a mapping may give once for all stages; `epochs` is that of the last, `pretrain_epochs` of those before it."""


class Recipe(Schema):
    """What a run is made of.

    Args:
        stages: pre-training objectives in order, then the one whose head is the result.
        weights: a checkpoint file or catalogue entry that the backbone starts from.
        adapt_bands: take weights that were trained on other bands, as far as they fit.
        image_size: side of the crops in training and of the tiles in evaluation, px.
        length: dates that a fixed-length backbone takes; None for any number.
        max_dates: at most so many dates of a sample are used; None for all.
        date_sampling: which ones, in training; evaluation replaces "random" by "uniform".
        min_clear: share of clear pixels that a date of a crop needs to be used; 0 keeps all.
        batch_size: crops a step, over all processes together.
        turns: flips and quarter turns in training.
        date_drop: share of dates that training leaves out at random.
        clip_norm: gradients are scaled down to this norm; 0 for never.
        patience: stop a stage after so many epochs without a better validation score; 0 for never.
        seed: of initial weights, order, crops and dropping.
        precision: of Lightning's Trainer.
    """

    backbone: Choice
    dataset: Choice
    stages: tuple[Stage, ...] = Field(min_length=1)
    weights: str | None = None
    adapt_bands: bool = False
    image_size: int = Field(24, ge=1)
    length: int | None = Field(None, ge=1)
    max_dates: int | None = Field(None, ge=1)
    date_sampling: DateSampling = "uniform"
    min_clear: float = Field(0.0, ge=0, le=1)
    batch_size: int = Field(16, ge=1)
    turns: bool = True
    date_drop: float = Field(0.0, ge=0, lt=1)
    clip_norm: float = Field(1.0, ge=0)
    patience: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)
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
        plain = self.model_dump(exclude={"backbone", "dataset", "stages", "min_clear"})
        sections = {
            stage.objective: stage.model_dump(exclude={"objective", "options"}) | stage.options for stage in self.stages
        }
        return {
            "backbone": {"name": self.backbone.name, **self.backbone.options},
            "dataset": {"name": self.dataset.name, "min_clear": self.min_clear, **self.dataset.options},
            "pretrain": list(self.pretrain),
            "objective": self.stages[-1].objective,
            **sections,
            **plain,
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str, objectives: Iterable[str]) -> Recipe:
        """The recipe of a merged mapping.

        Args:
            where: what the mapping is, for messages.
            objectives: every known one; a section may stand for each.

        Raises:
            UsageError: for a key that is unknown or a value that is not allowed.
        """
        rest = dict(values)
        names = [*rest.pop("pretrain", ()), rest.pop("objective", "segmentation")]
        shared = {name: rest.pop(name) for name in SHARED_FIELDS if name in rest}
        sections = {name: rest.pop(name) for name in objectives if name in rest}
        for name in names:
            epochs = rest.get("epochs" if name == names[-1] else "pretrain_epochs")
            sections[name] = {**({} if epochs is None else {"epochs": epochs}), **sections.get(name, {})}
        rest.pop("epochs", None)
        rest.pop("pretrain_epochs", None)
        dataset = dict(rest.pop("dataset", {}))
        if "min_clear" in dataset:
            rest["min_clear"] = dataset.pop("min_clear")
        if len(set(names)) < len(names):
            raise UsageError(f"{where}: stages are {', '.join(names)}; an objective can be a stage only once")
        stages = [_stage(name, shared | sections[name], where) for name in names]
        rest |= {"backbone": _choice(rest.get("backbone", {})), "dataset": _choice(dataset), "stages": stages}
        for key in rest:
            if key not in cls.model_fields:
                known = {*cls.model_fields, *objectives, *STAGE_FIELDS, "pretrain", "pretrain_epochs", "objective"} - {
                    "stages"
                }
                raise UnknownName(f"setting in {where}:", key, known)
        return cls.parse(rest, where)


def _choice(section: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(section)
    named = {"name": options.pop("name")} if "name" in options else {}
    return {**named, "options": options}


def _stage(objective: str, section: Mapping[str, Any], where: str) -> Stage:
    fields = {key: section[key] for key in STAGE_FIELDS if key in section}
    options = {key: value for key, value in section.items() if key not in STAGE_FIELDS}
    return Stage.parse({"objective": objective, "options": options, **fields}, f"{where}: stage {objective!r}")
