"""Recurrence for exported graphs: one loop over all dates of a batch; invalid dates do not change the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class TracedSteps:
    """Counterpart of `recurrent.Steps` for symbolic numbers of dates.

    Step t contains the t-th date of each sample, valid or not. `frames` is the list of the dates of all steps,
    (T * B, ...).

    Args:
        valid: Mask of valid dates, (B, T), bool.
    """

    valid: Tensor

    @property
    def dates(self) -> Tensor:
        """Number of valid dates of each sample, (B,), int64."""
        return self.valid.sum(1)

    def gather(self, series: Tensor) -> Tensor:
        """Select the frames of a series, (B, T, ...) to (T * B, ...)."""
        return series.transpose(0, 1).flatten(0, 1)

    def reverse_frames(self, frames: Tensor) -> Tensor:
        """Reorder the frames from the last date of the batch to the first."""
        return self._stepwise(frames).flip(0).flatten(0, 1)

    def reverse(self) -> TracedSteps:
        """Steps of the reversed frames."""
        return TracedSteps(self.valid.flip(1))

    def create_state(self, series: Tensor, channels: int) -> Tensor:
        """Initial state of zeros, (B, channels, H, W), for a series (B, T, C, H, W)."""
        return series.new_zeros(
            series.shape[0], channels, *series.shape[-2:]
        )  # len() would replace the symbol by a number

    def recur(self, cell: Callable[..., State], frames: Tensor, state: State) -> State:
        """State of each sample after its last valid date.

        Args:
            cell: Function of the inputs of a step, (B, ...), the state, and the number of valid dates of each sample
                before the step, (B,), int64.
            frames: Frames of all steps, (T * B, ...).
            state: Initial state, (B, ...) each.
        """
        valid = self.valid.t()
        before = valid.cumsum(0) - valid.to(torch.int64)

        def step(state: State, inputs: tuple[Tensor, Tensor, Tensor]) -> tuple[State, Any]:
            frame, held, rank = inputs
            after = cell(frame, state, rank)
            held = held[:, None, None, None]
            # scan requires that the memory layout of the state does not change
            return tuple(torch.where(held, new, old).contiguous() for new, old in zip(after, state, strict=True)), ()

        state = tuple(each.clone() for each in state)  # scan merges state tensors that are the same object
        # sizes of the state, because those of frames may be expressions, which scan would replace by numbers
        steps = self._stepwise(frames).reshape(*valid.shape, frames.shape[1], *state[0].shape[-2:])
        last, _ = torch._higher_order_ops.scan(step, state, (steps, valid, before))
        return tuple(last)

    def _stepwise(self, frames: Tensor) -> Tensor:
        batch, length = self.valid.shape
        return frames.reshape(length, batch, *frames.shape[1:])
