"""Random number generators of objectives."""

from __future__ import annotations

import torch
from torch import nn


def get_generator(module: nn.Module, device: torch.device) -> torch.Generator | None:
    """Random number generator of an objective: the global one (None) in training, a fixed seed in evaluation.

    With a fixed seed, validation losses of different epochs differ only because of the weights.
    """
    return None if module.training else torch.Generator(device).manual_seed(0)
