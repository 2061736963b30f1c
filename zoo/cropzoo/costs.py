"""What a network costs: parameters and floating-point operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cropzoo.catalogue import Size
from cropzoo.contracts import Model


@dataclass(frozen=True)
class Costs:
    """Parameters of backbone and head, and operations of one forward pass over one series.

    Args:
        parameters: that training changes.
        gflops: 1e9 operations, a multiplication and an addition counted as two.
    """

    parameters: int
    gflops: float


@torch.no_grad()
def count_costs(model: Model, size: Size) -> Costs:
    """The costs of a model at one series of that size, of matrix products, convolutions and attention.

    Attention is computed by its plain matrix products here: the counter knows no fused attention of a CPU.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    device = next(model.parameters()).device
    shape = (1, size.dates, size.bands, size.pixels, size.pixels)
    dates = torch.linspace(1, 365, size.dates, device=device).round().long()[None]
    training = model.training
    model.eval()
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            model(torch.zeros(shape, device=device), dates)
    finally:
        model.train(training)
    return Costs(sum(parameter.numel() for parameter in parameters), counter.get_total_flops() / 1e9)
