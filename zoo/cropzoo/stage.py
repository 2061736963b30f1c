"""A stage of a recipe: one objective, what it is joined by, and its own epochs and rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from cropzoo.errors import UsageError
from cropzoo.schema import Real, Schema, Whole


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
