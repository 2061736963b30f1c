"""FLOP and parameter counts against manual results."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from cropzoo.config.catalog import Size
from cropzoo.models.base import Backbone, Model
from cropzoo.models.flops import count_costs


class Attending(Backbone):
    """Two heads of 4 channels over the pixels of the first date."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = 8
        self.embed = nn.Conv2d(3, 8, 1, bias=False)
        self.frozen = nn.Parameter(torch.zeros(100), requires_grad=False)

    def forward(self, series, dates, valid):
        tokens = self.embed(series[:, 0]).flatten(2).transpose(1, 2).unflatten(2, (2, 4)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
        return mixed.transpose(1, 2).flatten(2).transpose(1, 2).unflatten(2, series.shape[-2:])


def test_operations_and_parameters_are_those_of_the_layers_attention_included():
    backbone = Attending()
    model = Model(backbone, backbone.make_head(5))
    costs = count_costs(model, Size(bands=3, classes=5, dates=2, pixels=6))
    pixels = 36
    embed, attention, head = 2 * pixels * 3 * 8, 2 * 2 * 2 * pixels * pixels * 4, 2 * pixels * 8 * 5
    assert round(costs.gflops * 1e9) == embed + attention + head
    assert costs.parameters == 3 * 8 + 8 * 5 + 5


class Reading(Attending):
    """Reads values with NumPy, which the meta device does not support."""

    def forward(self, series, dates, valid):
        assert valid.numpy().all()
        return super().forward(series, dates, valid)


def test_a_network_that_reads_values_is_counted_too():
    size = Size(bands=3, classes=5, dates=2, pixels=6)
    counted = [count_costs(Model(net, net.make_head(5)), size) for net in (Attending(), Reading())]
    assert counted[0] == counted[1]


def test_the_model_is_left_in_the_mode_that_it_was_in():
    backbone = Attending()
    model = Model(backbone, backbone.make_head(5))
    for training in (True, False):
        model.train(training)
        count_costs(model, Size(bands=3, classes=5, dates=1, pixels=2))
        assert model.training is training
