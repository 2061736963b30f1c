"""Convolutional GRU and LSTM over the steps of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo_plugins.layers.recurrent import Cell, Steps, begins
from cropzoo_plugins.layers.step_norm import StepBatchNorm
from cropzoo_plugins.layers.traced_steps import State, TracedSteps


def convolution(channels: int, filters: int) -> nn.Conv2d:
    """A convolution of kernel 3 that keeps the size of the image."""
    return nn.Conv2d(channels, filters, kernel_size=3, padding=1)


def convolved(frames: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The convolution of kernel 3 with zero padding, (n, C, H, W) to (n, filters, H, W)."""
    return F.conv2d(frames, weight, bias, padding=1)


def last(weight: Tensor) -> Tensor:
    """A convolution's weight laid out with channels last: it is converted once here, not at every step."""
    return weight.contiguous(memory_format=torch.channels_last)


class ConvGRU(nn.Module):
    """A convolutional GRU: update and reset gates, and an output gate that sees the state after the reset.

    Each gate is one convolution on [input, state], split in the two where it is used, so that the inputs of all dates
    are convolved in one call.

    Args:
        channels: of the input.
        hidden: of the state.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.update_gate = convolution(channels + hidden, hidden)
        self.reset_gate = convolution(channels + hidden, hidden)
        self.out_gate = convolution(channels + hidden, hidden)

    def forward(self, frames: Tensor, steps: Steps | TracedSteps, start: Tensor) -> Tensor:
        """The state of each sample after its last date, (B, hidden, H, W), from frames (N, channels, H, W)."""
        gates = (self.update_gate, self.reset_gate, self.out_gate)
        weight = torch.cat([gate.weight for gate in gates])
        bias = torch.cat([gate.bias for gate in gates if gate.bias is not None])
        inputs = convolved(frames, last(weight[:, : self.channels]), bias)
        both = last(weight[: 2 * self.hidden, self.channels :])
        out = last(weight[2 * self.hidden :, self.channels :])

        def cell(inputs: Tensor, state: State, step: int | Tensor) -> State:
            (h,) = state
            gates, new = inputs.tensor_split([2 * self.hidden], 1)
            if not begins(step):  # the first state is zero, and so are its convolutions
                gates = convolved(h, both).add_(gates)
            update, reset = gates.sigmoid().chunk(2, 1)
            if not begins(step):
                new = convolved(reset * h, out).add_(new)
            return (h + update * (new.tanh() - h),)

        return steps.recur(cell, inputs, (start,))[0]


class ConvLSTM(nn.Module):
    """A convolutional LSTM: one convolution on [input, state] for its gates, split in the two where it is used.

    Args:
        channels: of the input.
        hidden: of the state.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.channels = channels
        self.gates = convolution(channels + hidden, 4 * hidden)

    def forward(self, frames: Tensor, steps: Steps | TracedSteps, start: Tensor) -> Tensor:
        """The memory c of each sample after its last date, (B, hidden, H, W), from frames (N, channels, H, W)."""
        inputs = convolved(frames, last(self.gates.weight[:, : self.channels]), self.gates.bias)
        recurrent = last(self.gates.weight[:, self.channels :])

        def cell(inputs: Tensor, state: State, step: int | Tensor) -> State:
            h, c = state
            c, output = _remembered(inputs if begins(step) else convolved(h, recurrent).add_(inputs), c)
            return output * c.tanh(), c

        return steps.recur(cell, inputs, (start, start))[1]


class NormedConvLSTM(nn.Module):
    """A convolutional LSTM with batch norm on both of its convolutions and on the memory that it gives out.

    Args:
        channels: of the input.
        hidden: of the state.
        length: steps that have batch statistics of their own.
    """

    def __init__(self, channels: int, hidden: int, length: int) -> None:
        super().__init__()
        self.input_conv = convolution(channels, 4 * hidden)
        self.h_conv = convolution(hidden, 4 * hidden)
        self.input_norm = StepBatchNorm(4 * hidden, length)
        self.h_norm = StepBatchNorm(4 * hidden, length)
        self.cell_norm = StepBatchNorm(hidden, length)

    def forward(self, frames: Tensor, steps: Steps | TracedSteps, start: Tensor) -> Tensor:
        """The sum over each sample's dates of the state h, (B, hidden, H, W), from frames (N, channels, H, W)."""
        inputs = convolved(frames, last(self.input_conv.weight), self.input_conv.bias)
        if isinstance(steps, TracedSteps):
            return steps.recur(self._ranked_cell(), inputs, (start, start, start))[2]
        cell = self._training_cell if self.training else self._folded_cell(len(steps.counts))
        return steps.recur(cell, inputs, (start, start, start))[2]

    def _training_cell(self, inputs: Tensor, state: State, step: int | Tensor) -> State:
        assert isinstance(step, int)
        h, c, total = state
        # of the first state, all zero, the convolution is its bias wherever one looks
        recurrent = self.h_conv(h) if step else self.h_conv(h[:1, :, :1, :1]).expand_as(inputs)
        c, output = _remembered(self.h_norm(recurrent, step) + self.input_norm(inputs, step), c)
        h = output * self.cell_norm(c.tanh(), step)
        return h, c, total + h

    def _folded_cell(self, steps: int) -> Cell:
        """The same in evaluation: norms are scales and shifts, those of the state's convolution part of its weight."""
        input_scale, input_shift = self.input_norm.affine(steps)
        h_scale, h_shift = self.h_norm.affine(steps)
        cell_scale, cell_shift = (each[:, :, None, None] for each in self.cell_norm.affine(steps))
        bias = h_shift + input_shift
        if self.h_conv.bias is not None:
            bias = bias + h_scale * self.h_conv.bias
        weight = last(self.h_conv.weight)

        def cell(inputs: Tensor, state: State, step: int | Tensor) -> State:
            h, c, total = state
            if not begins(step):
                recurrent = convolved(h, weight * h_scale[step, :, None, None, None], bias[step])
            else:
                recurrent = bias[step, :, None, None]
            c, output = _remembered(torch.addcmul(recurrent, inputs, input_scale[step, :, None, None]), c)
            h = output * torch.addcmul(cell_shift[step], c.tanh(), cell_scale[step])
            return h, c, total + h

        return cell

    def _ranked_cell(self) -> Cell:
        """The same where samples have read different numbers of dates before a step: each has its own statistics."""
        norms = self.input_norm, self.h_norm, self.cell_norm
        tables = [norm.affine(len(norm.running_mean)) for norm in norms]
        weight, last_row = last(self.h_conv.weight), len(self.input_norm.running_mean) - 1

        def cell(inputs: Tensor, state: State, step: int | Tensor) -> State:
            h, c, total = state
            rows = torch.as_tensor(step).clamp(max=last_row)
            scaled = [(scale[rows][:, :, None, None], shift[rows][:, :, None, None]) for scale, shift in tables]
            (input_scale, input_shift), (h_scale, h_shift), (cell_scale, cell_shift) = scaled
            recurrent = convolved(h, weight, self.h_conv.bias) * h_scale + h_shift
            c, output = _remembered(recurrent + inputs * input_scale + input_shift, c)
            h = output * (c.tanh() * cell_scale + cell_shift)
            return h, c, total + h

        return cell


def _remembered(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The memory after a step, and the output gate, from gates (n, 4 * hidden, H, W) in the order i, f, o, g."""
    into, forget, output, new = gates.chunk(4, 1)
    # tanh takes three times as long where its numbers do not lie side by side
    new = new.contiguous(memory_format=torch.channels_last).tanh()
    return torch.addcmul(forget.sigmoid() * c, into.sigmoid(), new), output.sigmoid()
