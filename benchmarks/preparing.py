"""`cropzoo prepare` of a generated area: memory of all its processes, and speed against reading the same windows alone.

The area has 2000 x 2000 pixels, 30 dates, 10 bands and a scene classification, in deflate GeoTIFFs; windows of 128
pixels. `reading` is rasterio in one process: every window of every date once, in the order of `prepare`, files kept
open, GDAL's own defaults. `prepare` is the whole command, from the shell until its end. Linux only: memory is the sum
over all processes of the pages that each holds, shared ones divided among those that share them (PSS), in a run of its
own, as looking takes time too. Processor seconds stand beside, for a machine that has other work.

    python benchmarks/preparing.py --jobs 2

The area is made first, in a few minutes, and kept in cropzoo's cache folder (or --folder) for other times.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from time import perf_counter, sleep

from cropzoo.io import cache_folder

SIZE, DATES, WINDOW = 2000, 30, 128
MOST_BYTES = 1e9
LEAST_SPEED = 0.5
INTERVAL = 0.02


def main() -> None:
    """Compare; with --read, read an area's images once and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=cache_folder() / "benchmarks", help="keeps the area")
    parser.add_argument("--jobs", type=int, default=2, help="of the command, and for making the area")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=SIZE, help="pixels on a side, a multiple of 16")
    parser.add_argument("--dates", type=int, default=DATES)
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    area, out = args.folder / f"area-{args.size}-{args.dates}", args.folder / "prepared"
    if args.read:
        print(read(area))
        return
    if not (area / "README.md").is_file():
        make(area, args.size, args.dates, args.jobs)
    peak = held_at_most(command(area, out, args.jobs), out)
    print(f"peak {peak / 1e6:.0f} MB", flush=True)
    images = ["--folder", str(args.folder), "--size", str(args.size), "--dates", str(args.dates)]
    reading, preparing = [], []
    for turn in range(args.repeats):
        reading.append(timed("reading", [sys.executable, __file__, *images, "--read"]))
        shutil.rmtree(out, ignore_errors=True)
        preparing.append(timed("prepare", command(area, out, args.jobs)))
        print(f"turn {turn + 1} of {args.repeats} done", flush=True)
    report(median(reading), median(preparing), peak, args.size * args.size * args.dates)


def report(reading: float, preparing: float, peak: int, pixels: int) -> None:
    """Print the figures beside their targets; `pixels` counts those of all dates."""
    speed = reading / preparing
    print(
        f"reading alone {reading:.1f} s ({pixels / reading / 1e6:.1f} Mpx/s), cropzoo prepare {preparing:.1f} s "
        f"({pixels / preparing / 1e6:.1f} Mpx/s): {speed:.0%} of the speed (target {LEAST_SPEED:.0%}); "
        f"peak {peak / 1e6:.0f} MB (target under {MOST_BYTES / 1e6:.0f} MB)"
    )
    print("all targets met" if speed >= LEAST_SPEED and peak < MOST_BYTES else "some targets missed")


def make(area: Path, size: int, dates: int, jobs: int) -> None:
    """The input, by the `synthetic` dataset."""
    from cropzoo_plugins.datasets.synthetic import Synthetic

    start = perf_counter()
    Synthetic(size=size, block=16, dates=dates).write_images(area, lambda line: print(line, flush=True), jobs)
    print(f"made the area: {size * size / (perf_counter() - start):.0f} px/s of {dates} dates")


def command(area: Path, out: Path, jobs: int) -> list[str]:
    """The command that is measured."""
    program = [sys.executable, "-m", "cropzoo_cli.main", "prepare"]
    parcels = ["--parcels", str(area / "parcels.gpkg"), "--crop-column", "crop_code"]
    images = ["--images", str(area / "S2_*.tif"), "--window", str(WINDOW)]
    return [*program, *parcels, *images, "--out", str(out), "-j", str(jobs)]


def read(area: Path) -> float:
    """Seconds for reading all windows of all dates."""
    import rasterio
    from rasterio.windows import Window

    from cropzoo.prepare.windows import split_windows

    start = perf_counter()
    images = [rasterio.open(path) for path in sorted(area.glob("S2_*.tif"))]
    for region in split_windows(images[0].height, images[0].width, WINDOW, images[0].block_shapes[0]):
        for row, column, height, width in region:
            for image in images:
                image.read(window=Window(column, row, width, height))
    return perf_counter() - start


def timed(name: str, command: list[str]) -> float:
    """Seconds of a command from its start to its end; of reading, the seconds that it prints, without its imports."""
    before, start = processor_seconds(), perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    seconds = float(done.stdout) if name == "reading" else perf_counter() - start
    print(f"{name} {seconds:.1f} s, {processor_seconds() - before:.1f} s of processors", flush=True)
    return seconds


def processor_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def held_at_most(command: list[str], out: Path) -> int:
    """The most bytes that a command and all processes below it held at once.

    Raises:
        RuntimeError: it failed.
    """
    shutil.rmtree(out, ignore_errors=True)
    peak = 0
    with TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        while process.poll() is None:
            peak = max(peak, sum(held(number) for number in family(process.pid)))
            sleep(INTERVAL)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{errors.read()}")
    return peak


def family(process: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:  # it has just ended
            continue
        children.setdefault(int(rest.split()[1]), []).append(int(name.split()[0]))
    found = [process]
    for member in found:
        found += children.get(member, [])
    return found


def held(process: int) -> int:
    """Bytes of a process, its part of shared pages; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
