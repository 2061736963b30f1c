"""Random choices of objectives: anew at each step of a training, the same ones at each validation."""

from __future__ import annotations

import torch
from torch import nn


def draws_for(module: nn.Module, device: torch.device) -> torch.Generator | None:
    """What an objective's random choices come from: torch's own state in training, a fixed seed in evaluation.

    With the same choices at every validation, losses of two epochs differ by the weights alone.
    """
    return None if module.training else torch.Generator(device).manual_seed(0)
