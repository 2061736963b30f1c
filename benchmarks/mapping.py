"""Speed of a map compared with the network alone on the same windows in memory, and peak memory, on a generated area.

The network is TSViT-S (dim 64, 4 heads of 16) with random weights for 10 bands and 20 classes. The area has 24 dates of
10 bands and a scene classification in deflate GeoTIFFs. `bare` times only the network on the batches of each chunk.
`map` times the complete map: reading, blending, partial results, and the Cloud-Optimized GeoTIFF with class and
confidence. Both predict the same windows with the same number of threads.

Peak memory is that of a new process that maps an area of --size, and of twice that size, with a network that takes no
time (the mean of each band) and one reader thread. Linux only.

    python benchmarks/mapping.py --speed-size 1000

Areas are generated once and kept in cropzoo's cache folder (or --folder). The network uses one thread unless --threads
is given, because several threads on a busy machine wait for each other and results cannot be compared. One core maps a
few thousand pixels per second, so that the default area is small. CPU seconds are reported, too.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from measure import peak_resident_bytes
from numpy.typing import NDArray

from cropzoo.data.sample import LabelClass
from cropzoo.io import cache_folder

DATES, BANDS, CLASSES = 24, ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"), 20
MIN_SPEED, MAX_RISE = 0.85, 1.10
OUTPUTS = ("class", "confidence")


def main() -> None:
    """Run the comparison; with --peak, map an area with the trivial network and print the peak in bytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=cache_folder() / "benchmarks", help="folder of the generated areas"
    )
    parser.add_argument("--speed-size", type=int, default=500, help="side of the area for the speed, in pixels")
    parser.add_argument("--size", type=int, default=1000, help="side of the smaller area for the memory, in pixels")
    parser.add_argument("--window-batch", type=int, default=16, help="windows per batch")
    parser.add_argument("--threads", type=int, default=1, help="threads of the network")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--readers", type=int, default=1, help="reader threads")
    parser.add_argument("--peak", type=int, metavar="SIZE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print(peak(args.folder, args.peak, args.readers))
        return
    kept = compare_speed(args)
    peaks = [fresh_peak(args, size) for size in (args.size, 2 * args.size)]
    rise = peaks[1] / peaks[0]
    print(
        f"peak {peaks[0] / 1e6:.0f} MB at {args.size} x {args.size}, {peaks[1] / 1e6:.0f} MB at twice that side: "
        f"{rise:.2f} times (target up to {MAX_RISE:.2f})"
    )
    print("all targets met" if kept >= MIN_SPEED and rise <= MAX_RISE else "some targets missed")


def compare_speed(args: argparse.Namespace) -> float:
    """Speed of the map as a share of the network's."""
    import torch

    from cropzoo.inference.predictor import TorchPredictor
    from cropzoo.plugins.registry import load_zoo

    torch.set_num_threads(args.threads)
    predictor = TorchPredictor(checkpoint(args.folder), load_zoo())
    plan = plan_map(area(args.folder, args.speed_size), predictor, args.window_batch)
    bare, complete = [], []
    for _ in range(args.repeats):
        bare.append(time_bare(plan, predictor))
        complete.append(time_map(plan, predictor, args.folder / "map" / "map.tif", args.readers))
    (alone, alone_busy), (all_of_it, busy) = (np.median(taken, axis=0) for taken in (bare, complete))
    kept, pixels = alone / all_of_it, args.speed_size**2
    print(
        f"{predictor.device.type}, {len(plan.chunks)} chunks: bare {alone:.1f} s ({pixels / alone:,.0f} px/s), map "
        f"{all_of_it:.1f} s ({pixels / all_of_it:,.0f} px/s): {kept:.0%} of the speed (target {MIN_SPEED:.0%}); "
        f"CPU seconds {alone_busy:.1f} and {busy:.1f}",
        flush=True,
    )
    return float(kept)


def time_bare(plan: Any, predictor: Any) -> tuple[float, float]:
    """Wall and CPU seconds of the network alone on every batch of a plan."""
    from cropzoo.inference.mapping.chunks import ChunkReader, make_batches

    reader, seconds, busy = ChunkReader(plan), 0.0, 0.0
    for chunk in plan.chunks:
        batches = list(make_batches(plan, reader.read(chunk)))
        start, busy_start = perf_counter(), process_time()
        for batch in batches:
            batch.predict(predictor)
        seconds += perf_counter() - start
        busy += process_time() - busy_start
    return seconds, busy


def time_map(plan: Any, predictor: Any, out: Path, readers: int) -> tuple[float, float]:
    """Wall and CPU seconds of a complete map."""
    from cropzoo.inference.mapping.predict import RunOptions, run_map

    shutil.rmtree(out.parent, ignore_errors=True)
    out.parent.mkdir(parents=True)
    start, busy = perf_counter(), process_time()
    run_map(plan, predictor, out, RunOptions(readers=readers), warn=lambda line: None)
    return perf_counter() - start, process_time() - busy


def peak(folder: Path, size: int, readers: int) -> int:
    """Peak memory of this process while it maps an area, in bytes."""
    network = TrivialNetwork()
    time_map(plan_map(area(folder, size), network, 64), network, folder / "map" / "light.tif", readers)
    return peak_resident_bytes()


def fresh_peak(args: argparse.Namespace, size: int) -> int:
    """Peak memory of a new process that maps an area, in bytes."""
    import subprocess

    area(args.folder, size)
    command = [
        sys.executable,
        __file__,
        "--folder",
        str(args.folder),
        "--readers",
        str(args.readers),
        "--peak",
        str(size),
    ]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def plan_map(images: Path, predictor: Any, batch: int) -> Any:
    """Plan a map of an area."""
    from cropzoo.inference.mapping.inputs import find_map_images
    from cropzoo.inference.mapping.options import MapOptions
    from cropzoo.inference.mapping.plan import make_plan

    patterns = (f"{images}/S2_*.tif",)
    options = MapOptions(patterns, outputs=OUTPUTS, batch_size=batch)
    return make_plan(find_map_images(BANDS, patterns), predictor.facts, options)


class TrivialNetwork:
    """A trivial network: the mean of each band over the dates is the score of a class."""

    precision = "32-true"

    def __init__(self) -> None:
        from cropzoo.inference.model_info import ModelInfo

        ones = (1.0,) * len(BANDS)
        named = classes()[: len(BANDS)]
        self.facts = ModelInfo(
            named, BANDS, 1e-4, ones, ones, image_size=24, dates="none", sha256="light", source="light"
        )

    def probabilities(
        self, series: NDArray[Any], dates: NDArray[np.int64], valid: NDArray[np.bool_], first: int, **inputs: Any
    ) -> NDArray[np.float32]:
        """Share of each band in the sum of bands, (B, C, S, S)."""
        means = series.mean(axis=1, dtype=np.float32) + 1
        shares: NDArray[np.float32] = means / means.sum(axis=1, keepdims=True)
        return shares


def classes() -> tuple[LabelClass, ...]:
    """Classes with placeholder names."""
    return tuple(LabelClass(f"crop {number}", number, f"#{number:02x}{4 * number:02x}ff") for number in range(CLASSES))


def checkpoint(folder: Path) -> Path:
    """Write a checkpoint of TSViT-S with random weights."""
    import torch

    from cropzoo.models.checkpoint import Metadata, save_checkpoint
    from cropzoo.models.factory import create_model

    options = {"dim": 64, "head_dim": 16}
    torch.manual_seed(0)
    model = create_model("tsvit", in_channels=len(BANDS), classes=CLASSES, image_size=24, **options)
    about = {
        "backbone": {"name": "tsvit", "options": options},
        "in_channels": len(BANDS),
        "image_size": 24,
        "classes": [{"name": each.name, "code": each.code, "color": each.color} for each in classes()],
        "bands": BANDS,
        "scale": 1e-4,
        "mean": [0.2] * len(BANDS),
        "std": [0.1] * len(BANDS),
        "dates": "doy",
    }
    path = folder / "tsvit-s.safetensors"
    save_checkpoint(path, model.state_dict(), Metadata.parse(about, "the benchmark's checkpoint"))
    return path


def area(folder: Path, size: int) -> Path:
    """Generate the images of an area: fields of 16 pixels with noise, a third of each date under clouds."""
    images = folder / f"mapping-{size}-{DATES}"
    if not (images / "done").is_file():
        shutil.rmtree(images, ignore_errors=True)
        images.mkdir(parents=True)
        for number in range(DATES):
            write_image(images, size, number)
        (images / "done").touch()
        print(f"generated the area of {size} x {size} pixels", flush=True)
    return images


def write_image(folder: Path, size: int, number: int) -> None:
    """Write the image of one date."""
    import rasterio
    from rasterio import Affine

    rng = np.random.default_rng(number)
    day = date(2019, 1, 5) + timedelta(days=15 * number)
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": len(BANDS) + 1, "height": size, "width": size,
        "crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 5_600_000), "compress": "deflate",
        "zlevel": 1, "predictor": 2, "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    with rasterio.open(folder / f"S2_{day}.tif", "w", **profile) as target:
        for index, band in enumerate(BANDS, start=1):
            fields = blocks(rng.integers(300, 4000, (size // 16 + 1,) * 2), 16, size)
            target.write((fields + rng.normal(0, 60, (size, size))).clip(1, 10_000).astype(np.uint16), index)
            target.set_band_description(index, band)
        clouds = blocks(rng.random((size // 64 + 1,) * 2) < 1 / 3, 64, size)
        target.write(np.where(clouds, 9, 4).astype(np.uint16), len(BANDS) + 1)
        target.set_band_description(len(BANDS) + 1, "SCL")


def blocks(values: NDArray[Any], side: int, size: int) -> NDArray[Any]:
    """Repeat each value on a square of pixels, cropped to the size."""
    return values.repeat(side, axis=0).repeat(side, axis=1)[:size, :size]


if __name__ == "__main__":
    main()
