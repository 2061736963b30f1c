"""Networks that are easy, hard and impossible to record, as models with metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cropzoo.models.base import Backbone, Model
from cropzoo.models.checkpoint import Metadata

SIDE = 6


class Mean(Backbone):
    """The mean over valid dates, through a convolution; dates count by their sine."""

    out_channels = 4

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(2, 4, 3, padding=1)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        weight = (valid / valid.sum(1, keepdim=True))[:, :, None, None, None]
        seen = ((series + dates.float().sin()[:, :, None, None, None]) * weight).sum(1)
        features: Tensor = self.look(seen)
        return features


class OneSize(Mean):
    """Has a table of positions, of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(SIDE, SIDE))

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        return super().forward(series, dates, valid) + self.places


class Asking(Mean):
    """Chooses by values."""

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        return super().forward(series, dates, valid) * (2 if bool(valid.all()) else 1)


class Other(Mean):
    """Computes something else when it is recorded."""

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        return super().forward(series, dates, valid) + (0.01 if torch.compiler.is_exporting() else 0)


NETWORKS = {"mean": Mean, "one-size": OneSize, "asking": Asking, "other": Other}


@pytest.fixture(scope="session")
def made() -> Callable[..., tuple[Model, Metadata]]:
    """`made(network, **changes)`: a model in evaluation mode, and metadata with `changes`."""

    def make(network: str = "mean", **changes: Any) -> tuple[Model, Metadata]:
        torch.manual_seed(0)
        backbone = NETWORKS[network]()
        common: dict[str, Any] = {
            "backbone": {"name": network},
            "in_channels": 2,
            "image_size": SIDE,
            "bands": ("red", "nir"),
            "scale": 1e-4,
            "mean": (0.1, 0.3),
            "std": (0.05, 0.2),
            "dates": "doy",
            "temperature": 1.7,
            "classes": [
                {"name": name, "code": code, "color": "#0a0b0c"} for code, name in enumerate(("rye", "oat (winter)"))
            ],
        }
        metadata = Metadata.parse({**common, **changes}, "test")
        model = Model(backbone, backbone.make_head(2)).eval()
        model.temperature = metadata.temperature
        return model, metadata

    return make
