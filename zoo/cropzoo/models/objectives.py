"""Objectives by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.base import Backbone, Model, Objective
from cropzoo.models.fitted import FittedObjective
from cropzoo.plugins.registry import Zoo, load_zoo


def create_objective(
    name: str, backbone: Backbone, classes: int, *, zoo: Zoo | None = None, **options: Any
) -> Objective:
    """Create an objective, a module that computes the losses of a batch.

    Args:
        name: name of an objective.
        backbone: backbone to train, such as `create_model(...).backbone`; it becomes a submodule.
        classes: number of classes; 0 for data without labels.
        zoo: plugins, by which the name is looked up; the installed ones if None.
        options: options of the objective.

    Returns:
        The objective in training mode: `objective(batch)` returns `Losses`, and `objective.head` is its head or None.

    Raises:
        UnknownName: the name or an option does not exist.
        UsageError: an option or an argument is not allowed.
        CropzooError: the factory returned something that is not an objective.
    """
    if not isinstance(backbone, Backbone):
        hint = "; pass its backbone: model.backbone" if isinstance(backbone, Model) else ""
        raise UsageError(
            f"create_objective({name!r}) with a backbone of type {type(backbone).__name__}; it takes a cropzoo.Backbone"
            + (hint or "; create one with cropzoo.create_model(...).backbone")
        )
    if type(classes) is not int or classes < 0:
        raise UsageError(f"create_objective({name!r}) with classes={classes!r}; give an integer of at least 0")
    return build_objective(zoo or load_zoo(), name, backbone, classes, options)


def build_objective(zoo: Zoo, name: str, backbone: Backbone, classes: int, options: Mapping[str, Any]) -> Objective:
    """Create an objective; arguments and errors as in `create_objective`."""
    entry = zoo.objectives[name]
    objective = entry.build(backbone, classes, **options)
    if not isinstance(objective, Objective):
        raise CropzooError(
            f"objective {name!r} of plugin {entry.owner.name!r}: its factory returned "
            f"{type(objective).__name__}; it must return a cropzoo.Objective"
        )
    if isinstance(objective, FittedObjective) != entry.spec.fitted:
        raise CropzooError(
            f"objective {name!r} of plugin {entry.owner.name!r}: its spec says fitted={entry.spec.fitted}, and its "
            f"factory returned {type(objective).__name__}; a fitted objective is a FittedObjective, and no other is"
        )
    return objective
