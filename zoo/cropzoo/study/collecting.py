"""The scores of finished runs, in the form that adds up over folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.files import read_json
from cropzoo.study.cells import Cell, PlannedRun
from cropzoo.study.design import Split
from cropzoo.study.folder import StudyFolder
from cropzoo.study.grid import Plan

REGIONS = ("all", "boundary", "interior")


@dataclass(frozen=True)
class RunScores:
    """What a run came to; what its files do not say is None.

    Args:
        classes: how many the dataset has.
        confusion: by region, (classes, classes), pixels.
        parcels: how many have the right majority, and how many there are, (2,).
        distance: right pixels and all pixels at 1, 2, ... px from a boundary, (2, distances).
        distance_of: boundaries of "parcels" or of "classes".
        seconds: of training.
        peak_memory: bytes.
        steps: of the optimiser.
    """

    run: PlannedRun
    classes: int
    confusion: Mapping[str, NDArray[np.int64] | None]
    parcels: NDArray[np.int64] | None
    distance: NDArray[np.int64] | None
    distance_of: str | None
    seconds: float | None
    peak_memory: int | None
    steps: int | None


def collect(plan: Plan, folder: StudyFolder) -> dict[Cell, list[RunScores]]:
    """The scores of every finished run that has some, by cell and in the order of the plan.

    Raises:
        CropzooError: for a file that cannot be read, or runs of one dataset that tell different classes apart.
    """
    found: dict[Cell, list[RunScores]] = {cell: [] for cell in plan.cells}
    classes = 0
    for run in plan.runs:
        if folder.state(run) != "finished":
            continue
        scores = _read(run, folder, plan.study.split)
        if scores is None:
            continue
        classes = classes or scores.classes
        if scores.classes != classes:
            raise CropzooError(
                f"run {run.name} tells {scores.classes} classes apart, others of the study {classes}; scores of "
                "different classes do not compare; give each class table a study of its own"
            )
        found[run.cell].append(scores)
    return found


def collect_scorings(plan: Plan, folder: StudyFolder) -> dict[str, dict[Cell, list[RunScores]]]:
    """The same by other scorings, by their names; a run that was not scored so yet is left out there.

    Raises:
        CropzooError: for a file that cannot be read.
    """
    found: dict[str, dict[Cell, list[RunScores]]] = {
        name: {cell: [] for cell in plan.cells} for name in plan.study.all_scorings
    }
    for run in plan.runs:
        if folder.state(run) == "finished":
            for name, scores in folder.scorings(run, plan.study).items():
                found[name][run.cell].append(_run_scores(run, scores, {}))
    return found


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
        classes=len(scores["confusion"]),
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
