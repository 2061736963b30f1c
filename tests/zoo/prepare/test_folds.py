"""Dealing blocks of ground to folds."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo.errors import CropzooError
from cropzoo.prepare.folds import assign_folds, find_block, fit_block_size


def test_every_fold_gets_a_block_even_where_classes_are_few() -> None:
    counts = np.zeros((5, 3), np.int64)
    counts[0] = 1000
    assert sorted(assign_folds(counts, 5, seed=0)) == [1, 2, 3, 4, 5]


def test_classes_are_spread_over_the_folds() -> None:
    """A rare class of five blocks among forty comes to all five folds; random dealing would do so in 4 % of cases."""
    generator = np.random.default_rng(0)
    for seed in range(20):
        counts = generator.integers(500, 1500, (40, 4))
        counts[:, 3] = 0
        counts[generator.permutation(40)[:5], 3] = 100
        folds = np.array(assign_folds(counts, 5, seed))
        by_fold = np.stack([counts[folds == fold].sum(axis=0) for fold in range(1, 6)])
        assert (by_fold[:, 3] == 100).all()
        assert (by_fold[:, :3] / counts[:, :3].sum(axis=0)).max() < 0.3


def test_the_same_seed_deals_the_same_way_and_another_does_not() -> None:
    counts = np.random.default_rng(1).integers(0, 50, (30, 5))
    assert assign_folds(counts, 5, 3) == assign_folds(counts, 5, 3)
    assert assign_folds(np.ones((30, 1), np.int64), 5, 3) != assign_folds(np.ones((30, 1), np.int64), 5, 4)


def test_fewer_blocks_than_folds_is_an_error() -> None:
    with pytest.raises(CropzooError, match="5 folds; there are only 4 blocks"):
        assign_folds(np.ones((4, 2), np.int64), 5, 0)


@pytest.mark.parametrize(
    ("block", "sizes", "expected"),
    [(512, [(5000, 5000)], 512), (512, [(1024, 1024)], 256), (512, [(64, 64)], 128), (300, [(9000, 9000)], 256)],
)
def test_blocks_shrink_until_the_folds_are_filled(block: int, sizes: list[tuple[int, int]], expected: int) -> None:
    assert fit_block_size(block, 128, sizes, 5) == expected


def test_block_of() -> None:
    assert find_block(511, 512, 512) == (0, 1)
