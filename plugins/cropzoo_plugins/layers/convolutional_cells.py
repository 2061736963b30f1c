"""Convolutional GRU and LSTM over the dates of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo_plugins.layers.recurrent import Cell, Steps, is_first_step
from cropzoo_plugins.layers.step_norm import StepBatchNorm
from cropzoo_plugins.layers.traced_steps import State, TracedSteps


def conv3x3(channels: int, filters: int) -> nn.Conv2d:
    """Convolution of kernel 3 that preserves the image size."""
    return nn.Conv2d(channels, filters, kernel_size=3, padding=1)


def convolve(frames: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve with kernel 3 and zero padding, (n, C, H, W) to (n, filters, H, W)."""
    return F.conv2d(frames, weight, bias, padding=1)


def to_channels_last(weight: Tensor) -> Tensor:
    """Convert the weight of a convolution to channels last once, instead of at each step."""
    return weight.contiguous(memory_format=torch.channels_last)


class ConvGRU(nn.Module):
    """Convolutional GRU with update and reset gates, and an output gate that reads the state after the reset.

    Each gate is one convolution of [input, state]. Its weight is split into the two parts, so that the inputs of all
    dates are convolved in one call.

    Args:
        channels: Number of input channels.
        hidden: Number of state channels.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.update_gate = conv3x3(channels + hidden, hidden)
        self.reset_gate = conv3x3(channels + hidden, hidden)
        self.out_gate = conv3x3(channels + hidden, hidden)

    def forward(self, frames: Tensor, steps: Steps | TracedSteps, start: Tensor) -> Tensor:
        """State of each sample after its last date, (B, hidden, H, W), from frames (N, channels, H, W)."""
        gates = (self.update_gate, self.reset_gate, self.out_gate)
        weight = torch.cat([gate.weight for gate in gates])
        bias = torch.cat([gate.bias for gate in gates if gate.bias is not None])
        inputs = convolve(frames, to_channels_last(weight[:, : self.channels]), bias)
        both = to_channels_last(weight[: 2 * self.hidden, self.channels :])
        out = to_channels_last(weight[2 * self.hidden :, self.channels :])

        def cell(inputs: Tensor, state: State, step: int | Tensor) -> State:
            (h,) = state
            gates, new = inputs.tensor_split([2 * self.hidden], 1)
            if not is_first_step(step):  # the first state is zero, and so are its convolutions
                gates = convolve(h, both).add_(gates)
            update, reset = gates.sigmoid().chunk(2, 1)
            if not is_first_step(step):
                new = convolve(reset * h, out).add_(new)
            return (h + update * (new.tanh() - h),)

        return steps.recur(cell, inputs, (start,))[0]


class ConvLSTM(nn.Module):
    """Convolutional LSTM whose gates are one convolution of [input, state], computed in two parts.

    Args:
        channels: Number of input channels.
        hidden: Number of state channels.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.channels = channels
        self.gates = conv3x3(channels + hidden, 4 * hidden)

    def forward(self, frames: Tensor, steps: Steps | TracedSteps, start: Tensor) -> Tensor:
        """Cell state of each sample after its last date, (B, hidden, H, W), from frames (N, channels, H, W)."""
        inputs = convolve(frames, to_channels_last(self.gates.weight[:, : self.channels]), self.gates.bias)
        recurrent = to_channels_last(self.gates.weight[:, self.channels :])

        def cell(inputs: Tensor, state: State, step: int | Tensor) -> State:
            h, c = state
            c, output = _update_cell(inputs if is_first_step(step) else convolve(h, recurrent).add_(inputs), c)
            return output * c.tanh(), c

        return steps.recur(cell, inputs, (start, start))[1]


class NormedConvLSTM(nn.Module):
    """Convolutional LSTM with batch norm on both convolutions and on the output cell state.

    Args:
        channels: Number of input channels.
        hidden: Number of state channels.
        length: Number of steps with separate batch statistics.
    """

    def __init__(self, channels: int, hidden: int, length: int) -> None:
        super().__init__()
        self.input_conv = conv3x3(channels, 4 * hidden)
        self.h_conv = conv3x3(hidden, 4 * hidden)
        self.input_norm = StepBatchNorm(4 * hidden, length)
        self.h_norm = StepBatchNorm(4 * hidden, length)
        self.cell_norm = StepBatchNorm(hidden, length)

    def forward(self, frames: Tensor, steps: Steps | TracedSteps, start: Tensor) -> Tensor:
        """Sum of the hidden state over the dates of each sample, (B, hidden, H, W), from frames (N, channels, H, W)."""
        inputs = convolve(frames, to_channels_last(self.input_conv.weight), self.input_conv.bias)
        if isinstance(steps, TracedSteps):
            return steps.recur(self._indexed_cell(), inputs, (start, start, start))[2]
        cell = self._training_cell if self.training else self._folded_cell(len(steps.counts))
        return steps.recur(cell, inputs, (start, start, start))[2]

    def _training_cell(self, inputs: Tensor, state: State, step: int | Tensor) -> State:
        assert isinstance(step, int)
        h, c, total = state
        # the first state is zero, so its convolution equals the bias at each pixel
        recurrent = self.h_conv(h) if step else self.h_conv(h[:1, :, :1, :1]).expand_as(inputs)
        c, output = _update_cell(self.h_norm(recurrent, step) + self.input_norm(inputs, step), c)
        h = output * self.cell_norm(c.tanh(), step)
        return h, c, total + h

    def _folded_cell(self, steps: int) -> Cell:
        """Cell for evaluation: norms are scales and shifts, and that of the state is folded into its convolution."""
        input_scale, input_shift = self.input_norm.affine(steps)
        h_scale, h_shift = self.h_norm.affine(steps)
        cell_scale, cell_shift = (each[:, :, None, None] for each in self.cell_norm.affine(steps))
        bias = h_shift + input_shift
        if self.h_conv.bias is not None:
            bias = bias + h_scale * self.h_conv.bias
        weight = to_channels_last(self.h_conv.weight)

        def cell(inputs: Tensor, state: State, step: int | Tensor) -> State:
            h, c, total = state
            if not is_first_step(step):
                recurrent = convolve(h, weight * h_scale[step, :, None, None, None], bias[step])
            else:
                recurrent = bias[step, :, None, None]
            c, output = _update_cell(torch.addcmul(recurrent, inputs, input_scale[step, :, None, None]), c)
            h = output * torch.addcmul(cell_shift[step], c.tanh(), cell_scale[step])
            return h, c, total + h

        return cell

    def _indexed_cell(self) -> Cell:
        """Cell for samples that have read different numbers of dates before a step, and use different statistics."""
        norms = self.input_norm, self.h_norm, self.cell_norm
        tables = [norm.affine(len(norm.running_mean)) for norm in norms]
        weight, last_row = to_channels_last(self.h_conv.weight), len(self.input_norm.running_mean) - 1

        def cell(inputs: Tensor, state: State, step: int | Tensor) -> State:
            h, c, total = state
            rows = torch.as_tensor(step).clamp(max=last_row)
            scaled = [(scale[rows][:, :, None, None], shift[rows][:, :, None, None]) for scale, shift in tables]
            (input_scale, input_shift), (h_scale, h_shift), (cell_scale, cell_shift) = scaled
            recurrent = convolve(h, weight, self.h_conv.bias) * h_scale + h_shift
            c, output = _update_cell(recurrent + inputs * input_scale + input_shift, c)
            h = output * (c.tanh() * cell_scale + cell_shift)
            return h, c, total + h

        return cell


def _update_cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Next cell state and output gate, from gates (n, 4 * hidden, H, W) in the order i, f, o, g."""
    into, forget, output, new = gates.chunk(4, 1)
    # tanh takes three times as long on memory that is not contiguous
    new = new.contiguous(memory_format=torch.channels_last).tanh()
    return torch.addcmul(forget.sigmoid() * c, into.sigmoid(), new), output.sigmoid()
