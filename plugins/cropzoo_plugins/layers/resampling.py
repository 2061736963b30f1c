"""Resampling of weights along the date dimension."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resample_weight(state: dict[str, Tensor], key: str, length: int, axis: int) -> dict[str, Tensor]:
    """Interpolate one weight of a state dict to another number of dates.

    The values are scaled, so that their sum over the dates is preserved.

    Args:
        state: State dict; returned unchanged if the weight is missing or already has this length.
        key: Key of the weight.
        length: Number of dates.
        axis: Date dimension of the weight.
    """
    weight = state.get(key)
    if weight is None or weight.ndim <= axis or weight.shape[axis] == length:
        return state
    lines = weight.float().movedim(axis, -1)
    resized = F.interpolate(lines.reshape(1, -1, lines.shape[-1]), size=length, mode="linear", align_corners=False)
    scaled = resized.reshape(*lines.shape[:-1], length) * (weight.shape[axis] / length)
    return {**state, key: scaled.movedim(-1, axis).to(weight.dtype).contiguous()}
