"""Speed of published networks relative to straightforward implementations, and of all networks to the arithmetic limit.

    python benchmarks/networks.py            all networks
    python benchmarks/networks.py utae       one network

Ratios are those of medians of interleaved runs. The limit of a network is the time that its operations would take at
the rate of a large matrix product.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from measure import interleaved

from cropzoo import create_model, load_zoo
from cropzoo.config.catalog import Size
from cropzoo.models.base import Model
from cropzoo.models.flops import count_costs

PAPER: dict[str, tuple[Size, tuple[int, ...], float]] = {
    "utae": (Size(bands=10, classes=20, dates=61, pixels=128), (61, 52, 42, 33), 1.3),
    "vistaformer": (Size(bands=10, classes=20, dates=60, pixels=32), (60, 52, 44, 36), 1.0),
    "unet2d-clstm": (Size(bands=15, classes=18, dates=16, pixels=24), (16, 14, 11, 9), 1.0),
}
"""Setting of the paper, number of dates of each sample of a batch, and target ratio with that padding."""

EVERY = Size(bands=10, classes=19, dates=60, pixels=24)
PRODUCT = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="Names of backbones. Default: all.")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    for name in PAPER:
        if not arguments.names or name in arguments.names:
            compare(name, arguments.repeats)
    against_limit(arguments.names or list(load_zoo().backbones), arguments.repeats)


@torch.no_grad()
def compare(name: str, repeats: int) -> None:
    """Print the largest difference and the speed ratio of both implementations, with and without padding."""
    size, lengths, wanted = PAPER[name]
    plain = import_module(f"straightforward_{name.replace('-', '_')}").straightforward_logits
    torch.manual_seed(0)
    model = _model(name, size)
    for what, counts in (("padded", lengths), ("full", (size.dates,) * len(lengths))):
        batch = _batch(size, counts)
        difference = (plain(model, *batch) - model(*batch)).abs().max()
        taken = interleaved({"plain": partial(plain, model, *batch), "ours": partial(model, *batch)}, repeats)
        ratio = taken["plain"] / taken["ours"]
        goal = f", target {wanted:g}: {'met' if ratio >= wanted else 'MISSED'}" if what == "padded" else ""
        times = f"{taken['plain']:.2f} -> {taken['ours']:.2f} s"
        print(
            f"{name:14s}{what:8s}{times:20s}{ratio:.2f} times as fast{goal}; largest difference {float(difference):.0e}"
        )


@torch.no_grad()
def against_limit(names: list[str], repeats: int) -> None:
    """Print the operations, the time and the ratio to the limit for each network at one size."""
    left, right = torch.randn(PRODUCT, PRODUCT), torch.randn(PRODUCT, PRODUCT)
    print(f"\n{'network':18s}GFLOPs  seconds  times the limit   one series of {EVERY}")
    for name in names:
        model, batch = _model(name, EVERY), _batch(EVERY, (EVERY.dates,))
        taken = interleaved({"ours": partial(model, *batch), "product": partial(torch.mm, left, right)}, repeats)
        rate = 2 * PRODUCT**3 / taken["product"]
        gflops = count_costs(model, EVERY).gflops
        print(f"{name:18s}{gflops:6.1f}  {taken['ours']:7.3f}  {taken['ours'] * rate / gflops / 1e9:15.2f}", flush=True)


def _model(name: str, size: Size) -> Model:
    shape = {"in_channels": size.bands, "classes": size.classes, "image_size": size.pixels, "length": size.dates}
    return create_model(name, **shape).eval()


def _batch(size: Size, counts: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    valid = torch.arange(size.dates) < torch.tensor(counts)[:, None]
    series = torch.randn(len(counts), size.dates, size.bands, size.pixels, size.pixels)
    series = series * valid[:, :, None, None, None]
    dates = torch.linspace(1, 365, size.dates).round().long().expand(len(counts), -1) * valid
    return series, dates, valid


if __name__ == "__main__":
    main()
