"""Feed mutated files to the readers, which must read or refuse each of them in bounded time and memory.

    python benchmarks/fuzz.py --seed 1
    python benchmarks/fuzz.py --seed 1 --only checkpoint --keep failures/

Valid files are made once, and each case is one of them with random changes: flipped bits, cut ends, absurd numbers, and
fields of other types. The number of a case and the seed define it, so that `--case checkpoint:17` repeats one. A case
that ends in another exception, takes longer than `--timeout`, or raises the memory of its process by more than
`--memory` is reported; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_files import CHANGES, MAKERS, change_json

CASES = {"checkpoint": 2000, "yaml": 500, "raster": 300, "vector": 300, "stac": 200, "onnx": 100, "table": 200}
"""Number of cases of each kind in a complete run."""


@dataclass(frozen=True)
class Seeds:
    """Valid files by kind, each with its name; a mutation keeps the suffix."""

    folder: Path

    def files(self, kind: str) -> list[Path]:
        return sorted((self.folder / kind).iterdir())


def make_seeds(folder: Path, kinds: list[str]) -> Seeds:
    """Write valid files of the given kinds."""
    for kind in kinds:
        (folder / kind).mkdir()
        MAKERS[kind](folder / kind)
    seeds = Seeds(folder)
    for kind in kinds:
        for path in seeds.files(kind):
            outcome = run_case(kind, path)
            if outcome != "read":
                raise RuntimeError(f"the valid file {path.name} was not read: {outcome}")
    return seeds


def read_checkpoint(path: Path) -> None:
    from cropzoo.data.model_scores import scores_of
    from cropzoo.inference.predictor import open_predictor
    from cropzoo.models.checkpoint import read_metadata
    from cropzoo.models.stored_recipe import scoring_recipe
    from cropzoo.plugins.registry import load_zoo

    zoo, metadata = load_zoo(), read_metadata(path)
    scores_of(metadata.model_dump())
    scoring_recipe(metadata, zoo, {})
    _predict(open_predictor(path, zoo, "cpu"))


def read_onnx(path: Path) -> None:
    from cropzoo.inference.predictor import open_predictor
    from cropzoo.plugins.registry import load_zoo

    _predict(open_predictor(path, load_zoo(), "cpu"))


def _predict(predictor: Any) -> None:
    bands, side = len(predictor.facts.bands), predictor.facts.image_size
    length = getattr(predictor.facts, "length", None) or 3
    if bands * side * side * length > 2**22:
        return  # a large network that is consistent with its weights
    series = np.ones((1, length, bands, side, side), np.float32)
    dates = np.arange(length, dtype=np.int64)[None] * 10 + 17_900
    predictor.probabilities(series, dates, np.ones_like(dates, bool), int(dates[0, 0]))


def read_yaml(path: Path) -> None:
    from cropzoo.config.catalog import load_catalog, read_catalog
    from cropzoo.config.merge import resolve_recipe
    from cropzoo.config.schema import read_mapping
    from cropzoo.evaluation.compare.config import read_study
    from cropzoo.plugins.registry import load_zoo

    zoo = load_zoo()
    if path.name.startswith("catalog"):
        read_catalog(path)
    elif path.name.startswith("study"):
        read_study(read_mapping(path), {}, (), str(path), zoo.objectives)
    else:
        resolve_recipe(zoo, load_catalog(zoo), (str(path), read_mapping(path)))


def read_raster(path: Path) -> None:
    from cropzoo.data.classified_map import open_map
    from cropzoo.geo.raster.discover import find_images
    from cropzoo.geo.raster.grid import Window
    from cropzoo.geo.raster.reader import StackReader

    try:
        open_map(path)
    except Exception as error:
        if type(error).__name__ not in ("CropzooError", "UsageError", "UnknownName"):
            raise
    bands = ("B02", "B03", "B04", "B08") if path.suffix == ".jp2" else ()  # it has no descriptions of bands
    for stack in find_images(path, bands):
        with StackReader(stack) as reader:
            height, width = min(stack.grid.height, 64), min(stack.grid.width, 64)
            reader.read(Window(0, 0, height, width))


def read_vector(path: Path) -> None:
    from rasterio import Affine
    from rasterio.crs import CRS

    from cropzoo.geo.raster.grid import Grid, Window
    from cropzoo.geo.vector.aoi import read_aoi
    from cropzoo.geo.vector.rasterize import rasterize_centers
    from cropzoo.geo.vector.reader import read_parcels

    grid = Grid(64, 64, Affine(10, 0, 500_000, 0, -10, 5_600_000), CRS.from_epsg(32631))
    table = read_parcels([path], crop_column="crop", id_column="id", year_column="year", around=[grid])
    rasterize_centers(table, grid, Window(0, 0, 64, 64))
    read_aoi(path).mask(grid, Window(0, 0, 64, 64))


def read_class_table(path: Path) -> None:
    from cropzoo.data.legend import make_legend, read_crop_table
    from cropzoo.data.pastis.metadata import read_classes
    from cropzoo_plugins.datasets.sites.class_table import number_crops, read_table

    if path.name.startswith("crops"):
        table = read_crop_table(path)
        crops = [row.text for row in table.rows]
        make_legend((1, 2, 101, 7, None), (), table)
        make_legend((*crops, "0101", "WHT"), crops, table, dict.fromkeys(crops, 9))
    elif path.name.startswith("classes"):
        codes = [str(each.code) for each in read_table(path)]
        number_crops((*codes, "Maize"), path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(path, Path(folder) / "classes.csv")
            read_classes(Path(folder))


_READERS: dict[str, Callable[[Path], None]] = {
    "checkpoint": read_checkpoint, "yaml": read_yaml, "raster": read_raster, "vector": read_vector,
    "stac": read_raster, "onnx": read_onnx, "table": read_class_table,
}  # fmt: skip


def write_case(kind: str, number: int, seed: int, seeds: Seeds, folder: Path) -> Path:
    """Write a mutated file; its content depends on kind, number and seed alone."""
    rng = np.random.default_rng((seed, list(CASES).index(kind), number))
    files = seeds.files(kind)
    source = files[number % len(files)]
    change = change_json if source.suffix == ".geojson" else CHANGES[kind]
    path = folder / source.name
    path.write_bytes(change(source.read_bytes(), rng))
    return path


def run_case(kind: str, path: Path) -> str:
    """Read a file; returns "read", "refused" with the message, or the traceback of another exception."""
    from cropzoo.errors import CropzooError

    try:
        _READERS[kind](path)
    except CropzooError as error:
        return f"refused {error}"
    except Exception:
        return traceback.format_exc()
    return "read"


def serve(connection: Connection, seed: int, seeds: Seeds) -> None:
    """Run cases until the connection closes."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    import torch

    torch.set_num_threads(1)
    for path in seeds.folder.glob("*/*"):  # imports are no part of the time and memory of a case
        run_case(path.parent.name, path)
    with tempfile.TemporaryDirectory() as scratch:
        while True:
            kind, number = connection.recv()
            path = write_case(kind, number, seed, seeds, Path(scratch))
            connection.send("start")
            connection.send(run_case(kind, path))
            path.unlink(missing_ok=True)


def resident_bytes(process: int) -> int:
    """Memory of a process in bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Worker:
    """A process that runs one case after the other, and is replaced where a case ends it.

    Attributes:
        peak: Largest rise of memory in bytes during a case.
    """

    def __init__(self, seed: int, seeds: Seeds) -> None:
        self._seed, self._seeds = seed, seeds
        self.peak = 0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self._seed, self._seeds), daemon=True)
        self.process.start()
        theirs.close()

    def run(self, kind: str, number: int, timeout: float, memory: int) -> str:
        """Outcome of a case: "read", "refused", a traceback, or a word and what was exceeded."""
        try:
            self.connection.send((kind, number))
            assert self.connection.recv() == "start"
            before, deadline = resident_bytes(self.process.pid or 0), time.monotonic() + timeout
            while not self.connection.poll(0.05):
                if time.monotonic() > deadline:
                    return self._replace(f"hang: more than {timeout:.0f} s")
                if self.process.is_alive() and self._measure(before) > memory:
                    return self._replace(f"memory: more than {memory >> 20} MiB")
            self._measure(before)
            outcome: str = self.connection.recv()
        except (EOFError, OSError):
            return self._replace("crash: the process ended")
        return outcome

    def _measure(self, before: int) -> int:
        rise = resident_bytes(self.process.pid or 0) - before
        self.peak = max(self.peak, rise)
        return rise

    def _replace(self, outcome: str) -> str:
        self.process.kill()
        self.process.join()
        self._start()
        return outcome


def run(args: argparse.Namespace) -> int:
    kinds = [args.case.partition(":")[0]] if args.case else args.only or list(CASES)
    failures: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        seeds = make_seeds(Path(scratch), kinds)
        worker = Worker(args.seed, seeds)
        for kind in kinds:
            count = args.cases or CASES[kind]
            numbers = [int(args.case.partition(":")[2])] if args.case else range(count)
            outcomes: Counter[str] = Counter()
            start, slowest, worker.peak = time.monotonic(), 0.0, 0
            for number in numbers:
                began = time.monotonic()
                outcome = worker.run(kind, number, args.timeout, args.memory << 20)
                slowest = max(slowest, time.monotonic() - began)
                word = outcome.split(maxsplit=1)[0].strip(":").lower()
                known = word in ("read", "refused")
                outcomes[word] += 1
                if args.case:
                    print(outcome)
                if not known:
                    last = outcome.strip().splitlines()[-1][:300]
                    places = [line.strip() for line in outcome.splitlines() if "cropzoo" in line and "File" in line]
                    failures[f"{kind}: {last} | {places[-1] if places else ''}"] += 1
                    print(f"{kind}:{number}: {last}", flush=True)
                    if args.keep:
                        args.keep.mkdir(parents=True, exist_ok=True)
                        path = write_case(kind, number, args.seed, seeds, Path(scratch))
                        path.rename(args.keep / f"{kind}-{number}-{path.name}")
            seconds = time.monotonic() - start
            shown = ", ".join(f"{value} {key}" for key, value in sorted(outcomes.items()))
            rise = f"largest rise of memory {worker.peak >> 20} MiB"
            print(f"{kind}: {shown}; {seconds:.0f} s, slowest {slowest:.1f} s, {rise}", flush=True)
        worker.process.kill()
    for failure, times in failures.most_common():
        print(f"{times} x {failure}")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="seed of all mutations")
    parser.add_argument("--only", action="append", choices=list(CASES), help="kind of files; repeatable")
    parser.add_argument("--case", metavar="KIND:NUMBER", help="run one case and print its traceback")
    parser.add_argument("--cases", type=int, help="number of cases of each kind")
    parser.add_argument("--timeout", type=float, default=20, help="seconds of a case")
    parser.add_argument("--memory", type=int, default=2048, help="rise of memory of a case in MiB")
    parser.add_argument("--keep", type=Path, help="folder to which failing files are copied")
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
