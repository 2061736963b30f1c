"""Time of Presto's features relative to the matrix products of its network, on one thread.

    python benchmarks/presto_features.py

The features are those of an image of 100 x 100 pixels with one clear date in each of 12 months and a known location,
from reflectance on, composites included. The products are those of the published network with the same tokens, in the
same chunks. The last product of the last layer is not needed for each token; the second ratio leaves it out of the
products. Ratios are those of medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))
from measure import interleaved

from cropzoo_plugins.backbones.presto import Presto
from cropzoo_plugins.layers.bands import SENTINEL2
from cropzoo_plugins.layers.presto import CPU_TOKENS

SIDE, MONTHS, DEPTH, DIM, HEADS, MLP_RATIO = 100, 12, 2, 128, 8, 4
TOKENS = 1 + 6 * MONTHS
TARGET = 1.3


def features() -> Callable[[], object]:
    """The features of the image."""
    torch.manual_seed(0)
    backbone = Presto(in_channels=len(SENTINEL2), classes=1, bands=SENTINEL2).eval()
    series, location = torch.rand(1, MONTHS, len(SENTINEL2), SIDE, SIDE), torch.tensor([[50.9, 4.4]])
    months = np.arange("2021-01", "2022-01", dtype="datetime64[M]").astype("datetime64[D]")
    dates = torch.from_numpy(months.astype(np.int64) + 14)[None]
    valid, clear = torch.ones(1, MONTHS, dtype=torch.bool), torch.ones(1, MONTHS, SIDE, SIDE, dtype=torch.bool)
    return lambda: backbone(series, dates, valid, clear=clear, padded=False, location=location)


def products(skip_last: bool) -> Callable[[], object]:
    """The matrix products of the network."""
    pixels = CPU_TOKENS // TOKENS
    rows = pixels * TOKENS
    tokens, hidden = torch.randn(rows, DIM), torch.randn(rows, MLP_RATIO * DIM)
    heads = torch.randn(3, pixels * HEADS, TOKENS, DIM // HEADS)
    scores = torch.randn(pixels * HEADS, TOKENS, TOKENS)
    qkv, out = torch.randn(3 * DIM, DIM), torch.randn(DIM, DIM)
    into, back = torch.randn(MLP_RATIO * DIM, DIM), torch.randn(DIM, MLP_RATIO * DIM)

    def run() -> None:
        for _ in range(-(-SIDE * SIDE // pixels)):
            for layer in range(DEPTH):
                F.linear(tokens, qkv)
                torch.bmm(heads[0], heads[1].transpose(1, 2))
                torch.bmm(scores, heads[2])
                F.linear(tokens, out)
                F.linear(tokens, into)
                if layer < DEPTH - 1 or not skip_last:
                    F.linear(hidden, back)

    return run


def main() -> None:
    """Print the times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    with torch.inference_mode():
        seconds = interleaved(
            {"features": features(), "products": products(False), "needed": products(True)}, repeats=repeats
        )
    ratio, needed = seconds["features"] / seconds["products"], seconds["features"] / seconds["needed"]
    print(f"features of {SIDE * SIDE} pixels with {MONTHS} months {seconds['features']:.2f} s, {TOKENS} tokens a pixel")
    print(f"matrix products of the network {seconds['products']:.2f} s: {ratio:.2f} times (target {TARGET})")
    print(f"products that are needed {seconds['needed']:.2f} s: {needed:.2f} times")
    print("target met" if ratio <= TARGET else "target missed")


if __name__ == "__main__":
    main()
