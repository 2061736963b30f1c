"""The folder of a study: a run folder for each run, its recipe, its log, and what was made of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from cropzoo.config.merge import read_recipe
from cropzoo.config.recipe import Recipe, flat_settings
from cropzoo.config.run_dir import RunFolder
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.compare.config import Scoring, Study
from cropzoo.evaluation.compare.grid import PlannedRun
from cropzoo.io import read_json, sha256_of, write_json, write_text
from cropzoo.plugins.registry import Zoo

State = Literal["finished", "unfinished", "new"]

_TOLD = 3
"""Runs that a message names; the others differ in the same way."""


@dataclass(frozen=True)
class StudyFolder:
    """Where everything of a study is."""

    path: Path

    @property
    def study(self) -> Path:
        """study.yaml: all that defines the study."""
        return self.path / "study.yaml"

    @property
    def recipes(self) -> Path:
        """recipes: made first; a folder with it is a study."""
        return self.path / "recipes"

    @property
    def page(self) -> Path:
        """study.html."""
        return self.path / "study.html"

    @property
    def cells(self) -> Path:
        """results.csv: a row a cell."""
        return self.path / "results.csv"

    @property
    def runs(self) -> Path:
        """runs.csv: a row a run."""
        return self.path / "runs.csv"

    @property
    def distances(self) -> Path:
        """distance.csv: a row a cell and distance to a boundary."""
        return self.path / "distance.csv"

    @property
    def others(self) -> Path:
        """scorings.csv: a row a cell and other scoring."""
        return self.path / "scorings.csv"

    def run(self, run: PlannedRun) -> RunFolder:
        """The folder of a run."""
        return RunFolder(self.path / "runs" / run.name)

    def recipe(self, run: PlannedRun) -> Path:
        """The recipe that a run is trained by."""
        return self.recipes / f"{run.name}.yaml"

    def log(self, run: PlannedRun) -> Path:
        """What the training of a run printed."""
        return self.path / "logs" / f"{run.name}.txt"

    def failure(self, run: PlannedRun) -> Path:
        """Why a run failed; there while it is not mended."""
        return self.path / "failed" / f"{run.name}.txt"

    def scoring(self, run: PlannedRun, name: str) -> Path:
        """The scores of a finished run by another scoring, and what they are of."""
        return self.path / "scorings" / name / f"{run.name}.json"

    def scorings(self, run: PlannedRun, study: Study) -> dict[str, dict[str, Any]]:
        """The scores by other scorings of a finished run, by name: those of its weights and of what the study asks."""
        files = {name: path for name in study.all_scorings if (path := self.scoring(run, name)).is_file()}
        weights = sha256_of(self.run(run).model) if files else ""
        found = {}
        for name, path in files.items():
            try:
                content = read_json(path)
                if content["of"] == _origin(weights, study.all_scorings[name], study.split):
                    found[name] = content["scores"]
            except (CropzooError, KeyError, TypeError):
                continue  # it is no file of ours, or a broken one: scored again
        return found

    def write_scoring(self, run: PlannedRun, name: str, study: Study, scores: dict[str, Any]) -> None:
        """Keep the scores of a finished run by another scoring."""
        of = _origin(sha256_of(self.run(run).model), study.all_scorings[name], study.split)
        write_json(self.scoring(run, name), {"of": of, "scores": scores})

    def state(self, run: PlannedRun) -> State:
        """Whether a run is there."""
        folder = self.run(run)
        return "finished" if folder.finished else "unfinished" if folder.recipe.is_file() else "new"

    def check(self, runs: Iterable[PlannedRun], zoo: Zoo) -> None:
        """Refuse runs that are there and were begun by another recipe.

        Raises:
            UsageError: naming what differs.
        """
        told = []
        for run in runs:
            folder = self.run(run)
            if folder.recipe.is_file():
                stored = read_recipe(zoo, folder.stored_recipe(), str(folder.recipe))
                if stored != run.recipe:
                    told.append(f"{str(folder.path)!r}: {'; '.join(differences(stored, run.recipe))}")
        if told:
            more = f"\nand {len(told) - _TOLD} more" if len(told) > _TOLD else ""
            raise UsageError(
                "the study asks for other settings than these runs were begun with; give it another --out, or remove "
                "their folders\n" + "\n".join(told[:_TOLD]) + more
            )

    def check_place(self) -> None:
        """Refuse a folder of other things, such as one with a study.yaml that somebody wrote by hand.

        Raises:
            UsageError: for one.
        """
        things = self.path.iterdir() if self.path.is_dir() and not self.recipes.is_dir() else ()
        if any(not path.name.startswith(".") for path in things):
            raise UsageError(f"folder {str(self.path)!r} is not empty and holds no study; choose another --out")

    def prepare(self, study: Study) -> None:
        """Make the folder and write study.yaml into it."""
        try:
            self.recipes.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CropzooError(f"cannot make {str(self.path)!r}; {error.strerror}; choose another --out") from error
        write_text(self.study, _yaml(study.to_mapping()))

    def write_recipe(self, run: PlannedRun) -> Path:
        """Write the recipe of a run, and return where."""
        write_text(self.recipe(run), _yaml(run.recipe.to_mapping()))
        return self.recipe(run)

    def failures(self, runs: Iterable[PlannedRun]) -> dict[str, str]:
        """The errors of the runs that failed and were not finished since, by their names."""
        files = {run.name: self.failure(run) for run in runs if self.state(run) != "finished"}
        return {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.is_file()}


def _origin(weights: str, scoring: Scoring, split: str) -> dict[str, Any]:
    """What scores are of."""
    return {"weights": weights, "split": split, "scoring": scoring.to_mapping()}


def differences(old: Recipe, new: Recipe) -> list[str]:
    """What differs between two recipes, such as "segmentation.lr 0.001 -> 0.01"."""
    before, after = flat_settings(old), flat_settings(new)
    keys = [key for key in {**before, **after} if before.get(key, "unset") != after.get(key, "unset")]
    return [f"{key} {before.get(key, 'unset')!r} -> {after.get(key, 'unset')!r}" for key in keys]


def _yaml(mapping: dict[str, Any]) -> str:
    return yaml.safe_dump(mapping, sort_keys=False)
