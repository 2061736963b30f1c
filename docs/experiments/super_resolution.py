"""Scores at 2.5 m of networks trained there, and of those trained at 10 m whose logits are interpolated.

    python docs/experiments/super_resolution.py studies/super-resolution

Reads the runs of STUDY and of STUDY-x1, prints mean and standard deviation over the seeds in per cent, and writes
them as shares of 1 into super-resolution.csv in STUDY. Boundaries are those of the fine labels for all rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from cropzoo import load_zoo
from cropzoo.fit.trainer import Runtime
from cropzoo.resolution import WAYS
from cropzoo.scoring import score_checkpoint

FINE = {"dataset": {"label_scale": 4}}

MEASURES = ("oa", "miou", "boundary.oa", "boundary.miou", "interior.oa", "interior.miou", "parcels.accuracy")


def scores_of(study: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(kind of run, way to the fine grid, scores of the test split) of every run of both studies."""
    for metrics in sorted(study.glob("runs/*/metrics.json")):
        yield _cell(metrics), "learnt", json.loads(metrics.read_text())["test"]
    zoo = load_zoo()
    for weights in sorted(study.with_name(f"{study.name}-x1").glob("runs/*/model.safetensors")):
        print(weights.parent.name, file=sys.stderr)
        for way in WAYS:
            yield _cell(weights), way, score_checkpoint(weights, zoo, "test", FINE, Runtime("auto", 0), way)


def _cell(file: Path) -> str:
    return re.sub(r"-seed\d+$", "", file.parent.name)


def _dig(scores: Mapping[str, Any], key: str) -> float:
    for part in key.split("."):
        scores = scores[part]
    return float(scores)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    study = parser.parse_args().study
    found = defaultdict(list)
    for cell, way, scores in scores_of(study):
        found[cell, way].append([100 * _dig(scores, key) for key in MEASURES])
    print(f"{'run':<24} {'fine by':<9} seeds" + "".join(f"{key:>18}" for key in MEASURES))
    with (study / "super-resolution.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["run", "fine_by", "seeds", *(f"{key}{end}" for key in MEASURES for end in ("", "_std"))])
        for (cell, way), seeds in sorted(found.items()):
            spread = [(mean(each), stdev(each) if len(each) > 1 else 0.0) for each in zip(*seeds, strict=True)]
            print(
                f"{cell:<24} {way:<9} {len(seeds):>5}"
                + "".join(f"{middle:>11.1f} ± {sd:4.1f}" for middle, sd in spread)
            )
            rows.writerow([cell, way, len(seeds), *(f"{number / 100:.6g}" for pair in spread for number in pair)])


if __name__ == "__main__":
    main()
