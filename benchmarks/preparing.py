"""Benchmark of `cropzoo prepare` on a generated area: memory of all processes, and speed compared to reading only.

The area has 2000 x 2000 pixels, 30 dates, 10 bands and a scene classification, in deflate GeoTIFFs; windows have 128
pixels. `reading` is rasterio in one process: every window of every date once, in the order of `prepare`, with files
kept open and GDAL's defaults. `prepare` is the complete command, measured from the shell. Linux only: memory is the
proportional set size (PSS) summed over all processes, measured in a separate run because sampling takes time. CPU
seconds are printed as well, for machines that have other work.

    python benchmarks/preparing.py --jobs 2

The area is generated first, in a few minutes, and kept in cropzoo's cache folder (or --folder) for later runs.
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
MAX_BYTES = 1e9
MIN_SPEED = 0.5
INTERVAL = 0.02


def main() -> None:
    """Run the benchmark; with --read, read the images of an area once and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=cache_folder() / "benchmarks", help="folder of the generated area"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes of the command, and for generating the area")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each; the median is reported")
    parser.add_argument("--size", type=int, default=SIZE, help="pixels per side, a multiple of 16")
    parser.add_argument("--dates", type=int, default=DATES, help="number of dates")
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    area, out = args.folder / f"area-{args.size}-{args.dates}", args.folder / "prepared"
    if args.read:
        print(read_windows(area))
        return
    if not (area / "README.md").is_file():
        make_area(area, args.size, args.dates, args.jobs)
    peak = measure_peak_memory(prepare_command(area, out, args.jobs), out)
    print(f"peak {peak / 1e6:.0f} MB", flush=True)
    images = ["--folder", str(args.folder), "--size", str(args.size), "--dates", str(args.dates)]
    reading, preparing = [], []
    for run in range(args.repeats):
        reading.append(time_command("reading", [sys.executable, __file__, *images, "--read"]))
        shutil.rmtree(out, ignore_errors=True)
        preparing.append(time_command("prepare", prepare_command(area, out, args.jobs)))
        print(f"run {run + 1} of {args.repeats} done", flush=True)
    report(median(reading), median(preparing), peak, args.size * args.size * args.dates)


def report(reading: float, preparing: float, peak: int, pixels: int) -> None:
    """Print the results with their targets; `pixels` counts the pixels of all dates."""
    speed = reading / preparing
    print(
        f"reading {reading:.1f} s ({pixels / reading / 1e6:.1f} Mpx/s), cropzoo prepare {preparing:.1f} s "
        f"({pixels / preparing / 1e6:.1f} Mpx/s): {speed:.0%} of the reading speed (target {MIN_SPEED:.0%}); "
        f"peak {peak / 1e6:.0f} MB (target under {MAX_BYTES / 1e6:.0f} MB)"
    )
    print("all targets met" if speed >= MIN_SPEED and peak < MAX_BYTES else "some targets missed")


def make_area(area: Path, size: int, dates: int, jobs: int) -> None:
    """Generate the input with the `synthetic` dataset."""
    from cropzoo_plugins.datasets.synthetic import Synthetic

    start = perf_counter()
    Synthetic(size=size, block=16, dates=dates).write_images(area, lambda line: print(line, flush=True), jobs)
    print(f"generated the area: {size * size / (perf_counter() - start):.0f} px/s of {dates} dates")


def prepare_command(area: Path, out: Path, jobs: int) -> list[str]:
    """Command that is measured."""
    program = [sys.executable, "-m", "cropzoo_cli.main", "prepare"]
    parcels = ["--parcels", str(area / "parcels.gpkg"), "--crop-column", "crop_code"]
    images = ["--images", str(area / "S2_*.tif"), "--window", str(WINDOW)]
    return [*program, *parcels, *images, "--out", str(out), "-j", str(jobs)]


def read_windows(area: Path) -> float:
    """Read all windows of all dates; returns the seconds."""
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


def time_command(name: str, command: list[str]) -> float:
    """Wall-clock seconds of a command; for reading, the seconds that it prints, without imports."""
    before, start = cpu_seconds(), perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    seconds = float(done.stdout) if name == "reading" else perf_counter() - start
    print(f"{name} {seconds:.1f} s, {cpu_seconds() - before:.1f} s of CPU time", flush=True)
    return seconds


def cpu_seconds() -> float:
    """CPU seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure_peak_memory(command: list[str], out: Path) -> int:
    """Peak memory in bytes of a command and all its child processes.

    Raises:
        RuntimeError: The command failed.
    """
    shutil.rmtree(out, ignore_errors=True)
    peak = 0
    with TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        while process.poll() is None:
            peak = max(peak, sum(memory_of(number) for number in process_tree(process.pid)))
            sleep(INTERVAL)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{errors.read()}")
    return peak


def process_tree(process: int) -> list[int]:
    """The process and all its descendants."""
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


def memory_of(process: int) -> int:
    """Proportional set size of a process in bytes; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
