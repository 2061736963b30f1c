"""Scores of finished runs as counts, which can be summed over folds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.dates import date_warnings, parse_day
from cropzoo.errors import CropzooError
from cropzoo.evaluation.compare.config import Split, Study
from cropzoo.evaluation.compare.folder import StudyFolder
from cropzoo.evaluation.compare.grid import GridCell, PlannedRun, StudyPlan
from cropzoo.evaluation.early_season import truncate_data
from cropzoo.evaluation.evaluate import evaluate, open_evaluation
from cropzoo.io import Log, read_json
from cropzoo.plugins.registry import Zoo
from cropzoo.runtime import Runtime

_log = logging.getLogger("cropzoo")

REGIONS = ("all", "boundary", "interior")


@dataclass(frozen=True)
class RunScores:
    """Scores and costs of a run; None where its files do not have them.

    Args:
        run: The run.
        classes: Names by index; the classes of all runs once they are collected.
        confusion: Pixels by region, (classes, classes).
        parcels: Parcels with a correct majority, and all parcels, (2,).
        distance: Correct pixels and all pixels at 1, 2, ... px from a boundary, (2, distances).
        distance_of: Boundaries of "parcels" or of "classes".
        seconds: Duration of the training.
        peak_memory: Peak memory in bytes.
        steps: Number of optimizer steps.
    """

    run: PlannedRun
    classes: tuple[str, ...]
    confusion: Mapping[str, NDArray[np.int64] | None]
    parcels: NDArray[np.int64] | None
    distance: NDArray[np.int64] | None
    distance_of: str | None
    seconds: float | None
    peak_memory: int | None
    steps: int | None

    def over(self, classes: tuple[str, ...]) -> RunScores:
        """The same scores over a list of classes that contains its own; the others have no pixels."""
        if self.classes == classes:
            return self
        places = [classes.index(name) for name in self.classes]
        confusion: dict[str, NDArray[np.int64] | None] = dict.fromkeys(self.confusion)
        for region, matrix in self.confusion.items():
            if matrix is not None:
                larger = np.zeros((len(classes), len(classes)), np.int64)
                larger[np.ix_(places, places)] = matrix
                confusion[region] = larger
        return replace(self, classes=classes, confusion=confusion)


def collect_scores(plan: StudyPlan, folder: StudyFolder) -> dict[GridCell, list[RunScores]]:
    """Scores of the finished runs by cell, in the order of the plan.

    Logs a warning if runs have different classes, as those trained on different sites do.

    Raises:
        CropzooError: If a file cannot be read.
    """
    found: dict[GridCell, list[RunScores]] = {cell: [] for cell in plan.cells}
    for run in plan.runs:
        scores = _read(run, folder, plan.study.split) if folder.state(run) == "finished" else None
        if scores is not None:
            found[run.cell].append(scores)
    known = [run.classes for runs in found.values() for run in runs]
    some = sorted({name for names in known for name in names if not all(name in others for others in known)})
    if some:
        _log.warning(
            "not all runs have the classes %s; scores are over the classes of each run and cannot be compared between "
            "runs with different classes",
            ", ".join(some),
        )
    return _aligned(found)


def _aligned(found: Mapping[GridCell, Sequence[RunScores]]) -> dict[GridCell, list[RunScores]]:
    """The scores over the classes of all runs, so that matrices can be summed."""
    classes = tuple(dict.fromkeys(name for runs in found.values() for run in runs for name in run.classes))
    return {cell: [run.over(classes) for run in runs] for cell, runs in found.items()}


def collect_scorings(plan: StudyPlan, folder: StudyFolder) -> dict[str, dict[GridCell, list[RunScores]]]:
    """Scores of the finished runs by the name of the additional scoring and by cell, as far as they are computed.

    Raises:
        CropzooError: If a file cannot be read.
    """
    found: dict[str, dict[GridCell, list[RunScores]]] = {
        name: {cell: [] for cell in plan.cells} for name in plan.study.all_scorings
    }
    for run in plan.runs:
        if folder.state(run) == "finished":
            for name, scores in folder.scorings(run, plan.study).items():
                found[name][run.cell].append(_run_scores(run, scores, {}))
    return {name: _aligned(by_cell) for name, by_cell in found.items()}


def _read(run: PlannedRun, folder: StudyFolder, split: Split) -> RunScores | None:
    """The scores of a run; None if its last objective trains no head."""
    path, environment = folder.run(run).metrics, folder.run(run).environment
    try:
        scores = read_json(path)[split]
        training = (read_json(environment) if environment.is_file() else {}).get("training") or {}
        return None if scores == {} else _run_scores(run, scores, training)
    except (CropzooError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CropzooError(
            f"scores of run {run.name} in {str(path)!r} cannot be read; {type(error).__name__}: {error}; "
            "remove the run's folder and run compare again"
        ) from error


def _run_scores(run: PlannedRun, scores: Mapping[str, Any], training: Mapping[str, Any]) -> RunScores:
    regions = {"all": scores, **{name: scores.get(name) for name in REGIONS[1:]}}
    parcels, distance = scores.get("parcels"), scores.get("distance")
    return RunScores(
        run=run,
        classes=tuple(scores["per_class"]),
        confusion={name: _matrix(region) for name, region in regions.items()},
        parcels=_counts(round(parcels["accuracy"] * parcels["count"]), parcels["count"]) if parcels else None,
        distance=_counts(distance["correct"], distance["pixels"]) if distance else None,
        distance_of=distance["of"] if distance else None,
        seconds=training.get("seconds"),
        peak_memory=training.get("peak_memory"),
        steps=training.get("steps"),
    )


def _matrix(region: Mapping[str, Any] | None) -> NDArray[np.int64] | None:
    return None if region is None else np.array(region["confusion"], np.int64)


def _counts(right: Any, of: Any) -> NDArray[np.int64]:
    return np.array([right, of], np.int64)


def run_scorings(
    runs: Sequence[PlannedRun],
    folder: StudyFolder,
    study: Study,
    zoo: Zoo,
    runtime: Runtime,
    log: Log,
) -> dict[str, str]:
    """Compute the missing scores of finished runs by the additional scorings of a study.

    Stored scores are kept if they are of the same weights, split and settings. A failed scoring does not stop the
    others.

    Args:
        runs: Runs to score.
        folder: Folder of the study, where scores are stored.
        study: Study with the scorings.
        zoo: Zoo with the backbones and datasets.
        runtime: Device and workers.
        log: Called with lines of progress.

    Returns:
        Error of each failed scoring, by "RUN, SCORING".
    """
    failed: dict[str, str] = {}
    shown: set[str] = set()
    for run in runs:
        if folder.state(run) != "finished":
            continue
        there = folder.scorings(run, study)
        for name, scoring in study.all_scorings.items():
            if name in there:
                continue
            log(f"{run.name}: scoring {name}")
            try:
                model, data = open_evaluation(
                    folder.run(run).model, zoo, study.split, scoring.changes(study.split), runtime, scoring.upsample
                )
                if scoring.until is not None:
                    data = truncate_data(data, study.split, scoring.until, parse_day("until", scoring.until))
                for line in date_warnings({study.split: data.split(study.split)}, data.options.dates):
                    if line not in shown:
                        log(f"{name}: {line}")
                        shown.add(line)
                scores = evaluate(model, data, study.split, runtime)
            except CropzooError as error:
                failed[f"{run.name}, {name}"] = str(error)
                log(f"{run.name}: scoring {name} failed: {error}")
                continue
            folder.write_scoring(run, name, study, scores)
    return failed
