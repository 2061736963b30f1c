"""Majority labels, and draws of labeled pixels."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo import Sample
from cropzoo.data.pixels import DrawnPixels, coarse_labels, draw_uniformly, share_evenly


def make(labels, size=None):
    labels = np.asarray(labels)
    rows, columns = size or labels.shape
    return Sample(np.zeros((2, 1, rows, columns), np.uint16), np.array([10, 20], np.int32), labels=labels)


def test_finer_labels_become_those_of_the_majority():
    labels = np.array([[0, 0, 1, 255], [0, 2, 255, 255], [3, 3, 4, 4], [3, 3, 4, 5]], np.uint8)
    sample = make(labels, (2, 2))
    assert coarse_labels(sample).tolist() == [[0, 255], [3, 4]]
    assert coarse_labels(sample, 2).tolist() == labels.tolist()
    fine = make(np.kron(labels, np.ones((2, 2), int)), (2, 2))
    assert coarse_labels(fine).tolist() == [[0, 255], [3, 4]]
    assert coarse_labels(fine, 2).tolist() == labels.tolist()
    assert coarse_labels(Sample(sample.series, sample.dates)).tolist() == [[255, 255], [255, 255]]


@pytest.mark.parametrize(
    ("counts", "limit", "shares"),
    [
        ([5, 100, 100], 65, [5, 30, 30]),
        ([5, 100, 0, 40], 1000, [5, 100, 0, 40]),
        ([10, 10, 10], 7, [2, 2, 3]),
        ([1, 1000], 2, [1, 1]),
        ([0, 0], 5, [0, 0]),
    ],
)
def test_classes_get_even_shares(counts, limit, shares):
    found = share_evenly(np.array(counts), limit)
    assert found.tolist() == shares


def test_pixels_are_drawn_evenly_from_classes_and_randomly_from_samples():
    rng = np.random.default_rng(0)
    samples = [make(rng.choice([0, 1, 2, 255], (12, 15), p=[0.02, 0.48, 0.3, 0.2]).astype(np.uint8)) for _ in range(6)]
    drawn = DrawnPixels(samples, 4, 200, seed=3)
    rare = sum(int((sample.labels == 0).sum()) for sample in samples)
    assert drawn.counts.sum() == 200
    assert drawn.counts[0] == rare < 66
    assert abs(drawn.counts[1] - drawn.counts[2]) <= 1
    assert drawn.counts[3] == 0
    found = [drawn[number].labels for number in range(6)]
    assert np.bincount(np.concatenate([labels.ravel() for labels in found]), minlength=256)[:4].tolist() == list(
        drawn.counts
    )
    for labels, sample in zip(found, samples, strict=True):
        kept = labels != 255
        assert (labels[kept] == sample.labels[kept]).all()
        assert 10 < kept.sum() < 60
    assert all(np.array_equal(drawn[5 - number].labels, found[5 - number]) for number in range(6))
    again = DrawnPixels(samples, 4, 200, seed=3)
    assert all(np.array_equal(again[number].labels, found[number]) for number in range(6))
    other = DrawnPixels(samples, 4, 200, seed=4)
    assert not all(np.array_equal(other[number].labels, found[number]) for number in range(6))
    every = DrawnPixels(samples, 4, 10**6, seed=3)
    assert all(np.array_equal(every[number].labels, samples[number].labels) for number in range(6))


def test_uniform_draws_are_bounded_and_repeat():
    labels = [np.array([0, 255, 1, 1]), np.array([255, 255]), np.arange(50) % 3]
    flat = draw_uniformly(labels, 20, 0)
    assert sum(map(len, flat)) == 20
    assert all((values[places] != 255).all() for values, places in zip(labels, flat, strict=True))
    assert [places.tolist() for places in draw_uniformly(labels, 20, 0)] == [places.tolist() for places in flat]
    assert sum(map(len, draw_uniformly(labels, 1000, 0))) == 53
