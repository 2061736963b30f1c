"""Speed and memory of loading samples in the PASTIS layout, and the share of loading in the training time.

    python benchmarks/loading.py [--folder FOLDER]

Patches of 128 x 128 pixels, 60 dates and ten bands are generated in FOLDER (400 MB) or a temporary folder, and read
from the page cache in one process and thread. `torchgeo` reads complete patches, as its PASTIS dataset does, and crops
them. Times include all steps from the file to the tensor of a batch; normalization is part of the loading share.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import interleaved, peak_rss_rise, report_peak_rise
from torch.nn.functional import cross_entropy

from cropzoo.data.batch import Batch
from cropzoo.data.dates import DateOptions
from cropzoo.data.loader import Collate
from cropzoo.data.normalize import Normalizer
from cropzoo.data.pastis.schema import METADATA
from cropzoo.data.patches import Crops, PatchKey, PatchOptions
from cropzoo_plugins.backbones.tsvit import TSViT
from cropzoo_plugins.datasets.prepared import Prepared

PATCHES, SIDE, CROP, DATES, BATCH = 20, 128, 24, 60, 16
ON_CPU = 4
"""Batch size of a training step on a CPU, where sixteen series need too much memory; time is linear in it."""
LEAST_SPEED, MOST_SHARE, MOST_RISE = 5.0, 0.10, 2.0


def main() -> None:
    """Print one line per quantity. With --walk, only read patches, in a new process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="Folder of the generated patches, which is kept for later runs. Default: temporary."
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--walk", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.walk:
        report_peak_rise(lambda: walk(arguments.folder, arguments.walk))
    elif arguments.folder:
        compare(arguments.folder, arguments.repeats)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), arguments.repeats)


def compare(folder: Path, repeats: int) -> None:
    """Print the measurements and whether all targets are met."""
    if not (folder / "PASTIS-R" / METADATA).is_file():
        make(folder)
    met = [compare_speed(folder, repeats), compare_memory(folder), compare_training(folder, repeats)]
    print("all targets met" if all(met) else "some targets missed")


def make(folder: Path) -> None:
    """Generate patches of the original size with the generator of the tests."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data" / "pastis"))
    from make import make_pastis  # type: ignore[import-not-found]

    make_pastis(folder / "PASTIS-R", PATCHES, SIDE, dates=DATES, sensors=("S2",))


def loader(folder: Path, size: int) -> tuple[Callable[[], Batch], Prepared]:
    """Callable that returns the next batch of random crops of the training split."""
    dataset = Prepared(folder)
    crops = Crops(dataset.split("train"), PatchOptions(CROP, DateOptions(max_dates=DATES)), (0,))
    collate, random = Collate("doy"), np.random.default_rng(0)

    def batch() -> Batch:
        return collate([crops[PatchKey(0, int(position))] for position in random.integers(len(crops), size=size)])

    return batch, dataset


def compare_speed(folder: Path, repeats: int) -> bool:
    """Compare the samples per second with torchgeo."""
    from torchgeo.datasets import PASTIS

    batch, _ = loader(folder, BATCH)
    whole, random = PASTIS(folder, folds=(1, 2, 3)), np.random.default_rng(0)

    def theirs() -> None:
        for number in random.integers(len(whole), size=BATCH):
            sample = whole[int(number)]
            row, column = random.integers(SIDE - CROP + 1, size=2)
            window = np.s_[..., row : row + CROP, column : column + CROP]
            sample["image"][window].clone(), sample["mask"][window].clone()

    seconds = interleaved({"torchgeo": theirs, "cropzoo": batch}, repeats)
    faster = seconds["torchgeo"] / seconds["cropzoo"]
    rates = {name: BATCH / each for name, each in seconds.items()}
    print(
        f"random {CROP} px crops      torchgeo {rates['torchgeo']:.0f}/s, cropzoo {rates['cropzoo']:.0f}/s: "
        f"{faster:.1f}x faster (target {LEAST_SPEED:.0f}x)"
    )
    return faster >= LEAST_SPEED


def walk(folder: Path, patches: int) -> None:
    """Read all pixels of a number of patches."""
    dataset = Prepared(folder)
    splits = [dataset.split(name) for name in ("train", "val", "test")]
    places = [(split, number) for split in splits for number in range(len(split))]
    for step in range(patches):
        split, number = places[step % len(places)]
        int(split[number].series.max())


def compare_memory(folder: Path) -> bool:
    """Compare the peak memory of a process that reads many patches with that of one that reads two."""
    few, many = (peak_rss_rise(__file__, "--folder", str(folder), "--walk", str(count)) for count in (2, 5 * PATCHES))
    patch = DATES * 10 * SIDE * SIDE * 2
    print(
        f"memory of a worker      {few / 1e6:.0f} MB after 2 patches, {many / 1e6:.0f} MB after {5 * PATCHES}: "
        f"{(many - few) / patch:.1f} patches more (target under {MOST_RISE:.0f})"
    )
    return (many - few) / patch < MOST_RISE


def compare_training(folder: Path, repeats: int) -> bool:
    """Measure the share of loading in a training step of TSViT at its published setting for PASTIS."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = BATCH if device == "cuda" else ON_CPU
    batch, dataset = loader(folder, size)
    normalize = Normalizer(dataset.bands, dataset.bands, dataset.scale, dataset.mean, dataset.std)
    ready = normalize(batch()).to(device)
    torch.manual_seed(0)
    model = TSViT(in_channels=len(dataset.bands), classes=len(dataset.classes), image_size=CROP).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        assert ready.labels is not None
        logits = model(ready.series, ready.dates, ready.valid)
        cross_entropy(logits, ready.labels, ignore_index=255).backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    torch.set_num_threads(2)
    seconds = interleaved({"loader": lambda: normalize(batch()), "step": step}, max(3, repeats // 3))
    share = seconds["loader"] / seconds["step"]
    print(
        f"share of training       {seconds['loader'] * 1e3:.0f} ms of loading in a step of "
        f"{seconds['step'] * 1e3:.0f} ms, {size} series on {device}: {share:.1%} (target under {MOST_SHARE:.0%})"
    )
    return share < MOST_SHARE


if __name__ == "__main__":
    main()
