"""Batch norm for recurrences, with separate statistics for each step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOMENTUM, EPS, START = 0.1, 1e-5, 0.1


class StepBatchNorm(nn.Module):
    """Batch norm over (B, H, W) with a shared weight, no bias, and separate running statistics for each step.

    Args:
        channels: Number of channels.
        length: Number of steps with statistics; later steps use the last ones.

    Source: Cooijmans et al. 2017, arXiv:1603.09025.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), START))
        self.register_buffer("running_mean", torch.zeros(length, channels))
        self.register_buffer("running_var", torch.ones(length, channels))

    def forward(self, frames: Tensor, step: int) -> Tensor:
        """Normalize the frames of a step, (n, C, H, W); in training with the statistics of the batch."""
        row = min(step, len(self.running_mean) - 1)
        mean, var = self.running_mean[row], self.running_var[row]
        return F.batch_norm(frames, mean, var, self.weight, None, self.training, MOMENTUM, EPS)

    def affine(self, steps: int) -> tuple[Tensor, Tensor]:
        """Scale and shift of each step in evaluation mode, (steps, C) each."""
        rows = torch.arange(steps, device=self.weight.device).clamp(max=len(self.running_mean) - 1)
        scale = self.weight * (self.running_var + EPS).rsqrt()
        return scale[rows], (-self.running_mean * scale)[rows]


def resize_statistics(statistics: Tensor, length: int) -> Tensor:
    """Truncate statistics (L, C) to `length` steps, or extend them by repeating the last step."""
    missing = length - len(statistics)
    if missing <= 0:
        return statistics[:length].clone()
    return torch.cat([statistics, statistics[-1:].expand(missing, -1)])


def stack_statistics(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stack the values of keys `NAME.running_mean.STEP` of a state dict to one value `NAME.running_mean`."""
    joined: dict[str, Tensor] = {}
    steps: dict[str, dict[int, Tensor]] = {}
    for key, value in state.items():
        name, _, step = key.rpartition(".")
        if name.endswith(("running_mean", "running_var")):
            steps.setdefault(name, {})[int(step)] = value
        else:
            joined[key] = value
    return joined | {name: torch.stack([each[step] for step in sorted(each)]) for name, each in steps.items()}
