"""Time, peak memory and results of CSCL relative to its straightforward implementation, on two threads.

Both compute queries and keys of 128-channel features by 1x1 convolutions, their similarity in windows of 3, the loss of
clean pairs, and the gradients of features and parameters. `arithmetic` is the time of the matrix products that any
implementation needs: two for the forward and four for the backward pass of the convolutions.

    python benchmarks/cscl_loss.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from measure import interleaved, peak_rss_rise, report_peak_rise
from straightforward_cscl import StraightforwardSimilarity, straightforward_loss
from torch import Tensor, nn

from cropzoo import Backbone, Batch
from cropzoo_plugins.objectives.cscl import CSCL

CHANNELS = 128
SETTINGS = {"32x24x24": (32, 24, 8.0), "16x48x48": (16, 48, 8.0), "4x128x128": (4, 128, 6.0)}
"""Number of images, their side in pixels, and the target speedup."""
LEAST_MEMORY = 4.0
TOLERANCE = 1e-5


class Features(Backbone):
    """Placeholder for a backbone, which returns its input as features."""

    out_channels = CHANNELS

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        return series


class Straightforward(nn.Module):
    """Straightforward similarity and loss of one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.similarity = StraightforwardSimilarity(CHANNELS)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return straightforward_loss(self.similarity(features), labels, window=3, dilation=1)


class Ours(nn.Module):
    """The objective of `cropzoo train` without a backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.objective = CSCL(Features(), classes=8)
        self.similarity = self.objective.similarity

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        empty = torch.empty(0)
        return self.objective(Batch(features, empty, empty, labels)).total


def inputs(setting: str) -> tuple[Tensor, Tensor]:
    """Random features, and labels in parcels of 6 x 6 pixels."""
    images, side, _ = SETTINGS[setting]
    torch.manual_seed(0)
    features = torch.randn(images, CHANNELS, side, side, requires_grad=True)
    parcels = torch.randint(0, 8, (images, -(-side // 6), -(-side // 6)))
    labels = parcels.repeat_interleave(6, 1).repeat_interleave(6, 2)[:, :side, :side].contiguous()
    return features, labels


def step(loss: nn.Module, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Run a forward and backward pass; returns the loss and all gradients."""
    features.grad = None
    loss.zero_grad()
    total = loss(features, labels)
    total.backward()
    gradients = {name: p.grad for name, p in loss.similarity.named_parameters()}
    return {"loss": total.detach(), "features": features.grad, **gradients}


def arithmetic(features: Tensor) -> Callable[[], None]:
    """The matrix products that any implementation needs."""
    rows = features.detach().permute(0, 2, 3, 1).reshape(-1, CHANNELS)
    weight, wide = torch.randn(2 * CHANNELS, CHANNELS), torch.randn(len(rows), 2 * CHANNELS)

    def run() -> None:
        rows @ weight.t()
        wide @ weight
        wide.t() @ rows

    return run


def compare(setting: str, repeats: int) -> bool:
    """Print the results of one setting; returns whether all targets are met."""
    features, labels = inputs(setting)
    ours, plain = Ours(), Straightforward()
    ours.similarity.load_state_dict(plain.similarity.state_dict())
    found, wanted = step(ours, features, labels), step(plain, features, labels)
    # gradients of a mean are tiny, so the tolerance is relative to the largest gradient of each kind
    error = max(float((found[k] - wanted[k]).abs().max() / wanted[k].abs().max().clamp(max=1)) for k in wanted)
    seconds = interleaved(
        {
            "ours": lambda: step(ours, features, labels),
            "plain": lambda: step(plain, features, labels),
            "limit": arithmetic(features),
        },
        repeats=repeats,
    )
    rises = {kind: peak_rss_rise(__file__, kind, setting) for kind in ("ours", "plain")}
    faster, smaller = seconds["plain"] / seconds["ours"], rises["plain"] / rises["ours"]
    target = SETTINGS[setting][2]
    print(
        f"{setting:10} straightforward {seconds['plain'] * 1e3:7.1f} ms, ours {seconds['ours'] * 1e3:6.1f} ms: "
        f"{faster:5.1f}x faster (target {target:.0f}x, arithmetic {seconds['plain'] / seconds['limit']:.1f}x); "
        f"peak {rises['plain'] / 2**20:6.0f} MiB, ours {rises['ours'] / 2**20:4.0f} MiB: {smaller:4.1f}x less "
        f"(target {LEAST_MEMORY:.0f}x); largest relative difference {error:.1e}",
        flush=True,
    )
    return faster >= target and smaller >= LEAST_MEMORY and error <= TOLERANCE


def main() -> None:
    """Compare all settings. With the arguments KIND and SETTING, run one of them once for `peak_rss_rise`."""
    torch.set_num_threads(2)
    if len(sys.argv) == 3:
        kind, setting = sys.argv[1:]
        features, labels = inputs(setting)
        loss = Ours() if kind == "ours" else Straightforward()
        report_peak_rise(lambda: step(loss, features, labels))
        return
    met = [compare(setting, repeats=7) for setting in SETTINGS]
    print("all targets met" if all(met) else "some targets missed")


if __name__ == "__main__":
    main()
