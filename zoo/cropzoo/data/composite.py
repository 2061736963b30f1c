"""Composites: medians of the clear values of a series in steps of time, in PyTorch and in NumPy."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def composite(series: Tensor, slots: Tensor, clear: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Median of the clear values of each step; of an even number of values the mean of the two middle ones.

    The shapes of the results depend on no value, and nothing waits for the device, so that the function can be
    compiled and exported.

    Args:
        series: (B, T, C, H, W), floating point; values that are not clear may be anything, also NaN.
        slots: (B, T), int64, the step of each date, in any order; dates outside 0..steps-1, such as padding with -1,
            are not used.
        clear: (B, T, H, W), bool.
        steps: number of steps, S.

    Returns:
        Medians (B, S, C, H, W) in the type of `series`, 0 where a step has no clear value, and whether it has one
        (B, S, H, W), bool.
    """
    used = (slots >= 0) & (slots < steps)
    usable = clear & used[:, :, None, None]
    # Two sorts give the order by step and value: by value, then by a key of the step and the position, which is unique
    # and therefore needs no stable sort. A date that is not used comes last.
    step = torch.where(usable, slots[:, :, None, None], steps)[:, :, None].expand(series.shape)
    values, order = series.masked_fill(~usable[:, :, None], 0.0).sort(dim=1)
    length = series.shape[1]
    position = torch.arange(length, device=series.device).view(1, -1, 1, 1, 1)
    order = (step.gather(1, order) * length + position).argsort(dim=1)
    values = values.gather(1, order)

    member = (slots[:, None] == torch.arange(steps, device=slots.device)[:, None]).to(series.dtype)
    count = torch.einsum("bst,bthw->bshw", member, usable.to(series.dtype)).round().to(torch.int64)
    start = count.cumsum(dim=1) - count
    present = count > 0
    shape = (-1, -1, series.shape[2], -1, -1)
    low, high = (
        values.gather(1, (start + middle).clamp(0, length - 1)[:, :, None].expand(shape))
        for middle in ((count - 1).clamp(min=0) // 2, count // 2)
    )
    return ((low + high) / 2).masked_fill(~present[:, :, None], 0.0), present


def composite_array(
    series: NDArray[np.generic], slots: NDArray[np.int64], clear: NDArray[np.bool_], steps: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """`composite` of one sample in NumPy.

    Args:
        series: (T, C, ...), any type of numbers.
        slots: (T,), int64, the step of each date; dates outside 0..steps-1 are not used.
        clear: (T, ...), bool.
        steps: number of steps, S.

    Returns:
        Medians (S, C, ...), float32, 0 where a step has no clear value, and whether it has one (S, ...), bool.
    """
    median = np.zeros((steps, *series.shape[1:]), np.float32)
    present = np.zeros((steps, *clear.shape[1:]), bool)
    for step in range(steps):
        dates = slots == step
        if dates.any():
            median[step], present[step] = _clear_median(series[dates].astype(np.float32), clear[dates])
    return median, present


def _clear_median(
    values: NDArray[np.float32], clear: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Median over clear dates, (C, ...), and whether there is a clear value, (...)."""
    ordered = np.sort(np.where(clear[:, None], values, np.inf), axis=0)
    count = clear.sum(axis=0)
    middle = [np.maximum(position, 0)[None, None] for position in ((count - 1) // 2, count // 2)]
    low, high = (np.take_along_axis(ordered, np.minimum(place, len(values) - 1), axis=0)[0] for place in middle)
    present = count > 0
    return np.where(present, (np.where(present, low, 0) + np.where(present, high, 0)) / 2, 0), present


def fill_gaps(median: Tensor, present: Tensor) -> Tensor:
    """Composites whose missing steps are interpolated linearly between the nearest present ones.

    Before the first and after the last present step, its value is repeated.

    Args:
        median: (B, S, C, H, W), floating point, of `composite`.
        present: (B, S, H, W), bool.

    Returns:
        (B, S, C, H, W); 0 where no step is present.
    """
    steps = median.shape[1]
    before, after = ([torch.full_like(present[:, 0], end, dtype=torch.int64)] for end in (-1, steps))
    # A loop, since a cumulative maximum cannot be exported to ONNX; the number of steps is fixed.
    for step in range(steps):
        before.append(torch.where(present[:, step], step, before[-1]))
        after.append(torch.where(present[:, steps - 1 - step], steps - 1 - step, after[-1]))
    low, high = torch.stack(before[1:], dim=1), torch.stack(after[:0:-1], dim=1)
    low, high = torch.where(low < 0, high, low), torch.where(high == steps, low, high)
    index = torch.arange(steps, device=median.device).view(1, -1, 1, 1)
    share = ((index - low).to(median.dtype) / (high - low).clamp(min=1)).clamp(0, 1)[:, :, None]
    first, second = (
        median.gather(1, place.clamp(0, steps - 1)[:, :, None].expand(median.shape)) for place in (low, high)
    )
    return torch.where(present.any(dim=1, keepdim=True)[:, :, None], first * (1 - share) + second * share, 0.0)


def fill_gaps_array(median: NDArray[np.float32], present: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`fill_gaps` of one sample in NumPy: (S, C, ...) and (S, ...) to (S, C, ...), float32."""
    steps = len(present)
    index = np.arange(steps).reshape(-1, *[1] * (present.ndim - 1))
    before = np.maximum.accumulate(np.where(present, index, -1), axis=0)
    after = np.minimum.accumulate(np.where(present, index, steps)[::-1], axis=0)[::-1]
    before, after = np.where(before < 0, after, before), np.where(after == steps, before, after)
    share = ((index - before) / np.maximum(after - before, 1)).clip(0, 1).astype(np.float32)[:, None]
    low, high = (np.take_along_axis(median, np.clip(place, 0, steps - 1)[:, None], axis=0) for place in (before, after))
    return np.where(np.logical_or.reduce(present)[None, None], low * (1 - share) + high * share, np.float32(0))
