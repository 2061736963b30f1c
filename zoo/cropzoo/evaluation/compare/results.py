"""The scores of finished runs, in the form that adds up over folds."""

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
    """What a run came to; what its files do not say is None.

    Args:
        classes: names, by index; those of all runs together once they are collected.
        confusion: by region, (classes, classes), pixels.
        parcels: how many have the right majority, and how many there are, (2,).
        distance: right pixels and all pixels at 1, 2, ... px from a boundary, (2, distances).
        distance_of: boundaries of "parcels" or of "classes".
        seconds: of training.
        peak_memory: bytes.
        steps: of the optimizer.
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
        """The same over a list of classes that holds its own; a class that it does not know has no pixel."""
        if self.classes == classes:
            return self
        places = [classes.index(name) for name in self.classes]
        confusion: dict[str, NDArray[np.int64] | None] = dict.fromkeys(self.confusion)
        for region, matrix in self.confusion.items():
            if matrix is not None:
                whole = np.zeros((len(classes), len(classes)), np.int64)
                whole[np.ix_(places, places)] = matrix
                confusion[region] = whole
        return replace(self, classes=classes, confusion=confusion)


def collect(plan: StudyPlan, folder: StudyFolder) -> dict[GridCell, list[RunScores]]:
    """The scores of every finished run that has some, by cell and in the order of the plan.

    Warns where runs know different classes, as those that are trained on different sites do.

    Raises:
        CropzooError: for a file that cannot be read.
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
            "not all runs know the classes %s; each score is over the classes that its run knows, so that scores of "
            "runs with others do not compare",
            ", ".join(some),
        )
    return _aligned(found)


def _aligned(found: Mapping[GridCell, Sequence[RunScores]]) -> dict[GridCell, list[RunScores]]:
    """The scores over all classes that any run knows, so that matrices add up."""
    classes = tuple(dict.fromkeys(name for runs in found.values() for run in runs for name in run.classes))
    return {cell: [run.over(classes) for run in runs] for cell, runs in found.items()}


def collect_scorings(plan: StudyPlan, folder: StudyFolder) -> dict[str, dict[GridCell, list[RunScores]]]:
    """The same by other scorings, by their names; a run that was not scored so yet is left out there.

    Raises:
        CropzooError: for a file that cannot be read.
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
    """The scores of a run; None after a last objective without a head."""
    path, environment = folder.run(run).metrics, folder.run(run).environment
    try:
        scores = read_json(path)[split]
        training = (read_json(environment) if environment.is_file() else {}).get("training") or {}
        return None if scores == {} else _run_scores(run, scores, training)
    except (CropzooError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CropzooError(
            f"run {run.name} has no scores that can be read from {str(path)!r}; {type(error).__name__}: {error}; "
            "remove the run's folder and compare again"
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


def score_again(
    runs: Sequence[PlannedRun],
    folder: StudyFolder,
    study: Study,
    zoo: Zoo,
    runtime: Runtime,
    tell: Log,
) -> dict[str, str]:
    """Score every finished run in every way of the study that is not there yet.

    What is there counts if it is of the same weights, split and settings. One scoring that fails stops no other.

    Args:
        runs: those to look at.
        folder: of the study; takes a file for each run and scoring.
        study: says in which ways.
        zoo: where backbone and dataset are looked up.
        runtime: device and workers.
        tell: takes lines of progress.

    Returns:
        The error of each scoring that failed, by "RUN, SCORING".
    """
    failed: dict[str, str] = {}
    told: set[str] = set()
    for run in runs:
        if folder.state(run) != "finished":
            continue
        there = folder.scorings(run, study)
        for name, scoring in study.all_scorings.items():
            if name in there:
                continue
            tell(f"{run.name}: scoring {name}")
            try:
                model, data = open_evaluation(
                    folder.run(run).model, zoo, study.split, scoring.changes(study.split), runtime, scoring.upsample
                )
                if scoring.until is not None:
                    data = truncate_data(data, study.split, scoring.until, parse_day("until", scoring.until))
                for line in date_warnings({study.split: data.split(study.split)}, data.options.dates):
                    if line not in told:
                        tell(f"{name}: {line}")
                        told.add(line)
                scores = evaluate(model, data, study.split, runtime)
            except CropzooError as error:
                failed[f"{run.name}, {name}"] = str(error)
                tell(f"{run.name}: scoring {name} failed: {error}")
                continue
            folder.write_scoring(run, name, study, scores)
    return failed
