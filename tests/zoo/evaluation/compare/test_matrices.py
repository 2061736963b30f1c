"""Scores of matrices against those that a run reports."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cropzoo.evaluation.compare.summary import compute_score
from cropzoo.evaluation.metrics import region_metrics, region_scores

CLASSES = ("a", "b", "c", "d", "e")


@pytest.mark.parametrize("absent", [(), (1,), (0, 4)])
@pytest.mark.parametrize("name", ["oa", "miou", "macro_f1"])
def test_a_score_is_that_of_torchmetrics(name, absent):
    """Also where a class has no pixel, which predictions name all the same."""
    draws = np.random.default_rng(len(absent))
    labels = draws.choice([k for k in range(5) if k not in absent], 400)
    predictions = np.where(draws.random(400) < 0.5, labels, draws.integers(5, size=400))
    metrics = region_metrics(len(CLASSES))
    metrics.update(torch.tensor(predictions)[None], torch.tensor(labels)[None])
    messages = region_scores(metrics.compute(), CLASSES)
    assert compute_score(np.array(messages["confusion"]), name) == pytest.approx(messages[name], abs=1e-6)


def test_a_class_that_is_never_predicted_nor_there_counts_for_nothing():
    matrix = np.array([[6, 2, 0], [1, 1, 0], [0, 0, 0]])
    assert compute_score(matrix, "oa") == 7 / 10
    assert compute_score(matrix, "miou") == pytest.approx((6 / 9 + 1 / 4) / 2)
    assert compute_score(matrix, "macro_f1") == pytest.approx((12 / 15 + 2 / 5) / 2)


def test_many_at_once_are_as_one_by_one():
    matrices = np.random.default_rng(0).integers(0, 50, (3, 2, 4, 4))
    for name in ("oa", "miou", "macro_f1"):
        found = compute_score(matrices, name)
        assert found.shape == (3, 2)
        assert found[2, 1] == compute_score(matrices[2, 1], name)


def test_nothing_scores_nothing():
    assert np.isnan(compute_score(np.zeros((2, 3, 3), int), "miou")).all()
