"""Batch norm inside a recurrence, with statistics of its own for every step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOMENTUM, EPS, START = 0.1, 1e-5, 0.1


class StepBatchNorm(nn.Module):
    """Batch norm over (B, H, W) with one weight for all steps, no bias, and each step's own running statistics.

    Args:
        channels: of its input.
        length: steps that have statistics; later ones use the last.

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
        """The frames of a step, (n, C, H, W), normalized: in training by their own statistics."""
        row = min(step, len(self.running_mean) - 1)
        mean, var = self.running_mean[row], self.running_var[row]
        return F.batch_norm(frames, mean, var, self.weight, None, self.training, MOMENTUM, EPS)

    def affine(self, steps: int) -> tuple[Tensor, Tensor]:
        """Scale and shift, (steps, C) each, that equal the norm in evaluation."""
        rows = torch.arange(steps, device=self.weight.device).clamp(max=len(self.running_mean) - 1)
        scale = self.weight * (self.running_var + EPS).rsqrt()
        return scale[rows], (-self.running_mean * scale)[rows]


def with_steps(statistics: Tensor, length: int) -> Tensor:
    """Statistics of some steps, (L, C), for `length` steps, (length, C): cut, or the last repeated."""
    missing = length - len(statistics)
    if missing <= 0:
        return statistics[:length].clone()
    return torch.cat([statistics, statistics[-1:].expand(missing, -1)])


def stacked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with keys `NAME.running_mean.STEP`, of one step each, as `NAME.running_mean` of all steps."""
    joined: dict[str, Tensor] = {}
    steps: dict[str, dict[int, Tensor]] = {}
    for key, value in state.items():
        name, _, step = key.rpartition(".")
        if name.endswith(("running_mean", "running_var")):
            steps.setdefault(name, {})[int(step)] = value
        else:
            joined[key] = value
    return joined | {name: torch.stack([each[step] for step in sorted(each)]) for name, each in steps.items()}
