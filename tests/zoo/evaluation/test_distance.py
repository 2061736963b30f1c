"""Accuracy by distance, against counting pixel by pixel."""

from __future__ import annotations

import numpy as np
import torch

from cropzoo.data.boundary import DISTANCE_SHIFT, MAX_DISTANCE, OF_PARCELS, boundary_bits
from cropzoo.evaluation.metrics import DistanceAccuracy


def bits_of(*distances: int, parcels: bool = False) -> torch.Tensor:
    return torch.tensor([(d << DISTANCE_SHIFT) | (OF_PARCELS if parcels else 0) for d in distances], dtype=torch.uint8)


def test_counts_add_up_over_batches() -> None:
    generator = np.random.default_rng(0)
    metric, pixels, correct = DistanceAccuracy(), [0] * MAX_DISTANCE, [0] * MAX_DISTANCE
    for _ in range(3):
        parcels = generator.integers(1, 3, (3, 3)).repeat(11, 0).repeat(11, 1).astype(np.int32)
        bits = boundary_bits(np.zeros((33, 33), np.uint8), parcels).ravel()
        right = generator.random(bits.size) < 0.7
        metric.update(torch.from_numpy(bits), torch.from_numpy(right))
        for each, hit in zip((bits >> DISTANCE_SHIFT).tolist(), right.tolist(), strict=True):
            pixels[each - 1] += 1
            correct[each - 1] += hit
    assert metric.compute() == {"of": "parcels", "pixels": pixels, "correct": correct}
    assert sum(pixels) == 3 * 33 * 33
    metric.reset()
    metric.update(bits_of(2), torch.tensor([False]))
    assert metric.compute() == {"of": "classes", "pixels": [0, 1] + [0] * 6, "correct": [0] * 8}


def test_unknown_distances_are_not_counted() -> None:
    metric = DistanceAccuracy()
    metric.update(bits_of(0, 0), torch.tensor([True, False]))
    assert metric.compute() is None
    metric.update(bits_of(2, 0, 2), torch.tensor([True, True, False]))
    assert metric.compute() == {"of": "classes", "pixels": [0, 2] + [0] * 6, "correct": [0, 1] + [0] * 6}


def test_samples_with_parcels_are_not_mixed_with_others() -> None:
    metric = DistanceAccuracy()
    metric.update(bits_of(1, 1, 3), torch.tensor([True, True, True]))
    metric.update(bits_of(8, parcels=True), torch.tensor([True]))
    assert metric.compute() == {"of": "parcels", "pixels": [0] * 7 + [1], "correct": [0] * 7 + [1]}
