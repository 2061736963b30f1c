"""Scores of every run of a study while the season grows: a row a kind of run and day, means over the seeds.

    python docs/experiments/season.py studies/season

Writes season.csv into the study's folder; scores are shares of 1, of the test split.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

from cropzoo import load_zoo
from cropzoo.days import parse_days
from cropzoo.fit.trainer import Runtime
from cropzoo.scoring import open_trial
from cropzoo.season import score_season

UNTIL = "04-15,05-15,06-15,07-15,08-15,09-15"

MEASURES = {
    "oa": lambda scores: scores["oa"],
    "miou": lambda scores: scores["miou"],
    "boundary_miou": lambda scores: scores["boundary"]["miou"],
}


def score(runs: Path, until: str) -> dict[tuple[str, str], list[dict[str, float]]]:
    """The scores of each seed, by the name of the kind of run and the day; "" is the whole series."""
    zoo, days = load_zoo(), parse_days("--until", until)
    found = defaultdict(list)
    for path in sorted(runs.glob("*/model.safetensors")):
        cell = re.sub(r"-seed\d+$", "", path.parent.name)
        print(path.parent.name, file=sys.stderr)
        for point in score_season(open_trial(path, zoo, "test", {}), days, Runtime("auto", 0), lambda line: None):
            values = {key: float(read(point.scores)) for key, read in MEASURES.items()}
            found[cell, point.until or ""].append({"dates_left": point.dates_left, **values})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--until", default=UNTIL)
    args = parser.parse_args()
    found = score(args.study / "runs", args.until)
    with (args.study / "season.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(
            ["run", "until", "seeds", "dates_left", *(f"{key}{end}" for key in MEASURES for end in ("", "_std"))]
        )
        for (cell, day), seeds in found.items():
            values = [[seed[key] for seed in seeds] for key in MEASURES]
            spread = [number for each in values for number in (mean(each), stdev(each) if len(each) > 1 else 0.0)]
            shares = [seeds[0]["dates_left"], *spread]
            rows.writerow([cell, day, len(seeds), *(f"{share:.6g}" for share in shares)])


if __name__ == "__main__":
    main()
