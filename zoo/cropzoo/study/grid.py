"""The runs that a study means, each with its whole recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from cropzoo.catalogue import Catalogue
from cropzoo.errors import UsageError
from cropzoo.study.cells import Cell, PlannedRun
from cropzoo.study.design import Study
from cropzoo.study.recipes import check_folds, check_objectives, check_scorings, make_recipe
from cropzoo.zoo import Zoo


@dataclass(frozen=True)
class Plan:
    """All runs of a study.

    Args:
        runs: every cell of the first seed and fold first, so that what is there early can be compared.
        baselines: for each cell the one that it is compared with; a baseline's is itself.
    """

    study: Study
    cells: tuple[Cell, ...]
    runs: tuple[PlannedRun, ...]
    baselines: Mapping[Cell, Cell]

    @property
    def dataset(self) -> str:
        """The name of the data of all runs."""
        return self.runs[0].recipe.dataset.name

    def of(self, cell: Cell) -> list[PlannedRun]:
        """The runs of a cell."""
        return [run for run in self.runs if run.cell == cell]


def make_plan(study: Study, zoo: Zoo, catalogue: Catalogue) -> Plan:
    """The plan of a study.

    A variant that changes nothing for some runs, such as settings of cscl for those without it, is no cell of its own
    there.

    Raises:
        UsageError: for anything in any recipe that is unknown or not allowed; folds of a dataset without; settings that
            no run uses; pre-training that leaves nothing of the budget; a baseline that is not in the grid.
    """
    check_objectives(study, zoo)
    check_folds(study, zoo)
    folds: tuple[int | None, ...] = study.folds or (None,)
    found: dict[tuple[str, float], list[tuple[str, Cell]]] = {}
    for backbone, fraction, pretrain, variant in product(
        study.backbones, study.label_fractions, study.pretrain, study.variants or ("",)
    ):
        plain, cell = (Cell(backbone, pretrain, fraction, name) for name in ("", variant))
        both = (make_recipe(each, study, zoo, catalogue, study.seeds[0], folds[0]) for each in (plain, cell))
        kept = cell if len({repr(recipe) for recipe in both}) > 1 else plain
        found.setdefault((backbone, fraction), []).append((variant, kept))
    cells = tuple(dict.fromkeys(cell for several in found.values() for _, cell in several))
    runs = tuple(
        PlannedRun(cell, seed, fold, make_recipe(cell, study, zoo, catalogue, seed, fold))
        for seed, fold, cell in product(study.seeds, folds, cells)
    )
    _check_names(runs)
    check_scorings(study, (run.recipe.dataset.name for run in runs), zoo)
    baselines = {cell: _baseline(study, cell, found[cell.backbone, cell.label_fraction]) for cell in cells}
    return Plan(study, cells, runs, baselines)


def _baseline(study: Study, cell: Cell, found: Sequence[tuple[str, Cell]]) -> Cell:
    """What a cell is compared with, among the (variant, cell) of its backbone and label fraction.

    As `Baseline` says; so a difference has one cause, be it the pre-training or the variant.
    """
    wanted, variant = study.baseline.pretrain, study.baseline.variant
    if wanted is None:
        wanted = "none" if "none" in study.pretrain else study.pretrain[0]
    fit = [(name, other) for name, other in found if other.pretrain == wanted and variant in (None, name)]
    own = {name for name, other in found if other == cell and cell.pretrain != wanted}
    if fit:
        return next((other for name, other in fit if name in own), fit[0][1])
    asked = f"pretrain {wanted!r}" + ("" if variant is None else f" with variant {variant!r}")
    known = f"pretrain {', '.join(study.pretrain)}" + (f" and variants {', '.join(study.variants)}" if variant else "")
    raise UsageError(f"the baseline is {asked}; the grid has no such run, but {known}; mend baseline")


def _check_names(runs: Sequence[PlannedRun]) -> None:
    seen: dict[str, Cell] = {}
    for run in runs:
        if seen.setdefault(run.name, run.cell) != run.cell:
            raise UsageError(f"two runs of the study have the name {run.name!r}; rename a variant")
