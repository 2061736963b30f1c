"""Rotations of folds."""

from __future__ import annotations

import pytest

from cropzoo import UsageError
from cropzoo.data.pastis.schema import make_rotations


def test_five_folds_rotate_as_those_of_pastis():
    found = ["".join(map(str, each["train"])) + f"/{each['val'][0]}/{each['test'][0]}" for each in make_rotations(5)]
    assert found == ["123/4/5", "234/5/1", "345/1/2", "451/2/3", "512/3/4"]


@pytest.mark.parametrize("folds", [3, 4, 10])
def test_every_fold_is_tested_once_and_never_learnt_from_then(folds):
    found = make_rotations(folds)
    assert sorted(each["test"][0] for each in found) == list(range(1, folds + 1))
    for each in found:
        assert sorted([*each["train"], *each["val"], *each["test"]]) == list(range(1, folds + 1))


def test_two_folds_are_too_few():
    with pytest.raises(UsageError, match=r"2 folds.*use 3"):
        make_rotations(2)
