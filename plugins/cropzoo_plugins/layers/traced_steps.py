"""Recurrences in an exported graph: one loop over all dates of a batch, in which invalid ones leave the state alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class TracedSteps:
    """The dates of a batch step by step, as `recurrent.Steps`, where numbers of dates are symbols and not known.

    Step t holds the t-th date of every sample, valid or not. `frames` are the dates of all steps as one list,
    (T * B, ...).

    Args:
        valid: (B, T), bool.
    """

    valid: Tensor

    @property
    def dates(self) -> Tensor:
        """Valid dates of each sample, (B,), int64."""
        return self.valid.sum(1)

    def gather(self, series: Tensor) -> Tensor:
        """The frames of a series, (B, T, ...) to (T * B, ...)."""
        return series.transpose(0, 1).flatten(0, 1)

    def reversed(self, frames: Tensor) -> Tensor:
        """The frames from the last date of the batch to the first, in the steps of `turned`."""
        return self._stepwise(frames).flip(0).flatten(0, 1)

    def turned(self) -> TracedSteps:
        """The steps of `reversed` frames."""
        return TracedSteps(self.valid.flip(1))

    def start(self, series: Tensor, channels: int) -> Tensor:
        """A state of zeros for a series (B, T, C, H, W): (B, channels, H, W)."""
        return series.new_zeros(series.shape[0], channels, *series.shape[-2:])  # len would make a number of the symbol

    def recur(self, cell: Callable[..., State], frames: Tensor, state: State) -> State:
        """The state of each sample after its last valid date.

        Args:
            cell: the state after a step from what the step reads, (B, ...), the state, and the number of valid dates
                of each sample before it, (B,), int64.
            frames: (T * B, ...).
            state: before the first date, (B, ...) each.
        """
        valid = self.valid.t()
        before = valid.cumsum(0) - valid.to(torch.int64)

        def step(state: State, inputs: tuple[Tensor, Tensor, Tensor]) -> tuple[State, Any]:
            frame, held, rank = inputs
            after = cell(frame, state, rank)
            held = held[:, None, None, None]
            # a state must keep the layout that it started with
            return tuple(torch.where(held, new, old).contiguous() for new, old in zip(after, state, strict=True)), ()

        state = tuple(each.clone() for each in state)  # the loop takes one tensor that is given twice for one state
        # by the sizes of the state: those of frames may be expressions, which the loop would take for numbers
        steps = self._stepwise(frames).reshape(*valid.shape, frames.shape[1], *state[0].shape[-2:])
        last, _ = torch._higher_order_ops.scan(step, state, (steps, valid, before))
        return tuple(last)

    def _stepwise(self, frames: Tensor) -> Tensor:
        batch, length = self.valid.shape
        return frames.reshape(length, batch, *frames.shape[1:])
