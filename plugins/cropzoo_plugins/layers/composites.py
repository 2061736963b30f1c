"""Composites of the clear values of series by month or another step, as inputs of pretrained networks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from cropzoo.data.composite import composite
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.dates import find_slots


class Composites(NamedTuple):
    """Composites of a batch.

    Args:
        median: Medians of the clear values, (B, S, C, H, W); 0 where a step has none.
        present: Mask of steps with a clear value, (B, S, H, W), bool.
        steps: The steps, (B, S), int64, such as months since January 1970.
        positions: Steps since the first one of the series, (B, S), int64, at most that of the last row of the table.
        too_long: Whether a series spans more steps than the table of positions has rows, (B,), bool.
        longest: Number of steps that the longest series spans, if its values are known to the host, else 0.
    """

    median: Tensor
    present: Tensor
    steps: Tensor
    positions: Tensor
    too_long: Tensor
    longest: int


def compose(
    series: Tensor, steps: Tensor, valid: Tensor, *, clear: Tensor | None, padded: bool, most: int
) -> Composites:
    """Compute the composites of the distinct steps of each series.

    Args:
        series: Reflectance, (B, T, C, H, W), float.
        steps: Step of each date, (B, T), int64, such as `months_of` returns.
        valid: Mask of valid dates, (B, T), bool.
        clear: Mask of clear pixels, (B, T, H, W), bool; None if all are clear.
        padded: Whether any date is invalid.
        most: Number of rows of the table of positions of the network.
    """
    found = find_slots(steps, valid, most)
    first = found.steps.amin(1, keepdim=True)
    last = (steps - first).masked_fill(~valid, 0).amax(1)
    longest = int(last.amax()) + 1 if chunks.is_faster(last) else 0
    usable = valid[:, :, None, None].expand(-1, -1, *series.shape[-2:])
    if clear is not None:
        usable = clear & usable if padded else clear
    median, present = composite(series, found.slots, usable, found.used.shape[1])
    positions = (found.steps - first).clamp(max=most - 1)
    return Composites(median, present, found.steps, positions, last >= most, longest)
