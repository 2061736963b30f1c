"""Time and peak memory of TSViT at the PASTIS setting, relative to the straightforward implementation and the limit.

Run as `python benchmarks/tsvit_forward.py`. Ratios are those of medians of interleaved runs. The limit is the time of
the matrix products.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from measure import interleaved, peak_rss_rise, report_peak_rise
from straightforward_tsvit import straightforward_logits

from cropzoo_plugins.backbones.tsvit import TSViT

BATCH, LENGTH, BANDS, SIDE, CLASSES = 4, 60, 10, 24, 19


def main() -> None:
    """Print one line per quantity. With --memory, run one training step of an implementation in a new process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", choices=("straightforward", "cropzoo"))
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    if arguments.memory:
        report_peak_rise(lambda: train_step(forms()[arguments.memory])())
    else:
        compare(arguments.repeats)


def forms() -> dict[str, Callable[[], Tensor]]:
    """Both implementations of the same network on the same input."""
    torch.manual_seed(0)
    model = TSViT(in_channels=BANDS, classes=CLASSES, image_size=SIDE)
    series = torch.randn(BATCH, LENGTH, BANDS, SIDE, SIDE)
    dates = torch.randint(1, 367, (BATCH, LENGTH)).sort(dim=1).values
    valid = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    weights = dict(model.named_parameters())
    return {
        "straightforward": lambda: straightforward_logits(weights, series, dates, heads=4, patch_size=2),
        "cropzoo": lambda: model(series, dates, valid),
    }


def train_step(form: Callable[[], Tensor]) -> Callable[[], None]:
    """Forward and backward pass; gradients accumulate."""
    return lambda: form().square().mean().backward()


def inference(form: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Forward pass without gradients."""

    def run() -> Tensor:
        with torch.no_grad():
            return form()

    return run


def multiply_limit() -> tuple[Callable[[], None], float]:
    """A matrix product of the typical size of the network, and the number of them in the forward pass of cropzoo."""
    tokens, inputs, weight = 2528, torch.randn(2528, 128), torch.randn(512, 128)
    calls = 20

    def run() -> None:
        for _ in range(calls):
            F.linear(inputs, weight)

    return run, our_multiplications() / (calls * tokens * 128 * 512)


def our_multiplications() -> int:
    """Multiply-adds of the forward pass of cropzoo, whose last temporal layer computes only class tokens."""
    dim, patches = 128, (SIDE // 2) ** 2
    sequence, per_token = CLASSES + LENGTH, 12 * dim * dim
    over_dates = 3 * sequence * per_token + sequence * 2 * dim * dim + CLASSES * 10 * dim * dim
    attention = 2 * dim * (3 * sequence + CLASSES) * sequence
    over_patches = 4 * CLASSES * patches * (per_token + 2 * dim * patches)
    embedding = LENGTH * 4 * BANDS * dim + CLASSES * 4 * dim
    return BATCH * (patches * (over_dates + attention + embedding) + over_patches)


def compare(repeats: int) -> None:
    """Measure and print."""
    both = forms()
    difference = (inference(both["straightforward"])() - inference(both["cropzoo"])()).abs().max()
    print(f"largest difference of the outputs   {float(difference):.1e}")

    limit, count = multiply_limit()
    forward = interleaved({**{name: inference(form) for name, form in both.items()}, "limit": limit}, repeats)
    training = interleaved({name: train_step(form) for name, form in both.items()}, repeats)
    _print_ratio("forward", forward["straightforward"], forward["cropzoo"], "s")
    _print_ratio("forward + backward", training["straightforward"], training["cropzoo"], "s")
    bound = forward["limit"] * count
    print(
        f"matrix-multiply limit of the forward {bound:.2f} s; cropzoo takes {forward['cropzoo'] / bound:.2f} times it"
    )
    print(f"and {training['cropzoo'] / bound / 3:.2f} times it forward + backward")

    rise = {name: peak_rss_rise(__file__, "--memory", name) / 2**20 for name in both}
    _print_ratio("peak training memory", rise["straightforward"], rise["cropzoo"], "MiB")

    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = interleaved({name: inference(form) for name, form in both.items()}, max(1, repeats // 2))
    _print_ratio("forward in bfloat16 autocast", mixed["straightforward"], mixed["cropzoo"], "s")


def _print_ratio(what: str, straightforward: float, ours: float, unit: str) -> None:
    shown = f"{straightforward:.2f} -> {ours:.2f} {unit}"
    print(f"{what:36s}{shown:28s}{straightforward / ours:.2f} times less ({ours / straightforward:.2f} of it)")


if __name__ == "__main__":
    main()
