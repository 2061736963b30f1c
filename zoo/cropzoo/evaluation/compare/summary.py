"""What the runs of a cell say together, and against those of its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cropzoo.evaluation.compare.grid import GridCell, StudyPlan
from cropzoo.evaluation.compare.results import REGIONS, RunScores

Score = Literal["oa", "miou", "macro_f1"]


def score(confusion: NDArray[Any], name: Score) -> NDArray[np.float64]:
    """A score of each matrix, as `cropzoo.evaluation.metrics.Scorer` has it: means are over the classes with support.

    Args:
        confusion: pixels, or weighted sums of them, (..., classes, classes); rows are the truth.
        name: overall accuracy, mean IoU or macro F1.

    Returns:
        0..1, (...); NaN for a matrix without a pixel.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    truth, predicted = confusion.sum(-1).astype(np.float64), confusion.sum(-2).astype(np.float64)
    if name == "oa":
        return _share(right.sum(-1), truth.sum(-1))
    present = truth > 0
    whole = truth + predicted - right if name == "miou" else truth + predicted
    by_class = _share(right if name == "miou" else 2 * right, np.where(present, whole, 1))
    return _share(by_class.sum(-1), present.sum(-1))  # a class without support has nothing right


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return found


REPLICATES = 5000
"""Of the bootstrap: the ends of an interval move by about 1 % of its width with another seed."""

LEVEL = 0.95


@dataclass(frozen=True)
class Measure:
    """A score of the tables: `key` in files, `name` for people, in which region; parcels have counts, no matrix."""

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
    """Mean over the seeds, and their standard deviation where there are two or more."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference to the baseline over `pairs` of runs with the same seed and fold; the interval needs two."""

    mean: float
    pairs: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class StudySummary:
    """A row of the tables.

    Args:
        baseline: that of the cell.
        finished, planned: runs.
        seeds: those of which every fold is finished; scores are of them alone.
        scores, differences: by `Measure.key`; without those that nothing is known of.
        distance: right pixels and all pixels by distance, added up over the runs, (2, distances).
        epochs: of the stages in order, as planned.
        seconds, peak_memory, steps: of a run: means, but the largest memory.
    """

    cell: GridCell
    baseline: GridCell
    finished: int
    planned: int
    seeds: tuple[int, ...]
    scores: Mapping[str, Estimate]
    differences: Mapping[str, PairedDifference]
    distance: NDArray[np.int64] | None
    distance_of: str | None
    epochs: tuple[int, ...]
    seconds: Estimate | None
    peak_memory: int | None
    steps: float | None


def group_summaries(summaries: Sequence[StudySummary]) -> dict[str, list[StudySummary]]:
    """Those of one backbone and label fraction together, under the words for both."""
    several = len({summary.cell.label_fraction for summary in summaries}) > 1
    groups: dict[str, list[StudySummary]] = {}
    for summary in summaries:
        labels = f", {100 * summary.cell.label_fraction:g} % of the labels" if several else ""
        groups.setdefault(f"{summary.cell.backbone}{labels}", []).append(summary)
    return groups


def summarize(plan: StudyPlan, found: Mapping[GridCell, Sequence[RunScores]]) -> list[StudySummary]:
    """A summary of each cell, in the order of the plan."""
    folds = len(plan.study.folds) or 1
    whole = {cell: _by_seed(runs, folds) for cell, runs in found.items()}
    return [_summary(plan, cell, found[cell], whole[cell], whole[plan.baselines[cell]]) for cell in plan.cells]


def _by_seed(runs: Sequence[RunScores], folds: int) -> dict[int, list[RunScores]]:
    """The runs of each seed, one a fold; a seed that lacks a fold is left out."""
    seeds: dict[int, list[RunScores]] = {}
    for run in runs:
        seeds.setdefault(run.run.seed, []).append(run)
    return {seed: several for seed, several in seeds.items() if len(several) == folds}


def _summary(
    plan: StudyPlan,
    cell: GridCell,
    runs: Sequence[RunScores],
    own: Mapping[int, Sequence[RunScores]],
    others: Mapping[int, Sequence[RunScores]],
) -> StudySummary:
    scores, differences = {}, {}
    for measure in MEASURES:
        matrices = stack(list(own.values()), measure.region)
        if matrices is not None:
            scores[measure.key] = _estimate(score(matrices.sum(1), measure.score))
        both = [seed for seed in own if seed in others]
        pair = [stack([side[seed] for seed in both], measure.region) for side in (own, others)]
        if plan.baselines[cell] != cell and pair[0] is not None and pair[1] is not None:
            differences[measure.key] = difference(pair[0], pair[1], measure.score)
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
        baseline=plan.baselines[cell],
        finished=len(runs),
        planned=len(planned),
        seeds=tuple(own),
        scores=scores,
        differences=differences,
        distance=np.sum(distances, axis=0) if distances else None,
        distance_of=kinds.pop() if distances else None,
        epochs=tuple(stage.epochs for stage in planned[0].recipe.stages),
        seconds=_estimate(np.array(seconds)) if seconds else None,
        peak_memory=max(memory, default=None),
        steps=float(np.mean(steps)) if steps else None,
    )


def stack(runs: Sequence[Sequence[RunScores]], region: str) -> NDArray[np.int64] | None:
    """The matrices of a region, (seeds, folds, classes, classes); None where a run has none of it.

    Parcels become a matrix of right and wrong ones, whose overall accuracy is theirs.
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


def difference(ours: NDArray[np.int64], theirs: NDArray[np.int64], name: Score) -> PairedDifference:
    """The mean over seeds of a score of the summed folds, less the same of the baseline, and its bootstrap interval.

    Seeds are drawn with replacement, and folds where there are several; both sides keep their pairs. The draws are
    the same at every call.

    Args:
        ours: (seeds, folds, classes, classes), pixels.
        theirs: the same runs of the baseline.
        name: the score.
    """
    seeds, folds = ours.shape[:2]
    mean = float(np.mean(score(ours.sum(1), name) - score(theirs.sum(1), name)))
    if seeds * folds < 2:
        return PairedDifference(mean, seeds * folds, None, None)
    draws = np.random.default_rng(0)
    drawn = draws.multinomial(folds, [1 / folds] * folds, REPLICATES)
    weights, place = np.unique(drawn, axis=0, return_inverse=True)  # five folds make 126 sums
    gaps = [_drawn(a, weights, name) - _drawn(b, weights, name) for a, b in zip(ours, theirs, strict=True)]
    shares = draws.multinomial(seeds, [1 / seeds] * seeds, REPLICATES) / seeds
    means = (shares * np.stack(gaps, axis=1)[place.reshape(-1)]).sum(1)
    tail = (1 - LEVEL) / 2
    low, high = (float(value) for value in np.nanquantile(means, (tail, 1 - tail)))
    return PairedDifference(mean, seeds * folds, low, high)


def _drawn(matrices: NDArray[np.int64], weights: NDArray[Any], name: Score) -> NDArray[np.float64]:
    """The score of each weighted sum of folds, (draws,)."""
    return score(np.tensordot(weights, matrices, axes=1), name)
