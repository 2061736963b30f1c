"""A tiny backbone as a plugin, for tests of what is done with models."""

from __future__ import annotations

import pytest

from cropzoo.zoo import load_zoo

BODY = """
import torch
from torch import nn

from cropzoo.contracts import Backbone


class Tiny(Backbone):
    def __init__(self, in_channels, classes, image_size, length, width=3, multiple=1):
        super().__init__()
        self.out_channels, self.size_multiple = width, multiple
        self.look = nn.Conv2d(in_channels, width, 1)
        self.tokens = nn.Parameter(torch.randn(classes, width))

    def forward(self, series, dates, valid):
        seen = torch.where(valid[:, :, None, None, None], series, 0.0).sum(1) / valid.sum(1)[:, None, None, None]
        return self.look(seen) + self.tokens.sum(0)[:, None, None]


class NoBackbone(nn.Module):
    def __init__(self, in_channels, classes, image_size, length):
        super().__init__()


def convert(state):
    return {key.replace("old.", "backbone."): value for key, value in state.items()}


class Made:
    bands, scale, mean, std, citation = ("red", "nir"), 0.5, (1.0, 2.0), (1.0, 4.0), "Someone 2020"

    def __init__(self, **changes):
        from cropzoo.samples import LabelClass

        self.classes = (LabelClass("wheat", 1, "#ff0000"), LabelClass("maize", 2, "#00ff00"))

    def split(self, name):
        return []


@hookimpl
def cropzoo_backbones():
    return [
        backbone("tiny", f"{__name__}:Tiny", convert=f"{__name__}:convert"),
        backbone("other", f"{__name__}:Tiny"),
        backbone("fixed", f"{__name__}:Tiny", fixed_length=True),
        backbone("wrong", f"{__name__}:NoBackbone"),
    ]


@hookimpl
def cropzoo_datasets():
    return [dataset("made", f"{__name__}:Made")]
"""


@pytest.fixture
def tiny_zoo(make_plugin):
    """A zoo with backbones `tiny`, `other`, `fixed` and `wrong`, and dataset `made` of two bands and classes."""
    return load_zoo([make_plugin("tiny-plugin", BODY)])
