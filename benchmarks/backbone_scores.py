"""Scores of docs/backbones.md: every backbone with a catalog entry BACKBONE.synthetic, one seed.

    python benchmarks/backbone_scores.py --out runs/backbones

All have the same data and number of steps; sizes and learning rates are those of the entries. Finished runs are kept;
the same command resumes an interrupted one. Writes docs/backbones.csv, the input of docs/make_backbones.py.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from scores import score_baseline

from cropzoo import load_model, load_zoo
from cropzoo.config.catalog import load_catalog
from cropzoo.io import atomic_write

TARGET = Path(__file__).parents[1] / "docs" / "backbones.csv"
COLUMNS = ("backbone", "parameters", "minutes", "oa", "miou", "boundary_oa", "boundary_miou", "interior_miou")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="number of runs at a time, each on one core")
    args = parser.parse_args()
    zoo = load_zoo()
    entries = load_catalog(zoo).entries
    names = [name for name in zoo.backbones if f"{name}.synthetic" in entries]
    rows = [_row("5 nearest neighbors", score_baseline("synthetic", {}), 0, 0)]  # first: it fills the cache
    with ThreadPoolExecutor(args.jobs) as pool:
        for row in pool.map(partial(train, out=args.out), names):
            print(row, flush=True)
            rows.append(row)
    with atomic_write(TARGET) as scratch, scratch.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def train(name: str, out: Path) -> dict[str, Any]:
    """Row of a backbone, which is trained unless its run is finished."""
    folder = out / name
    command = [sys.executable, "-m", "cropzoo_cli.main", "train", "--out", str(folder), "--json"]
    started = (folder / "recipe.yaml").is_file()
    command += ["--resume"] if started else ["--backbone", name, "--seed", "0"]
    if not (folder / "metrics.json").is_file():
        one_core = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=one_core)
    scores = json.loads((folder / "metrics.json").read_text())["test"]
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    trained = sum(parameter.numel() for parameter in load_model(folder).parameters())
    seconds = median(epoch["seconds"] for epoch in epochs) * len(epochs)  # ignores slowed-down epochs
    return _row(name, scores, trained, seconds / 60)


def _row(name: str, scores: dict[str, Any], parameters: int, minutes: float) -> dict[str, Any]:
    values = {
        "oa": scores["oa"],
        "miou": scores["miou"],
        "boundary_oa": scores["boundary"]["oa"],
        "boundary_miou": scores["boundary"]["miou"],
        "interior_miou": scores["interior"]["miou"],
    }
    shown = {key: f"{100 * value:.1f}" for key, value in values.items()}
    return {"backbone": name, "parameters": parameters, "minutes": f"{minutes:.1f}", **shown}


if __name__ == "__main__":
    main()
