"""Weights of dates for another number of dates than they were trained at."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resampled(state: dict[str, Tensor], key: str, length: int, axis: int) -> dict[str, Tensor]:
    """A state dict with one of its weights interpolated to `length` dates.

    The values are scaled too, so that the sum over more dates is no greater.

    Args:
        state: of a network that may have been built for another length; returned as it is where nothing is to be done.
        key: of the weight.
        length: dates that are wanted.
        axis: of the weight, along which its dates lie.
    """
    weight = state.get(key)
    if weight is None or weight.ndim <= axis or weight.shape[axis] == length:
        return state
    lines = weight.float().movedim(axis, -1)
    resized = F.interpolate(lines.reshape(1, -1, lines.shape[-1]), size=length, mode="linear", align_corners=False)
    scaled = resized.reshape(*lines.shape[:-1], length) * (weight.shape[axis] / length)
    return {**state, key: scaled.movedim(-1, axis).to(weight.dtype).contiguous()}
