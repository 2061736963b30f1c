"""Parameter and FLOP counts of a network."""

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
    """Number of parameters of backbone and head, and FLOPs of a forward pass over one series.

    Args:
        parameters: Number of trainable parameters.
        gflops: Floating-point operations in 1e9; a multiply-add counts as two.
    """

    parameters: int
    gflops: float


@torch.no_grad()
def count_costs(model: Model, size: Size) -> Costs:
    """Count the parameters and FLOPs of a model for one series.

    Matrix products, convolutions and attention are counted. The forward pass runs on the meta device, so that it takes
    no time even for a large network. Attention is counted as plain matrix products, because the counter does not
    support fused attention on a CPU.

    Args:
        model: Model to count.
        size: Size of the series.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    network = deepcopy(model).eval()
    try:
        operations = _operations(network.to("meta"), size)
    except (
        Exception
    ):  # the network reads values, which the meta device does not have; the error type depends on the operation
        operations = _operations(deepcopy(model).eval(), size)
    return Costs(sum(parameter.numel() for parameter in parameters), operations / 1e9)


def _operations(network: Model, size: Size) -> int:
    device = network.device
    series = torch.zeros(1, size.dates, size.bands, size.pixels, size.pixels, device=device)
    dates = torch.linspace(1, 365, size.dates, device=device).round().long()[None]
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network(series, dates)
    operations: int = counter.get_total_flops()
    return operations
