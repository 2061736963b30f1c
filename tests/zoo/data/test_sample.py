"""Samples: dates taken from them."""

from __future__ import annotations

import numpy as np

from cropzoo import Sample


def test_dates_are_taken_from_series_dates_and_mask():
    clear = np.random.default_rng(0).random((4, 3, 5)) < 0.5
    sample = Sample(np.arange(4 * 2 * 3 * 5).reshape(4, 2, 3, 5), np.array([3, 5, 8, 9], np.int32), clear=clear)
    taken = sample.take_dates(np.array([1, 3]))
    assert taken.dates.tolist() == [5, 9]
    np.testing.assert_array_equal(taken.series, sample.series[[1, 3]])
    np.testing.assert_array_equal(taken.clear, clear[[1, 3]])


def test_all_dates_are_taken_without_a_copy():
    sample = Sample(np.zeros((3, 2, 4, 4), np.uint16), np.arange(3, dtype=np.int32), clear=np.ones((3, 4, 4), bool))
    taken = sample.take_dates(np.arange(3))
    assert np.shares_memory(taken.series, sample.series)
    assert taken.dates.tolist() == [0, 1, 2]
