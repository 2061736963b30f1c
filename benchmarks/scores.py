"""Scores of the README: tsvit with and without CSCL over seeds, and the nearest-neighbor baseline.

    python benchmarks/scores.py --out runs/scores                      the generated landscape
    python benchmarks/scores.py --out runs/scores --root FIELDS        real fields in a folder for `geotiff`

Finished runs are kept; the same command resumes an interrupted one. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLUMNS: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "OA": lambda scores: scores["oa"],
    "mIoU": lambda scores: scores["miou"],
    "boundary OA": lambda scores: scores["boundary"]["oa"],
    "boundary mIoU": lambda scores: scores["boundary"]["miou"],
    "interior OA": lambda scores: scores["interior"]["oa"],
    "interior mIoU": lambda scores: scores["interior"]["miou"],
}


def train(out: Path, dataset: str, options: list[str], pretrain: str, seed: int, extra: list[str]) -> dict[str, Any]:
    """Test scores of a run, which is trained unless it is finished."""
    folder = out / f"{dataset}-{pretrain}-{seed}"
    command = [sys.executable, "-m", "cropzoo_cli.main", "train", "--out", str(folder)]
    if (folder / "recipe.yaml").is_file():
        command += ["--resume"]
    else:
        command += ["--backbone", "tsvit", "--dataset", dataset, "--pretrain", pretrain, "--seed", str(seed)]
        command += [*options, *extra]
    subprocess.run([*command, "--json"], check=True, stdout=subprocess.DEVNULL)
    scores: dict[str, Any] = json.loads((folder / "metrics.json").read_text())["test"]
    return scores


def score_baseline(dataset: str, options: dict[str, Any]) -> dict[str, Any]:
    """Test scores of five nearest neighbors on monthly medians."""
    from cropzoo import load_zoo
    from cropzoo.evaluation.baselines import predict_nearest_neighbors, score_predictions

    data = load_zoo().datasets[dataset].build(**options)
    test = data.split("test")
    names = [label.name for label in data.classes]
    return score_predictions(predict_nearest_neighbors(data.split("train"), test), test, names)


def row(name: str, runs: list[dict[str, Any]]) -> str:
    """A row of the table: mean and, with several runs, standard deviation in percent."""
    cells = []
    for column in COLUMNS.values():
        values = [100 * value for value in map(column, runs) if value is not None]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.1f}{spread}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--root", type=Path, help="folder of sites for the dataset geotiff; default: synthetic data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("extra", nargs="*", help="further arguments of `cropzoo train`, after --")
    args = parser.parse_args()
    dataset, options, flags = "synthetic", {}, []
    if args.root:
        dataset, options = "geotiff", {"root": str(args.root)}
        flags = ["--set", f"dataset.root={args.root}"]
    print(f"| test split of {dataset}, {args.seeds} seeds | {' | '.join(COLUMNS)} |")
    print(f"|---|{'---|' * len(COLUMNS)}")
    print(row("5 nearest neighbors", [score_baseline(dataset, options)]), flush=True)
    for pretrain in ("none", "cscl"):
        runs = [train(args.out, dataset, flags, pretrain, seed, args.extra) for seed in range(args.seeds)]
        print(row(f"tsvit, {'no pre-training' if pretrain == 'none' else '--pretrain cscl'}", runs), flush=True)


if __name__ == "__main__":
    main()
