"""The runs of a study, each with its complete recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from cropzoo.config.catalog import Catalog
from cropzoo.config.merge import resolve_recipe
from cropzoo.config.recipe import Recipe, Stage
from cropzoo.config.short_forms import DEFAULT_OBJECTIVE, expand_short_forms, iterate_sections
from cropzoo.errors import UnknownName, UsageError
from cropzoo.evaluation.compare.config import Budget, Study, objectives_of
from cropzoo.plugins.options import known_options
from cropzoo.plugins.registry import Zoo, load_target


@dataclass(frozen=True)
class GridCell:
    """A cell of the grid: the runs that differ only in seed and fold. `variant` is empty for the plain recipe."""

    backbone: str
    pretrain: str
    label_fraction: float
    variant: str

    @property
    def name(self) -> str:
        """Name for files. Defaults are left out, so that runs keep their names when a study gets another axis."""
        labels = "" if self.label_fraction == 1 else f"labels{self.label_fraction:g}"
        parts = (self.backbone.replace("/", "-"), self.pretrain, labels, self.variant)
        return "-".join(part for part in parts if part)

    @property
    def label(self) -> str:
        """Name of the cell among those of its backbone and label fraction."""
        return f"{self.pretrain}, {self.variant}" if self.variant else self.pretrain


@dataclass(frozen=True)
class PlannedRun:
    """One training of a study: a cell with a seed and, if the study has folds, a fold."""

    cell: GridCell
    seed: int
    fold: int | None
    recipe: Recipe

    @property
    def name(self) -> str:
        """Name for files."""
        fold = "" if self.fold is None else f"-fold{self.fold}"
        return f"{self.cell.name}{fold}-seed{self.seed}"


SHARE = 0.25
"""Share of the budget of a pre-training stage if neither the study nor the catalog sets its epochs."""


def make_recipe(cell: GridCell, study: Study, zoo: Zoo, catalog: Catalog, seed: int, fold: int | None) -> Recipe:
    """The recipe of a run: axes over variant over study over catalog.

    Settings of objectives that the run does not use are left out.

    Raises:
        UsageError: If a setting is unknown or not allowed, or if pre-training exhausts the budget.
    """
    shared, variant = study.recipe, study.variants.get(cell.variant, {})
    used = {*objectives_of(cell.pretrain), variant.get("objective", shared.get("objective", DEFAULT_OBJECTIVE))}
    common, axes = _common(study), _axes(cell, seed, fold)

    def resolved() -> Recipe:
        def kept(settings: Mapping[str, Any]) -> dict[str, Any]:
            objectives = settings.get("objectives", {}).items()
            own = {name: section for name, section in objectives if name in used or name not in zoo.objectives}
            return {**settings, "objectives": own}

        layers = [("recipe", kept(shared)), ("the study", common), (f"variant {cell.variant!r}", kept(variant))]
        return resolve_recipe(zoo, catalog, *layers, ("the axes of the study", axes))[0]

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
    """Settings of the study outside its `recipe`."""
    given = {"dataset": study.dataset, "epochs": study.epochs, "pretrain_epochs": study.pretrain_epochs}
    return {key: value for key, value in given.items() if value is not None}


def _axes(cell: GridCell, seed: int, fold: int | None) -> dict[str, Any]:
    return {
        **({} if fold is None else {"dataset": {"fold": fold}}),
        "backbone": {"name": cell.backbone},
        "pretrain": list(objectives_of(cell.pretrain)),
        "label_fraction": cell.label_fraction,
        "seed": seed,
    }


def _within(budget: Budget, recipe: Recipe) -> Recipe:
    """The recipe under the budget: for "total", the last stage gets the epochs that pre-training leaves."""
    *given, last = recipe.stages
    if budget == "finetune" or not given:
        return recipe
    unit = "epochs" if last.steps is None else "steps"
    total = getattr(last, unit)
    share = {unit: max(1, round(SHARE * total))}
    before = [stage if _has_budget(stage) else stage.model_copy(update=share) for stage in given]
    if any((stage.steps is None) != (last.steps is None) for stage in before):
        raise UsageError(
            f"the budget is {total} {unit} in total; a stage of pre-training has another unit; give all budgets in "
            "epochs or all in steps, or use --budget finetune"
        )
    spent = sum(getattr(stage, unit) for stage in before)
    if spent >= total:
        raise UsageError(
            f"the budget is {total} {unit} in total; pre-training takes {spent} and leaves none for "
            f"{last.objective}; use more --epochs, fewer --pretrain-epochs, or --budget finetune"
        )
    return recipe.model_copy(update={"stages": (*before, last.model_copy(update={unit: total - spent}))})


def _has_budget(stage: Stage) -> bool:
    return bool({"epochs", "steps"} & stage.model_fields_set)


def check_objectives(study: Study, zoo: Zoo) -> None:
    """Check that the objectives exist and that settings are given only for those that a run uses.

    Raises:
        UsageError: If an objective is unknown, or has settings but no run.
    """
    used = {name for pretrain in study.pretrain for name in objectives_of(pretrain)}
    for name in sorted(used):
        zoo.objectives[name]
    used |= {DEFAULT_OBJECTIVE, *_others(study)}
    for where, settings in (("recipe", study.recipe), *((f"variant {n!r}", v) for n, v in study.variants.items())):
        for name in settings.get("objectives", {}).keys() & set(zoo.objectives) - used:
            raise UsageError(f"{where}: settings for {name!r}, which no run uses; add it to pretrain")


def check_scorings(study: Study, trained: Iterable[str], zoo: Zoo) -> None:
    """Check the datasets and options of additional scorings.

    Args:
        study: Study with the scorings.
        trained: Names of the datasets of its runs.
        zoo: Zoo with the datasets.

    Raises:
        UsageError: If a dataset or an option is unknown, or if a fold other than that of the training is given.
    """
    for (name, scoring), own in product(study.all_scorings.items(), dict.fromkeys(trained)):
        options = dict(expand_short_forms(scoring.changes(study.split), f"scoring {name!r}").get("dataset", {}))
        chosen = options.pop("name", own)
        known = known_options(load_target(zoo.datasets[chosen].spec.build, f"dataset {chosen!r}"))
        for option in options.keys() - known.keys() - {"min_clear"}:
            raise UnknownName(f"option of dataset {chosen!r} in scoring {name!r}:", option, known)
        if study.folds and chosen == own and "fold" in options:
            raise UsageError(f"scoring {name!r} sets a fold; each run is scored on its own fold; remove it")


def _others(study: Study) -> Iterator[str]:
    """The objectives that recipe and variants set as the last stage or as an auxiliary."""
    for settings in (study.recipe, *study.variants.values()):
        if "objective" in settings:
            yield settings["objective"]
        for section in iterate_sections(settings):
            yield from (each["objective"] for each in section.get("auxiliary", ()))


def check_folds(study: Study, zoo: Zoo) -> None:
    """Check that the dataset has folds if the study has.

    Raises:
        UsageError: If it has none.
    """
    chosen = study.dataset or study.recipe.get("dataset", {})
    name = chosen if isinstance(chosen, str) else chosen.get("name", "synthetic")
    if not study.folds or name not in zoo.datasets:  # recipes report an unknown name
        return
    factory = load_target(zoo.datasets[name].spec.build, f"dataset {name!r}")
    if "fold" not in known_options(factory):
        folds = ", ".join(map(str, study.folds))
        raise UsageError(f"folds {folds}; dataset {name!r} has no option fold; leave the folds out")


@dataclass(frozen=True)
class StudyPlan:
    """All runs of a study.

    Args:
        study: The study.
        cells: Cells of the grid.
        runs: All runs, sorted by seed, fold and cell, so that the first finished ones can be compared.
        baselines: Baseline of each cell. A baseline is its own.
    """

    study: Study
    cells: tuple[GridCell, ...]
    runs: tuple[PlannedRun, ...]
    baselines: Mapping[GridCell, GridCell]

    @property
    def dataset(self) -> str:
        """Name of the dataset of all runs."""
        return self.runs[0].recipe.dataset.name

    def reference(self, cell: GridCell) -> GridCell | None:
        """The same cell of the first backbone; None for that backbone, and where it has no such cell."""
        other = replace(cell, backbone=self.study.backbones[0])
        return other if other != cell and other in self.cells else None

    def of(self, cell: GridCell) -> list[PlannedRun]:
        """The runs of a cell."""
        return [run for run in self.runs if run.cell == cell]


def make_plan(study: Study, zoo: Zoo, catalog: Catalog) -> StudyPlan:
    """The plan of a study.

    A variant that does not change a recipe, such as settings of cscl in runs without it, makes no cell.

    Raises:
        UsageError: If a setting of a recipe is unknown or not allowed, the dataset has no folds, no run uses some
            settings, pre-training exhausts the budget, or the baseline is not in the grid.
    """
    check_objectives(study, zoo)
    check_folds(study, zoo)
    folds: tuple[int | None, ...] = study.folds or (None,)
    found: dict[tuple[str, float], list[tuple[str, GridCell]]] = {}
    for backbone, fraction, pretrain, variant in product(
        study.backbones, study.label_fractions, study.pretrain, study.variants or ("",)
    ):
        plain, cell = (GridCell(backbone, pretrain, fraction, name) for name in ("", variant))
        both = (make_recipe(each, study, zoo, catalog, study.seeds[0], folds[0]) for each in (plain, cell))
        kept = cell if len({repr(recipe) for recipe in both}) > 1 else plain
        found.setdefault((backbone, fraction), []).append((variant, kept))
    cells = tuple(dict.fromkeys(cell for several in found.values() for _, cell in several))
    runs = tuple(
        PlannedRun(cell, seed, fold, make_recipe(cell, study, zoo, catalog, seed, fold))
        for seed, fold, cell in product(study.seeds, folds, cells)
    )
    _check_names(runs)
    check_scorings(study, (run.recipe.dataset.name for run in runs), zoo)
    baselines = {cell: _baseline(study, cell, found[cell.backbone, cell.label_fraction]) for cell in cells}
    return StudyPlan(study, cells, runs, baselines)


def _baseline(study: Study, cell: GridCell, found: Sequence[tuple[str, GridCell]]) -> GridCell:
    """The baseline of a cell among the (variant, cell) pairs of its backbone and label fraction.

    It is chosen so that a cell differs from it in one respect, its pre-training or its variant; see `Baseline`.
    """
    wanted, variant = study.baseline.pretrain, study.baseline.variant
    if wanted is None:
        wanted = "none" if "none" in study.pretrain else study.pretrain[0]
    fit = [(name, other) for name, other in found if other.pretrain == wanted and variant in (None, name)]
    own = {name for name, other in found if other == cell and cell.pretrain != wanted}
    if fit:
        return next((other for name, other in fit if name in own), fit[0][1])
    chosen = f"pretrain {wanted!r}" + ("" if variant is None else f" with variant {variant!r}")
    known = f"pretrain {', '.join(study.pretrain)}" + (f" and variants {', '.join(study.variants)}" if variant else "")
    raise UsageError(f"baseline {chosen}; the grid has no such run, but {known}; change baseline")


def _check_names(runs: Sequence[PlannedRun]) -> None:
    seen: dict[str, GridCell] = {}
    for run in runs:
        if seen.setdefault(run.name, run.cell) != run.cell:
            raise UsageError(f"two runs of the study have the name {run.name!r}; rename a variant")
