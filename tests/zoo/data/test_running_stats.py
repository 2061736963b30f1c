"""RunningStats: exact for stored integers, the same however they are cut and merged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cropzoo import CropzooError
from cropzoo.data.running_stats import RunningStats


def pixels(dtype, *, bands=3, count=5000, seed=0):
    low = -200 if np.dtype(dtype).kind == "i" else 0
    return np.random.default_rng(seed).integers(low, 12000, (bands, count)).astype(dtype)


def whole(values):
    """Mean and sum of squared deviations in exact arithmetic, rounded once."""
    found = []
    for row in values.tolist():
        total, squares, count = sum(row), sum(value * value for value in row), len(row)
        found.append((total / count, (count * squares - total * total) / count))
    mean, squares = zip(*found, strict=True)
    return np.array(mean), np.array(squares)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint8", ">u2"])
def test_small_integers_are_summed_exactly(dtype):
    values = pixels(dtype) % 250
    moments = RunningStats(3)
    moments.add(values)
    mean, squares = whole(values)
    assert moments.count == 5000
    assert moments.mean.tolist() == mean.tolist()
    assert moments.squares.tolist() == squares.tolist()


def test_more_squares_than_a_float_can_hold_are_exact():
    count = 1 << 22  # their squares add up to more than 2^53
    values = np.full((1, count), 65535, np.uint16)
    values[0, :3] = 65534
    moments = RunningStats(1)
    moments.add(values)
    assert moments.mean.tolist() == [65535 - 3 / count]
    assert moments.squares.tolist() == [3 - 9 / count]


def test_cuts_and_the_order_of_merging_change_nothing():
    values = pixels("uint16", count=200_000)  # longer than a block
    once = RunningStats(3)
    once.add(values)
    parts = []
    for start, end in ((0, 7), (7, 7), (7, 90_001), (90_001, 200_000)):
        parts.append(RunningStats(3))
        parts[-1].add(values[:, start:end])
    merged = RunningStats(3)
    for part in reversed(parts):
        merged.merge(part)
    assert merged.as_dict() == once.as_dict()


@pytest.mark.parametrize("dtype", ["uint16", "float32", "int32"])
def test_a_mask_picks_what_counts(dtype):
    values = pixels(dtype, count=30 * 40).reshape(3, 30, 40)
    mask = np.random.default_rng(1).random((30, 40)) < 0.3
    masked, picked = RunningStats(3), RunningStats(3)
    masked.add(values, mask)
    picked.add(values[:, mask])
    assert masked.count == picked.count == mask.sum()
    np.testing.assert_allclose(masked.mean, picked.mean, rtol=1e-14)
    np.testing.assert_allclose(masked.squares, picked.squares, rtol=1e-13)
    np.testing.assert_allclose(masked.std, values[:, mask].astype(float).std(axis=1), rtol=1e-12)


def test_floats_and_integers_mix():
    values, real = pixels("int16"), np.random.default_rng(2).normal(1, 3, (3, 700))
    moments, other = RunningStats(3), RunningStats(3)
    moments.add(values)
    other.add(real)
    moments.merge(other)
    together = np.concatenate([values, real], axis=1)
    np.testing.assert_allclose(moments.mean, together.mean(axis=1), rtol=1e-13)
    np.testing.assert_allclose(moments.std, together.std(axis=1), rtol=1e-13)


def test_a_file_brings_the_state_back_to_the_last_bit():
    moments = RunningStats(3)
    moments.add(pixels("uint16"))
    moments.add(pixels("float32", seed=4) * np.float32(0.1))
    back = RunningStats.from_dict(json.loads(json.dumps(moments.as_dict())))
    assert back.as_dict() == moments.as_dict()
    assert back.mean.tolist() == moments.mean.tolist()


@pytest.mark.parametrize("state", [{}, None, {"whole": 1, "real": 2}])
def test_a_foreign_state_is_refused(state):
    with pytest.raises(CropzooError, match="delete them"):
        RunningStats.from_dict(state)


def test_a_state_of_different_bands_is_refused():
    state = RunningStats(3).as_dict()
    state["real"]["mean"] = [0.0]
    with pytest.raises(CropzooError, match="numbers of bands differ"):
        RunningStats.from_dict(state)


def test_described_moments_pool_with_the_spread_between_them():
    first, second = pixels("int16"), pixels("int16", seed=5, count=900) + 3000
    pooled = RunningStats(3)
    for part in (first, second):
        pooled.merge(RunningStats.from_moments(part.shape[1], part.mean(axis=1).tolist(), part.std(axis=1).tolist()))
    together = np.concatenate([first, second], axis=1)
    np.testing.assert_allclose(pooled.mean, together.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(pooled.std, together.std(axis=1), rtol=1e-12)


def test_no_value_has_a_mean_of_zero():
    moments = RunningStats(2)
    moments.add(np.zeros((2, 4), np.uint16), np.zeros(4, bool))
    assert moments.count == 0
    assert moments.mean.tolist() == moments.std.tolist() == [0.0, 0.0]
