"""Time and peak memory of `cropzoo sample` on a map of a complete Sentinel-2 tile, in a new process.

The map has 10,980 x 10,980 pixels (--size) of ten classes in patches, a tenth of the pixels of other classes than their
patch, and a strip without data. It is generated once and kept in cropzoo's cache folder (or --folder). All designs draw
--n pixels; `regions` crosses the classes with 20 rectangles. The seconds contain the start of Python and the imports.
The exit code is 1 if a design takes more than 20 s or 500 MB. Linux only.

    python benchmarks/sampling.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from measure import peak_resident_bytes

from cropzoo.io import cache_folder

CLASSES, PATCH, BLOCK = 10, 64, 512
MAX_SECONDS, MAX_BYTES = 20.0, 500e6
DESIGNS = ("stratified", "regions", "simple", "two-stage")


def main() -> None:
    """Measure all designs; with --design, draw one sample and print CPU seconds and the peak in bytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=cache_folder() / "benchmarks", help="folder of the generated map"
    )
    parser.add_argument("--size", type=int, default=10_980, help="side of the map in pixels")
    parser.add_argument("--n", type=int, default=1200, help="number of points")
    parser.add_argument("--design", choices=DESIGNS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    path = args.folder / f"sampling_{args.size}.tif"
    if args.design:
        draw(path, args.design, args.n)
        return
    if not path.exists():
        make_map(path, args.size)
    failed = False
    print(f"{'design':<12}{'seconds':>9}{'CPU s':>8}{'peak MB':>9}")
    for design in DESIGNS:
        start = perf_counter()
        words = [sys.executable, __file__, "--folder", str(args.folder), "--size", str(args.size), "--n", str(args.n)]
        ended = subprocess.run([*words, "--design", design], check=True, capture_output=True, text=True)
        seconds = perf_counter() - start
        cpu, peak = map(float, ended.stdout.split())
        print(f"{design:<12}{seconds:>9.1f}{cpu:>8.1f}{peak / 1e6:>9.0f}")
        failed |= seconds > MAX_SECONDS or peak > MAX_BYTES
    sys.exit(int(failed))


def draw(path: Path, design: str, size: int) -> None:
    """Draw a sample, and print the CPU seconds and the peak memory of this process in bytes."""
    from cropzoo.evaluation.area.points import write_points
    from cropzoo.evaluation.area.sampling import SampleOptions, draw_sample, plan_sample

    regions = path.with_suffix(".gpkg") if design == "regions" else None
    kind = "stratified" if design == "regions" else design
    plan = plan_sample(path, SampleOptions(kind=kind, size=size, regions=regions))
    points, described = draw_sample(plan)
    write_points(path.with_name("sampling_points.gpkg"), points, described)
    print(process_time(), peak_resident_bytes())


def make_map(path: Path, size: int) -> None:
    """Write the map, and the regions next to it."""
    import geopandas
    import rasterio
    import shapely

    from cropzoo.data.classified_map import class_tags
    from cropzoo.data.sample import LabelClass

    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    share = np.array([30, 20, 15, 12, 8, 6, 4, 3, 1.5, 0.5]) / 100
    west, north = 600_000, 5_650_000
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 255, "height": size, "width": size}
    storage = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate"}
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, west, 0, -10, north)}
    with rasterio.open(path, "w", **profile, **storage, **place) as file:
        for row in range(0, size, BLOCK):
            height = min(BLOCK, size - row)
            patches = rng.choice(CLASSES, (-(-height // PATCH), -(-size // PATCH)), p=share).astype(np.uint8)
            labels = patches.repeat(PATCH, 0).repeat(PATCH, 1)[:height, :size]
            wrong = rng.random(labels.shape, np.float32) < 0.1
            labels[wrong] = rng.integers(0, CLASSES, int(wrong.sum()), np.uint8)
            labels[:, : size // 40] = 255
            file.write(labels[None], window=((row, row + height), (0, size)))
        file.update_tags(**class_tags([LabelClass(f"class {number}", number, "#808080") for number in range(CLASSES)]))
    side = 10 * size
    boxes = [
        shapely.box(west + side * k / 5, north - side * (r + 1) / 4, west + side * (k + 1) / 5, north - side * r / 4)
        for r in range(4)
        for k in range(5)
    ]
    frame = geopandas.GeoDataFrame({"name": [f"region {n}" for n in range(20)]}, geometry=boxes, crs="EPSG:32631")
    frame.to_file(path.with_suffix(".gpkg"))


if __name__ == "__main__":
    main()
