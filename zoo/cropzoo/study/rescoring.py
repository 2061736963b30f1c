"""Scoring finished runs in the other ways that a study asks for, each once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cropzoo.data.dates import tell_dates
from cropzoo.days import parse_day
from cropzoo.errors import CropzooError
from cropzoo.fit.trainer import Runtime
from cropzoo.scoring import Trial, open_trial, score_trial
from cropzoo.season import trial_until
from cropzoo.study.cells import PlannedRun
from cropzoo.study.design import Study
from cropzoo.study.folder import StudyFolder
from cropzoo.study.scorings import Scoring
from cropzoo.zoo import Zoo


def score_again(
    runs: Sequence[PlannedRun],
    folder: StudyFolder,
    study: Study,
    zoo: Zoo,
    runtime: Runtime,
    tell: Callable[[str], None],
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
                trial = _open(run, folder, scoring, study.split, zoo)
                for line in tell_dates({study.split: trial.samples}, trial.recipe):
                    if line not in told:
                        tell(f"{name}: {line}")
                        told.add(line)
                scores = score_trial(trial, runtime)
            except CropzooError as error:
                failed[f"{run.name}, {name}"] = str(error)
                tell(f"{run.name}: scoring {name} failed: {error}")
                continue
            folder.write_scoring(run, name, study, scores)
    return failed


def _open(run: PlannedRun, folder: StudyFolder, scoring: Scoring, split: str, zoo: Zoo) -> Trial:
    trial = open_trial(folder.run(run).model, zoo, split, scoring.changes(split), scoring.upsample)
    if scoring.until is not None:
        trial = trial_until(trial, scoring.until, parse_day("until", scoring.until))
    return trial
