"""Selection of the observations of a pixel, as TESSERA does it."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST = 256
"""Largest number of selected observations."""

_STEP = 8
"""The number of selected observations is a multiple of it."""


def count_uses(observed: Tensor) -> Tensor:
    """How often each observation of a pixel is selected.

    The n observations of a pixel become N, the smallest multiple of 8 that is not below n, or 256 if n is larger. Some
    of fewer than N observations are selected more than once, and some of more than 256 not at all.

    Args:
        observed: Mask of observations, (S, T), bool.

    Returns:
        Number of times, (S, T), int64; 0 where `observed` is False. The sum of a pixel is N, or 0 without observations.

    Source: The published inference of TESSERA v2, github.com/ucam-eo/tessera at ef4f0ac, as an equation of the rank of
        an observation: there is no loop, and no shape depends on values.
    """
    rank = observed.cumsum(1) - 1
    count = observed.sum(1, keepdim=True)
    more = ((count + _STEP - 1) // _STEP * _STEP).clamp(max=LARGEST) - count
    uses = observed.long() * (1 + _count_repeats(rank, count, more))
    if not torch.compiler.is_compiling() and observed.shape[1] <= LARGEST:
        return uses
    return torch.where(count > LARGEST, observed & _is_kept(rank, count), uses)


def _count_repeats(rank: Tensor, count: Tensor, more: Tensor) -> Tensor:
    """How often an observation is selected once more, if `more` of `count` observations are.

    `more` consecutive parts of the observations each give their middle one. If there are more repeats than
    observations, they are taken in turns.
    """
    length, longer = count // more.clamp(min=1), count % more.clamp(min=1)
    edge = longer * (length + 1)  # the first parts are one observation longer
    in_longer = rank < edge
    place = torch.where(in_longer, rank % (length + 1), (rank - edge) % length.clamp(min=1))
    middle = (place == (length + in_longer) // 2) & (more > 0)
    turns = (more - rank + count - 1) // count.clamp(min=1)
    return torch.where(more > count, turns, middle)


def _is_kept(rank: Tensor, count: Tensor) -> Tensor:
    """Whether an observation is one of 256 at equal steps from the first to the last, if there are more.

    The k-th of them has rank floor(k * step), in float64 as in the published code. An observation is kept if a k of
    about rank / step has its rank.
    """
    step = (count - 1).double() / (LARGEST - 1)
    nearest = (rank / step.clamp(min=1)).round()
    kept = rank == count - 1
    for k in (nearest - 1, nearest, nearest + 1):
        kept = kept | (((k * step).floor() == rank) & (k < LARGEST - 1) & (k >= 0))
    return kept
