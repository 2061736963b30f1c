"""The whole recipe of every run of a study, within its budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from cropzoo.building import known_options, load_target
from cropzoo.catalogue import Catalogue
from cropzoo.errors import UnknownName, UsageError
from cropzoo.recipe import Recipe, normalise
from cropzoo.settings import resolve
from cropzoo.stage import auxiliary_names
from cropzoo.study.cells import Cell
from cropzoo.study.design import Budget, Study, objectives_of
from cropzoo.zoo import Zoo

SHARE = 0.25
"""Of the budget that a stage of pre-training has where neither the study nor the catalogue says so."""

LAST = "segmentation"
"""The objective of a last stage that is not given."""


def make_recipe(cell: Cell, study: Study, zoo: Zoo, catalogue: Catalogue, seed: int, fold: int | None) -> Recipe:
    """The recipe of a run: the axes over the variant over what the study says over the catalogue.

    What recipe and variant say of objectives that this run does not have is left out.

    Raises:
        UsageError: for anything in it that is unknown or not allowed; pre-training that leaves nothing of the budget.
    """
    shared, variant = study.recipe, study.variants.get(cell.variant, {})
    used = {*objectives_of(cell.pretrain), variant.get("objective", shared.get("objective", LAST))}
    common, axes = _common(study), _axes(cell, seed, fold)

    def resolved() -> Recipe:
        def kept(settings: Mapping[str, Any]) -> dict[str, Any]:
            return {key: value for key, value in settings.items() if key in used or key not in zoo.objectives}

        layers = [("recipe", kept(shared)), ("the study", common), (f"variant {cell.variant!r}", kept(variant))]
        return resolve(zoo, catalogue, *layers, ("the axes of the study", axes))[0]

    try:
        recipe = resolved()
        joined = {each.objective for stage in recipe.stages for each in stage.auxiliary}
        if joined - used:
            used |= joined
            recipe = resolved()
        return _within(study.budget, recipe)
    except UsageError as error:
        raise UsageError(f"run {cell.name}: {error}") from None


def _common(study: Study) -> dict[str, Any]:
    """What the study gives beside its recipe."""
    given = {"dataset": study.dataset, "epochs": study.epochs, "pretrain_epochs": study.pretrain_epochs}
    return {key: value for key, value in given.items() if value is not None}


def _axes(cell: Cell, seed: int, fold: int | None) -> dict[str, Any]:
    return {
        **({} if fold is None else {"dataset": {"fold": fold}}),
        "backbone": {"name": cell.backbone},
        "pretrain": list(objectives_of(cell.pretrain)),
        "label_fraction": cell.label_fraction,
        "seed": seed,
    }


def _within(budget: Budget, recipe: Recipe) -> Recipe:
    """The recipe whose last stage has the epochs that pre-training leaves, under the budget "total"."""
    *given, last = recipe.stages
    if budget == "finetune" or not given:
        return recipe
    share = {"epochs": max(1, round(SHARE * last.epochs))}
    before = [stage if "epochs" in stage.model_fields_set else stage.model_copy(update=share) for stage in given]
    spent = sum(stage.epochs for stage in before)
    if spent >= last.epochs:
        raise UsageError(
            f"the budget is {last.epochs} epochs in all; pre-training takes {spent} and leaves none for "
            f"{last.objective}; give more --epochs, fewer --pretrain-epochs, or --budget finetune"
        )
    return recipe.model_copy(update={"stages": (*before, last.model_copy(update={"epochs": last.epochs - spent}))})


def check_objectives(study: Study, zoo: Zoo) -> None:
    """Look the objectives up, and refuse settings of one that no run of the study uses.

    Raises:
        UsageError: for either.
    """
    used = {name for pretrain in study.pretrain for name in objectives_of(pretrain)}
    for name in sorted(used):
        zoo.objectives[name]
    used |= {LAST, *_others(study)}
    for where, settings in (("recipe", study.recipe), *((f"variant {n!r}", v) for n, v in study.variants.items())):
        for name in settings.keys() & set(zoo.objectives) - used:
            raise UsageError(f"{where}: settings are given for {name!r}, which no run uses; add it to pretrain")


def check_scorings(study: Study, trained: Iterable[str], zoo: Zoo) -> None:
    """Look up the data that runs are scored on, and what is said of them.

    Args:
        study: of the scorings.
        trained: names of the data of its runs.
        zoo: where datasets are looked up.

    Raises:
        UsageError: for an unknown dataset, an option that it does not take, or another fold than that of the training.
    """
    for (name, scoring), own in product(study.all_scorings.items(), dict.fromkeys(trained)):
        options = dict(normalise(scoring.changes(study.split), f"scoring {name!r}").get("dataset", {}))
        chosen = options.pop("name", own)
        known = known_options(load_target(zoo.datasets[chosen].spec.build, f"dataset {chosen!r}"))
        for option in options.keys() - known.keys() - {"min_clear"}:
            raise UnknownName(f"option of dataset {chosen!r} in scoring {name!r}:", option, known)
        if study.folds and chosen == own and "fold" in options:
            raise UsageError(f"scoring {name!r} names a fold, which is that of each run; leave it out")


def _others(study: Study) -> Iterator[str]:
    """The objectives that recipe and variants name as the last one, or let join a stage."""
    for settings in (study.recipe, *study.variants.values()):
        if "objective" in settings:
            yield settings["objective"]
        for section in settings.values():
            yield from auxiliary_names(section, "the study")


def check_folds(study: Study, zoo: Zoo) -> None:
    """Refuse folds of a dataset that has none.

    Raises:
        UsageError: for these.
    """
    chosen = study.dataset or study.recipe.get("dataset", {})
    name = chosen if isinstance(chosen, str) else chosen.get("name", "synthetic")
    if not study.folds or name not in zoo.datasets:  # an unknown name is told when recipes are made
        return
    factory = load_target(zoo.datasets[name].spec.build, f"dataset {name!r}")
    if "fold" not in known_options(factory):
        told = ", ".join(map(str, study.folds))
        raise UsageError(f"folds {told} are given; dataset {name!r} has no option fold; leave the folds out")
