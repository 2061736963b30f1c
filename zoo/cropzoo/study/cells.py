"""What differs between the runs of a study, and how they are named."""

from __future__ import annotations

from dataclasses import dataclass

from cropzoo.recipe import Recipe


@dataclass(frozen=True)
class Cell:
    """What differs between runs beside seed and fold; `variant` is empty for the recipe as it is."""

    backbone: str
    pretrain: str
    label_fraction: float
    variant: str

    @property
    def name(self) -> str:
        """A name for files, without what is as usual: a study that gets another axis keeps the runs that it has."""
        labels = "" if self.label_fraction == 1 else f"labels{self.label_fraction:g}"
        parts = (self.backbone.replace("/", "-"), self.pretrain, labels, self.variant)
        return "-".join(part for part in parts if part)

    @property
    def words(self) -> str:
        """What tells it from the other cells of its backbone and label fraction."""
        return f"{self.pretrain}, {self.variant}" if self.variant else self.pretrain


@dataclass(frozen=True)
class PlannedRun:
    """One training: a cell with a seed, and a fold if there are folds."""

    cell: Cell
    seed: int
    fold: int | None
    recipe: Recipe

    @property
    def name(self) -> str:
        """A name for files."""
        fold = "" if self.fold is None else f"-fold{self.fold}"
        return f"{self.cell.name}{fold}-seed{self.seed}"
