"""Means of the runs of a cell, and differences to those of its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cropzoo.evaluation.compare.grid import GridCell, StudyPlan
from cropzoo.evaluation.compare.results import REGIONS, RunScores

Score = Literal["oa", "miou", "macro_f1"]


def compute_score(confusion: NDArray[Any], name: Score) -> NDArray[np.float64]:
    """Score of each confusion matrix, as `cropzoo.evaluation.metrics.Scorer` computes it.

    Args:
        confusion: Pixels or weighted sums of pixels, (..., classes, classes); rows are the truth.
        name: Overall accuracy, mean IoU or macro F1. Means are over the classes with support.

    Returns:
        Scores in [0, 1], (...); NaN for a matrix without pixels.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    truth, predicted = confusion.sum(-1).astype(np.float64), confusion.sum(-2).astype(np.float64)
    if name == "oa":
        return _divide(right.sum(-1), truth.sum(-1))
    present = truth > 0
    total = truth + predicted - right if name == "miou" else truth + predicted
    by_class = _divide(right if name == "miou" else 2 * right, np.where(present, total, 1))
    return _divide(by_class.sum(-1), present.sum(-1))  # a class without support has no correct pixel


def _divide(part: NDArray[Any], total: NDArray[Any]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.divide(part, total, out=np.full(part.shape, np.nan), where=total > 0)
    return shares


REPLICATES = 5000
"""Bootstrap replicates. Another seed moves the ends of an interval by about 1 % of its width."""

LEVEL = 0.95
"""Confidence level of the intervals."""

MIN_PAIRS = 5
"""Smallest number of pairs with an interval: a bootstrap of fewer takes a few values only and is far too narrow."""


@dataclass(frozen=True)
class Measure:
    """A score of the tables.

    Args:
        key: Name in files.
        name: Name for people.
        region: Region of the confusion matrix; "parcels" for parcel counts.
        score: Score that is computed.
    """

    key: str
    name: str
    region: str
    score: Score


MEASURES = (
    Measure("oa", "OA", "all", "oa"),
    Measure("miou", "mIoU", "all", "miou"),
    Measure("macro_f1", "macro F1", "all", "macro_f1"),
    Measure("boundary_oa", "boundary OA", "boundary", "oa"),
    Measure("boundary_miou", "boundary mIoU", "boundary", "miou"),
    Measure("interior_oa", "interior OA", "interior", "oa"),
    Measure("interior_miou", "interior mIoU", "interior", "miou"),
    Measure("parcel_accuracy", "parcels", "parcels", "oa"),
)


@dataclass(frozen=True)
class Estimate:
    """Mean over seeds, and their standard deviation if there are at least two."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference over `pairs` of runs with the same seed and fold; an interval needs `MIN_PAIRS` of them."""

    mean: float
    pairs: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class StudySummary:
    """Summary of a cell: a row of the tables.

    Args:
        cell: The cell.
        baseline: The baseline of the cell.
        reference: The same cell of the study's first backbone; None for that backbone, and where it has no such cell.
        finished: Number of finished runs.
        planned: Number of planned runs.
        seeds: Seeds of which every fold is finished. Scores are computed from these.
        scores: Estimates by `Measure.key`, without unknown ones.
        differences: Differences to the baseline by `Measure.key`, without unknown ones.
        reference_differences: Differences to the reference by `Measure.key`, without unknown ones.
        distance: Correct pixels and all pixels by distance, summed over the runs, (2, distances).
        distance_of: Boundaries of "parcels" or of "classes"; None if the runs differ in it.
        epochs: Planned epochs of the stages in order.
        seconds: Training time of a run.
        peak_memory: Largest memory of a run, in bytes.
        steps: Mean number of optimizer steps of a run.
    """

    cell: GridCell
    baseline: GridCell
    reference: GridCell | None
    finished: int
    planned: int
    seeds: tuple[int, ...]
    scores: Mapping[str, Estimate]
    differences: Mapping[str, PairedDifference]
    reference_differences: Mapping[str, PairedDifference]
    distance: NDArray[np.int64] | None
    distance_of: str | None
    epochs: tuple[int, ...]
    seconds: Estimate | None
    peak_memory: int | None
    steps: float | None


def group_summaries(summaries: Sequence[StudySummary]) -> dict[str, list[StudySummary]]:
    """Summaries by the name of their backbone and label fraction."""
    several = len({summary.cell.label_fraction for summary in summaries}) > 1
    groups: dict[str, list[StudySummary]] = {}
    for summary in summaries:
        labels = f", {100 * summary.cell.label_fraction:g} % of the labels" if several else ""
        groups.setdefault(f"{summary.cell.backbone}{labels}", []).append(summary)
    return groups


def summarize(plan: StudyPlan, found: Mapping[GridCell, Sequence[RunScores]]) -> list[StudySummary]:
    """Summary of each cell, in the order of the plan."""
    folds = len(plan.study.folds) or 1
    complete = {cell: _complete_seeds(runs, folds) for cell, runs in found.items()}
    return [_summary(plan, cell, found[cell], complete) for cell in plan.cells]


def _complete_seeds(runs: Sequence[RunScores], folds: int) -> dict[int, list[RunScores]]:
    """The runs of each seed of which all folds are finished."""
    seeds: dict[int, list[RunScores]] = {}
    for run in runs:
        seeds.setdefault(run.run.seed, []).append(run)
    return {seed: several for seed, several in seeds.items() if len(several) == folds}


def _summary(
    plan: StudyPlan,
    cell: GridCell,
    runs: Sequence[RunScores],
    complete: Mapping[GridCell, Mapping[int, Sequence[RunScores]]],
) -> StudySummary:
    own, baseline, reference = complete[cell], plan.baselines[cell], plan.reference(cell)
    scores = {}
    for measure in MEASURES:
        matrices = stack_matrices(list(own.values()), measure.region)
        if matrices is not None:
            scores[measure.key] = _estimate(compute_score(matrices.sum(1), measure.score))
    counted = [run for several in own.values() for run in several]
    kinds = {run.distance_of for run in counted}
    distances = [run.distance for run in counted if run.distance is not None] if len(kinds) == 1 else []
    seconds, memory, steps = (
        [value for run in runs if (value := getattr(run, key)) is not None]
        for key in ("seconds", "peak_memory", "steps")
    )
    planned = plan.of(cell)
    return StudySummary(
        cell=cell,
        baseline=baseline,
        reference=reference,
        finished=len(runs),
        planned=len(planned),
        seeds=tuple(own),
        scores=scores,
        differences={} if baseline == cell else _differences(own, complete[baseline]),
        reference_differences={} if reference is None else _differences(own, complete[reference]),
        distance=np.sum(distances, axis=0) if distances else None,
        distance_of=kinds.pop() if distances else None,
        epochs=tuple(stage.epochs for stage in planned[0].recipe.stages),
        seconds=_estimate(np.array(seconds)) if seconds else None,
        peak_memory=max(memory, default=None),
        steps=float(np.mean(steps)) if steps else None,
    )


def _differences(
    own: Mapping[int, Sequence[RunScores]], others: Mapping[int, Sequence[RunScores]]
) -> dict[str, PairedDifference]:
    """Differences between the runs of two cells with the same seeds, by `Measure.key`."""
    both = [seed for seed in own if seed in others]
    found = {}
    for measure in MEASURES:
        ours, theirs = (stack_matrices([side[seed] for seed in both], measure.region) for side in (own, others))
        if ours is not None and theirs is not None:
            found[measure.key] = compute_difference(ours, theirs, measure.score)
    return found


def step_warnings(summaries: Sequence[StudySummary]) -> list[str]:
    """A warning if configurations took another number of optimizer steps than those that they are compared with."""
    steps = {summary.cell: summary.steps for summary in summaries}
    found = []
    for summary in summaries:
        own, compared = summary.steps, [summary.baseline] if summary.differences else []
        compared += [summary.reference] if summary.reference and summary.reference_differences else []
        for other in compared:
            theirs = steps[other]
            if own is not None and theirs is not None and round(own) != round(theirs):
                found.append(f"{summary.cell.name} {own:,.0f}, {other.name} {theirs:,.0f}")
    if not found:
        return []
    more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
    return [
        f"some compared runs have different numbers of optimizer steps ({'; '.join(found[:_MAX_LISTED])}{more}); their "
        "differences are also those of longer training; give all the same epochs and batch_size, or use --budget total"
    ]


_MAX_LISTED = 3
"""Pairs that a warning lists."""


def stack_matrices(runs: Sequence[Sequence[RunScores]], region: str) -> NDArray[np.int64] | None:
    """Confusion matrices of a region, (seeds, folds, classes, classes); None if a run has none.

    Parcels become a matrix of correct and wrong ones, whose overall accuracy is the parcel accuracy.
    """
    matrices = []
    for several in runs:
        for run in several:
            matrix = run.confusion[region] if region in REGIONS else _parcel_matrix(run)
            if matrix is None:
                return None
            matrices.append(matrix)
    return np.stack(matrices).reshape(len(runs), -1, *matrices[0].shape) if matrices else None


def _parcel_matrix(run: RunScores) -> NDArray[np.int64] | None:
    if run.parcels is None:
        return None
    right, count = run.parcels
    return np.array([[right, count - right], [0, 0]])


def _estimate(values: NDArray[np.float64]) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None)


def compute_difference(ours: NDArray[np.int64], theirs: NDArray[np.int64], name: Score) -> PairedDifference:
    """Mean difference of a score between paired runs, with a bootstrap interval from `MIN_PAIRS` pairs on.

    The folds of a seed are summed before the score is computed. Seeds and folds are drawn with replacement, pairs
    together, with the same random numbers in every call.

    Args:
        ours: Pixels, (seeds, folds, classes, classes).
        theirs: Pixels of the paired runs.
        name: Score that is compared.
    """
    seeds, folds = ours.shape[:2]
    mean = float(np.mean(compute_score(ours.sum(1), name) - compute_score(theirs.sum(1), name)))
    if seeds * folds < MIN_PAIRS:
        return PairedDifference(mean, seeds * folds, None, None)
    draws = np.random.default_rng(0)
    drawn = draws.multinomial(folds, [1 / folds] * folds, REPLICATES)
    weights, place = np.unique(drawn, axis=0, return_inverse=True)  # 126 different sums of five folds
    gaps = [_score_draws(a, weights, name) - _score_draws(b, weights, name) for a, b in zip(ours, theirs, strict=True)]
    shares = draws.multinomial(seeds, [1 / seeds] * seeds, REPLICATES) / seeds
    means = (shares * np.stack(gaps, axis=1)[place.reshape(-1)]).sum(1)
    tail = (1 - LEVEL) / 2
    low, high = (float(value) for value in np.nanquantile(means, (tail, 1 - tail)))
    return PairedDifference(mean, seeds * folds, low, high)


def _score_draws(matrices: NDArray[np.int64], weights: NDArray[Any], name: Score) -> NDArray[np.float64]:
    """Score of each weighted sum of folds, (draws,)."""
    return compute_score(np.tensordot(weights, matrices, axes=1), name)
