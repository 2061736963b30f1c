"""Differences of answers, and what counts as agreement."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo.inference.export.verify import TOLERANCE, compare_outputs, within_tolerance


def run(logits: float, chance: float, shape: tuple[int, ...] = (2, 3, 4, 4)):  # type: ignore[no-untyped-def]
    return np.full(shape, logits, np.float32), np.full(shape, chance, np.float32)


def test_largest_over_all_answers() -> None:
    found = compare_outputs([run(1, 0.5), run(3, 0.5)], [run(1, 0.5), run(3.5, 0.75)])
    assert (found.series, found.logits, found.probabilities) == (4, 0.5, 0.25)
    assert found.relative == pytest.approx(0.5 / 3.5)
    assert found.largest == 0.25
    assert not within_tolerance(found)


def test_large_logits_are_measured_by_their_size() -> None:
    assert within_tolerance(compare_outputs([run(1000.05, 0.5)], [run(1000, 0.5)]))
    assert not within_tolerance(compare_outputs([run(1.0, 0.5)], [run(1.0 + 2 * TOLERANCE, 0.5)]))


@pytest.mark.parametrize("other", [run(np.nan, 0.5), run(1, 0.5, (2, 3, 4, 5))])
def test_what_is_no_number_or_of_another_shape_does_not_agree(other) -> None:  # type: ignore[no-untyped-def]
    assert not within_tolerance(compare_outputs([other], [run(1, 0.5)]))
