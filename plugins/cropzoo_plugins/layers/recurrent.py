"""Recurrence over batches of series of different lengths, without computation for padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cropzoo_plugins.layers.padding import all_valid, is_exporting, valid_first
from cropzoo_plugins.layers.traced_steps import State, TracedSteps

Cell = Callable[[Tensor, State, int | Tensor], State]
"""Function of the inputs of a step, the previous state, and the number of dates that each sample has read before, which
returns the next state. The number is the same for all samples, or, in an export, a tensor (B,), int64."""


def is_first_step(step: int | Tensor) -> bool:
    """Whether a step is known to be the first one, whose state is zero."""
    return not isinstance(step, Tensor) and step == 0


@dataclass(frozen=True)
class Steps:
    """Steps of a recurrence: step t contains the t-th valid date of each sample that has one.

    Within a step, samples are sorted by decreasing number of dates, so that the samples of a step are the first ones of
    the previous step. `frames` is the list of the dates of all steps, (N, ...), where N is the sum of `counts`.

    Args:
        counts: Number of samples in each step, not increasing.
        dates: Number of valid dates of each sample, (B,), int64.
        index: Positions of the frames in the flattened B * T dates, (N,), int64; None if all dates are valid.
        samples: Indices of the samples in their order within a step, (B,), int64; None if all dates are valid.
        backward: Permutation of the frames that reverses the dates of each sample, (N,), int64; None if all dates are
            valid.
    """

    counts: list[int]
    dates: Tensor
    index: Tensor | None = None
    samples: Tensor | None = None
    backward: Tensor | None = None

    @classmethod
    def of(cls, valid: Tensor) -> Steps | TracedSteps:
        """Create the steps from the mask of valid dates, (B, T)."""
        if is_exporting():
            return TracedSteps(valid)
        batch, length = valid.shape
        if all_valid(valid):
            return cls([batch] * length, valid.sum(1))
        order, dates = valid_first(valid)
        samples = dates.argsort(descending=True, stable=True)
        ranked, steps = dates[samples], torch.arange(length, device=valid.device)[:, None]
        held = steps < ranked
        counts = held.sum(1)
        starts = (counts.cumsum(0) - counts)[(ranked - 1 - steps).clamp(min=0)]
        return cls(
            counts=[count for count in counts.tolist() if count],
            dates=dates,
            index=(samples * length + order[samples].t())[held],
            samples=samples,
            backward=(starts + torch.arange(batch, device=valid.device))[held],
        )

    def gather(self, series: Tensor) -> Tensor:
        """Select the frames of a series, (B, T, ...) to (N, ...)."""
        if self.index is None:
            return series.transpose(0, 1).flatten(0, 1)
        return series.flatten(0, 1)[self.index]

    def reverse_frames(self, frames: Tensor) -> Tensor:
        """Reorder the frames, (N, ...), so that each sample is read from its last date to its first."""
        if self.backward is None:
            return frames.reshape(len(self.counts), -1, *frames.shape[1:]).flip(0).flatten(0, 1)
        return frames[self.backward]

    def reverse(self) -> Steps:
        """Steps of the reversed frames, which are the same."""
        return self

    def restore_order(self, state: Tensor) -> Tensor:
        """Reorder a tensor (B, ...) from the order within a step to the order of the batch."""
        return state if self.samples is None else state[self.samples.argsort()]

    def create_state(self, series: Tensor, channels: int) -> Tensor:
        """Initial state of zeros, (B, channels, H, W), for a series (B, T, C, H, W)."""
        # dtype of the series, so that sums over dates keep their precision under autocast
        state = series.new_zeros(len(series), channels, *series.shape[-2:])
        return state.contiguous(memory_format=torch.channels_last)

    def recur(self, cell: Cell, frames: Tensor, state: State) -> State:
        """State of each sample after its last date, in the order of the batch.

        Args:
            cell: Function of the inputs of a step, (n, ...), the state of its n samples, and the index of the step.
            frames: Frames of all steps, (N, ...).
            state: Initial state, (B, ...) each, equal for all samples.
        """
        finished: list[State] = []
        for step, inputs in enumerate(torch.split(frames, self.counts)):
            running = len(inputs)
            if running < len(state[0]):
                finished.append(tuple(each[running:] for each in state))
                state = tuple(each[:running] for each in state)
            state = cell(inputs, state, step)
        if not finished:
            return tuple(self.restore_order(each) for each in state)
        parts: Sequence[State] = [state, *reversed(finished)]
        return tuple(self.restore_order(torch.cat(each)) for each in zip(*parts, strict=True))
