"""The folder of a study: a run folder, a recipe and a log for each run, and the tables of all runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cropzoo.config.merge import read_recipe
from cropzoo.config.plugin_records import complete_recipe
from cropzoo.config.recipe import PluginChoice, Recipe, flat_settings
from cropzoo.config.run_dir import RunFolder
from cropzoo.config.schema import format_yaml
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.compare.config import Scoring, Study
from cropzoo.evaluation.compare.grid import PlannedRun
from cropzoo.io import read_json, sha256_of, write_json, write_text
from cropzoo.plugins.registry import Zoo

State = Literal["finished", "unfinished", "new"]

_MAX_LISTED = 3
"""Runs that a message lists; the others usually differ in the same way."""


@dataclass(frozen=True)
class StudyFolder:
    """Paths of a study, and the state of its runs."""

    path: Path

    @property
    def study(self) -> Path:
        """study.yaml: the study, with all defaults."""
        return self.path / "study.yaml"

    @property
    def recipes(self) -> Path:
        """recipes: created first, which marks a folder as a study."""
        return self.path / "recipes"

    @property
    def page(self) -> Path:
        """study.html."""
        return self.path / "study.html"

    @property
    def cells(self) -> Path:
        """results.csv: a row for each cell."""
        return self.path / "results.csv"

    @property
    def runs(self) -> Path:
        """runs.csv: a row for each run."""
        return self.path / "runs.csv"

    @property
    def distances(self) -> Path:
        """distance.csv: a row for each cell and distance to a boundary."""
        return self.path / "distance.csv"

    @property
    def others(self) -> Path:
        """scorings.csv: a row for each cell and additional scoring."""
        return self.path / "scorings.csv"

    def run(self, run: PlannedRun) -> RunFolder:
        """Folder of a run."""
        return RunFolder(self.path / "runs" / run.name)

    def recipe(self, run: PlannedRun) -> Path:
        """Recipe of a run."""
        return self.recipes / f"{run.name}.yaml"

    def log(self, run: PlannedRun) -> Path:
        """Log of the training of a run."""
        return self.path / "logs" / f"{run.name}.txt"

    def failure(self, run: PlannedRun) -> Path:
        """Error of a failed run, removed when the run finishes."""
        return self.path / "failed" / f"{run.name}.txt"

    def scoring(self, run: PlannedRun, name: str) -> Path:
        """Scores of a finished run by an additional scoring, and their origin."""
        return self.path / "scorings" / name / f"{run.name}.json"

    def scorings(self, run: PlannedRun, study: Study) -> dict[str, dict[str, Any]]:
        """Scores of a finished run by the name of the additional scoring, without outdated ones."""
        files = {name: path for name in study.all_scorings if (path := self.scoring(run, name)).is_file()}
        weights = sha256_of(self.run(run).model) if files else ""
        found = {}
        for name, path in files.items():
            try:
                content = read_json(path)
                if content["of"] == _origin(weights, study.all_scorings[name], study.split):
                    found[name] = content["scores"]
            except (CropzooError, KeyError, TypeError):
                continue  # not a file of scores, or a broken one: computed again
        return found

    def write_scoring(self, run: PlannedRun, name: str, study: Study, scores: dict[str, Any]) -> None:
        """Store the scores of a finished run by an additional scoring."""
        of = _origin(sha256_of(self.run(run).model), study.all_scorings[name], study.split)
        write_json(self.scoring(run, name), {"of": of, "scores": scores})

    def state(self, run: PlannedRun) -> State:
        """State of a run."""
        folder = self.run(run)
        return "finished" if folder.finished else "unfinished" if folder.recipe.is_file() else "new"

    def check(self, runs: Iterable[PlannedRun], zoo: Zoo) -> None:
        """Check that existing runs have the recipes of the study.

        Raises:
            UsageError: If a run has another recipe; the message lists the differences.
        """
        changed = []
        for run in runs:
            folder = self.run(run)
            if folder.recipe.is_file():
                stored = complete_recipe(zoo, read_recipe(zoo, folder.stored_recipe(), str(folder.recipe)))
                planned = complete_recipe(zoo, _with_options_of_weights(run.recipe, stored))
                if stored != planned:
                    changed.append(f"{str(folder.path)!r}: {'; '.join(list_differences(stored, planned))}")
        if changed:
            more = f"\nand {len(changed) - _MAX_LISTED} more" if len(changed) > _MAX_LISTED else ""
            raise UsageError(
                "the settings of the study differ from those of existing runs; choose another --out, or remove these "
                "folders\n" + "\n".join(changed[:_MAX_LISTED]) + more
            )

    def check_place(self) -> None:
        """Check that the folder is empty or holds a study; a study.yaml alone does not make it one.

        Raises:
            UsageError: If it holds other files.
        """
        entries = self.path.iterdir() if self.path.is_dir() and not self.recipes.is_dir() else ()
        if any(not path.name.startswith(".") for path in entries):
            raise UsageError(f"folder {str(self.path)!r} is not empty and not a study; choose another --out")

    def prepare(self, study: Study) -> None:
        """Create the folder and write study.yaml."""
        try:
            self.recipes.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CropzooError(f"cannot create {str(self.path)!r}; {error.strerror}; choose another --out") from error
        write_text(self.study, format_yaml(study.to_mapping()))

    def write_recipe(self, run: PlannedRun) -> Path:
        """Write the recipe of a run; returns its path."""
        write_text(self.recipe(run), format_yaml(run.recipe.to_mapping()))
        return self.recipe(run)

    def failures(self, runs: Iterable[PlannedRun]) -> dict[str, str]:
        """Errors of the failed runs that have not finished since, by name."""
        files = {run.name: self.failure(run) for run in runs if self.state(run) != "finished"}
        return {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.is_file()}


def _origin(weights: str, scoring: Scoring, split: str) -> dict[str, Any]:
    """Origin of scores: weights, split and scoring."""
    return {"weights": weights, "split": split, "scoring": scoring.to_mapping()}


def _with_options_of_weights(planned: Recipe, stored: Recipe) -> Recipe:
    """The recipe with the options of the backbone that it does not give, if its weights determine them."""
    if planned.weights is None or planned.backbone.name != stored.backbone.name:
        return planned
    options = {**stored.backbone.options, **planned.backbone.options}
    return planned.model_copy(update={"backbone": PluginChoice(name=planned.backbone.name, options=options)})


def list_differences(old: Recipe, new: Recipe) -> list[str]:
    """Differences between two recipes, such as "segmentation.lr 0.001 -> 0.01"."""
    before, after = flat_settings(old), flat_settings(new)
    keys = [key for key in {**before, **after} if before.get(key, "unset") != after.get(key, "unset")]
    return [f"{key} {before.get(key, 'unset')!r} -> {after.get(key, 'unset')!r}" for key in keys]
