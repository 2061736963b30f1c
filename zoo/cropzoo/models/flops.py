"""What a network costs: parameters and floating-point operations."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cropzoo.config.catalog import Size
from cropzoo.models.base import Model


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

    Only shapes are computed with, so that the largest network takes no time. Attention is counted by its plain matrix
    products: the counter knows no fused attention of a CPU.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    network = deepcopy(model).eval()
    try:
        operations = _operations(network.to("meta"), size)
    except Exception:  # it reads values, which fails in as many ways as there are to read them; shapes alone do not do
        operations = _operations(deepcopy(model).eval(), size)
    return Costs(sum(parameter.numel() for parameter in parameters), operations / 1e9)


def _operations(network: Model, size: Size) -> int:
    device = next(network.parameters()).device
    series = torch.zeros(1, size.dates, size.bands, size.pixels, size.pixels, device=device)
    dates = torch.linspace(1, 365, size.dates, device=device).round().long()[None]
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network(series, dates)
    operations: int = counter.get_total_flops()
    return operations
