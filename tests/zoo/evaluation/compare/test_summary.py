"""Means and paired differences, against plain computations."""

from __future__ import annotations

import tracemalloc
from itertools import product

import numpy as np
import pytest

from cropzoo.evaluation.compare.results import collect_scores
from cropzoo.evaluation.compare.summary import (
    compute_difference,
    compute_score,
    group_summaries,
    step_warnings,
    summarize,
)


def matrices(seeds, folds=1, classes=3, draw=0):
    return np.random.default_rng(draw).integers(1, 40, (seeds, folds, classes, classes))


def summary(found, folder, name):
    return next(each for each in summarize(found, collect_scores(found, folder)) if each.cell.name == name)


def percentiles(ours, theirs, name):
    """The interval from every equally likely draw of seeds and folds, with no random number."""
    seeds, folds = ours.shape[:2]
    means = []
    for rows, columns in product(product(range(seeds), repeat=seeds), product(range(folds), repeat=folds)):
        pair = (side[list(rows)][:, list(columns)].sum(1) for side in (ours, theirs))
        one, other = (np.mean([compute_score(matrix, name) for matrix in side]) for side in pair)
        means.append(one - other)
    return np.quantile(means, [0.025, 0.975])


@pytest.mark.parametrize(("seeds", "folds"), [(5, 1), (1, 5), (3, 3)])
@pytest.mark.parametrize("name", ["oa", "miou"])
def test_the_interval_is_that_of_every_draw(seeds, folds, name):
    ours, theirs = matrices(seeds, folds), matrices(seeds, folds, draw=1)
    found = compute_difference(ours, theirs, name)
    low, high = percentiles(ours, theirs, name)
    assert found.mean == pytest.approx(np.mean(compute_score(ours.sum(1), name) - compute_score(theirs.sum(1), name)))
    assert found.pairs == seeds * folds
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.06 * (high - low))
    assert found == compute_difference(ours, theirs, name)


def test_pairs_stay_together():
    """A seed that is better for both sides by far says nothing of their difference."""
    theirs = np.array([[[[10 + 20 * seed, 90 - 20 * seed], [0, 0]]] for seed in range(5)])
    ours = theirs + np.array([[1, -1], [0, 0]])
    found = compute_difference(ours, theirs, "oa")
    assert [found.mean, found.low, found.high] == pytest.approx([0.01] * 3)


@pytest.mark.parametrize(("seeds", "folds"), [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2)])
def test_fewer_than_five_pairs_have_no_interval(seeds, folds):
    found = compute_difference(matrices(seeds, folds), matrices(seeds, folds, draw=1), "miou")
    assert (found.pairs, found.low, found.high) == (seeds * folds, None, None)


def test_folds_of_many_classes_fit_into_memory():
    """Each of the 126 sums that five folds have is made once, not one for each of 5000 draws, which takes 1.6 GB."""
    tracemalloc.start()
    found = compute_difference(matrices(2, 5, 200), matrices(2, 5, 200, draw=1), "miou")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.low < found.mean < found.high
    assert peak < 4e8


def test_a_cell_is_the_mean_and_deviation_over_seeds(plan, folder, finish):
    found = plan(seeds=3)
    right = {"net-none": (80, 84, 88), "net-cscl": (82, 85, 94)}
    for run in found.runs:
        hits = right[run.cell.name][run.seed]
        finish(
            folder, run, [[hits, 100 - hits], [0, 100]], training={"seconds": 60.0 * run.seed, "peak_memory": run.seed}
        )
    cscl = summary(found, folder, "net-cscl")
    assert cscl.scores["oa"].mean == pytest.approx((182 + 185 + 194) / 600)
    assert cscl.scores["oa"].std == pytest.approx(np.std([0.91, 0.925, 0.97], ddof=1))
    assert (cscl.finished, cscl.planned, cscl.seeds, cscl.epochs) == (3, 3, (0, 1, 2), (3, 7))
    assert (cscl.seconds.mean, cscl.seconds.std, cscl.peak_memory, cscl.steps) == (60, 60, 2, None)
    assert cscl.baseline.name == "net-none"
    assert cscl.differences["oa"].mean == pytest.approx((2 + 1 + 6) / 600)
    assert cscl.differences["oa"].pairs == 3
    assert summary(found, folder, "net-none").differences == {}


def test_boundary_and_interior_and_parcels_have_scores_of_their_own(plan, folder, finish):
    found = plan()
    finish(folder, found.runs[0], [[8, 2], [1, 9]], edge=[[1, 2], [1, 1]], parcels=(3, 4))
    scores = {key: estimate.mean for key, estimate in summary(found, folder, "net-none").scores.items()}
    assert [scores[key] for key in ("oa", "boundary_oa", "interior_oa", "parcel_accuracy")] == [0.85, 0.4, 1.0, 0.75]
    assert scores["boundary_miou"] == pytest.approx((1 / 4 + 1 / 4) / 2)
    assert summary(found, folder, "net-none").scores["oa"].std is None


def test_folds_are_summed_before_anything_is_calculated(plan, folder, finish):
    found = plan(dataset="folded", folds=[1, 2], pretrain=["none"])
    parts = {1: [[90, 10], [0, 0]], 2: [[0, 0], [3, 1]]}
    for run in found.runs:
        finish(folder, run, parts[run.fold], edge=np.zeros((2, 2), int), parcels=(run.fold, 4))
    scores = summary(found, folder, "net-none").scores
    assert scores["miou"].mean == pytest.approx((90 / 103 + 1 / 14) / 2)
    assert scores["parcel_accuracy"].mean == 3 / 8


def test_a_seed_without_all_its_folds_is_left_out(plan, folder, finish):
    found = plan(dataset="folded", folds=[1, 2], seeds=2)
    for run in found.runs[:-1]:
        finish(folder, run)
    cscl = summary(found, folder, "net-cscl")
    assert (cscl.finished, cscl.planned, cscl.seeds) == (3, 4, (0,))
    assert cscl.differences["miou"].pairs == 2


def test_seeds_that_one_side_lacks_are_in_its_mean_and_not_in_the_difference(plan, folder, finish):
    found = plan(seeds=3)
    hits = {("net-none", 0): 50, ("net-none", 1): 70, ("net-cscl", 1): 80, ("net-cscl", 2): 10}
    for run in found.runs:
        if right := hits.get((run.cell.name, run.seed)):
            finish(folder, run, [[right, 100 - right], [0, 0]])
    cscl = summary(found, folder, "net-cscl")
    assert cscl.scores["oa"].mean == pytest.approx(0.45)
    assert cscl.differences["oa"].mean == pytest.approx(0.1)
    assert (cscl.differences["oa"].pairs, cscl.differences["oa"].low) == (1, None)


def test_without_a_common_seed_there_is_no_difference(plan, folder, finish):
    found = plan(seeds=2)
    finish(folder, found.of(found.cells[0])[0])
    finish(folder, found.of(found.cells[1])[1])
    assert summary(found, folder, "net-cscl").differences == {}


def test_what_a_run_has_none_of_is_left_out(plan, folder, finish):
    found = plan(seeds=2)
    for run in found.runs:
        finish(folder, run, parcels=None if run.seed else (1, 2), distance=None)
    cscl = summary(found, folder, "net-cscl")
    assert "parcel_accuracy" not in {*cscl.scores, *cscl.differences}
    assert "oa" in cscl.differences
    assert cscl.distance is None


def test_pixels_by_distance_add_up(plan, folder, finish):
    found = plan(seeds=2)
    for run in found.runs:
        finish(folder, run, distance=([4, 6], [run.seed, 5]))
    cscl = summary(found, folder, "net-cscl")
    assert cscl.distance.tolist() == [[1, 10], [8, 12]]
    assert cscl.distance_of == "parcels"


def test_a_backbone_is_compared_with_the_first_in_the_same_configuration(plan, folder, finish):
    found = plan(backbones=["net", "other-net"], seeds=6, label_fractions=[0.5, 1])
    hits = {"net-none": 50, "net-cscl": 60, "other-net-none": 80, "other-net-cscl": 70}
    for run in found.runs:
        right = hits[run.cell.name.replace("-labels0.5", "")] + run.seed + 5 * (run.cell.label_fraction == 1)
        finish(folder, run, [[right, 100 - right], [0, 100]])
    for name, gap in (("other-net-none", 0.15), ("other-net-cscl", 0.05), ("other-net-none-labels0.5", 0.15)):
        other = summary(found, folder, name)
        assert other.reference.name == name.replace("other-", "")
        difference = other.reference_differences["oa"]
        assert [difference.mean, difference.low, difference.high] == pytest.approx([gap] * 3)
        assert difference.pairs == 6
    first = summary(found, folder, "net-cscl")
    assert (first.reference, first.reference_differences) == (None, {})


def test_other_numbers_of_steps_are_warned_of(plan, folder, finish):
    found = plan(backbones=["net", "other-net"])
    for run in found.runs:
        finish(folder, run, training={"steps": 80 if run.cell.name == "other-net-cscl" else 40})
    (line,) = step_warnings(summarize(found, collect_scores(found, folder)))
    assert "(other-net-cscl 80, other-net-none 40; other-net-cscl 80, net-cscl 40)" in line
    for run in found.runs:
        finish(folder, run, training={"steps": 40} if run.cell.backbone == "net" else {})
    assert step_warnings(summarize(found, collect_scores(found, folder))) == []


def test_groups_are_of_one_backbone_and_share_of_labels(plan, folder):
    found = plan(backbones=["net", "other-net"], label_fractions=[0.05, 1])
    groups = group_summaries(summarize(found, collect_scores(found, folder)))
    assert list(groups) == [
        "net, 5 % of the labels", "net, 100 % of the labels", "other-net, 5 % of the labels",
        "other-net, 100 % of the labels",
    ]  # fmt: skip
    assert [each.cell.pretrain for each in groups["net, 5 % of the labels"]] == ["none", "cscl"]
    one = plan()
    assert list(group_summaries(summarize(one, collect_scores(one, folder)))) == ["net"]
