"""Recurrences over series of several lengths: each sample reads its own dates alone, and padding costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cropzoo_plugins.layers.padding import all_valid, exporting, valid_first
from cropzoo_plugins.layers.traced_steps import State, TracedSteps

Cell = Callable[[Tensor, State, int | Tensor], State]
"""The state after a step from what the step reads, the state before, and how many dates each sample read before: a
number, which is the same for all, or, in an export, (B,), int64."""


def begins(step: int | Tensor) -> bool:
    """Whether a step is known to be the first, whose state is zero."""
    return not isinstance(step, Tensor) and step == 0


@dataclass(frozen=True)
class Steps:
    """The dates of a batch step by step: step t holds the t-th valid date of every sample that has one.

    Within a step samples stand in descending order of their number of dates, so that those of a step are the first of
    the step before. `frames` are the dates of all steps as one list, (N, ...), N = `counts` summed.

    Args:
        counts: samples of each step, not increasing.
        dates: valid dates of each sample, (B,), int64.
        index: (N,), int64, where in the flat B * T dates each frame stands; None where all dates are valid.
        samples: (B,), int64, the samples in their order within a step; None where all dates are valid.
        backward: (N,), int64, the frame that each frame makes way for when samples are read from their last date on;
            None where all dates are valid.
    """

    counts: list[int]
    dates: Tensor
    index: Tensor | None = None
    samples: Tensor | None = None
    backward: Tensor | None = None

    @classmethod
    def of(cls, valid: Tensor) -> Steps | TracedSteps:
        """The steps of these valid dates, (B, T)."""
        if exporting():
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
        """The frames of a series, (B, T, ...) to (N, ...)."""
        if self.index is None:
            return series.transpose(0, 1).flatten(0, 1)
        return series.flatten(0, 1)[self.index]

    def reversed(self, frames: Tensor) -> Tensor:
        """The frames, (N, ...), in the steps of a recurrence that reads each sample from its last date to its first."""
        if self.backward is None:
            return frames.reshape(len(self.counts), -1, *frames.shape[1:]).flip(0).flatten(0, 1)
        return frames[self.backward]

    def turned(self) -> Steps:
        """The steps of `reversed` frames: the same, as no sample has a gap."""
        return self

    def restored(self, state: Tensor) -> Tensor:
        """What belongs to samples in their order within a step, (B, ...), in the order of the batch."""
        return state if self.samples is None else state[self.samples.argsort()]

    def start(self, series: Tensor, channels: int) -> Tensor:
        """A state of zeros for a series (B, T, C, H, W): (B, channels, H, W)."""
        # of the series' type, so that sums over dates keep their precision where autocast lowers that of the frames
        state = series.new_zeros(len(series), channels, *series.shape[-2:])
        return state.contiguous(memory_format=torch.channels_last)

    def recur(self, cell: Cell, frames: Tensor, state: State) -> State:
        """The state of each sample after its own last date, in the order of the batch.

        Args:
            cell: the state after a step from what the step reads, (n, ...), the state of its n samples, and its number.
            frames: (N, ...).
            state: before the first date, (B, ...) each, alike for all samples.
        """
        finished: list[State] = []
        for step, inputs in enumerate(torch.split(frames, self.counts)):
            running = len(inputs)
            if running < len(state[0]):
                finished.append(tuple(each[running:] for each in state))
                state = tuple(each[:running] for each in state)
            state = cell(inputs, state, step)
        if not finished:
            return tuple(self.restored(each) for each in state)
        parts: Sequence[State] = [state, *reversed(finished)]
        return tuple(self.restored(torch.cat(each)) for each in zip(*parts, strict=True))
