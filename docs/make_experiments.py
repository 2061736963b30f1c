"""Writes docs/experiments.md: prose from experiments.md.j2, numbers and pictures from docs/experiments/results.

python docs/make_experiments.py                    from the results that are committed
python docs/make_experiments.py --from studies     from studies/NAME, whose tables are taken over first
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

from pages import fill

HERE = Path(__file__).parent
PAGE = HERE / "experiments.md"
RECIPES = HERE / "experiments"
RESULTS = RECIPES / "results"
FIGURES = HERE / "figures"

TABLES = ("results", "distance", "scorings")
"""Files that a study's folder may hold, without .csv."""

NAMES = {
    "oa": "OA", "miou": "mIoU", "macro_f1": "macro F1", "boundary_oa": "boundary OA", "boundary_miou": "boundary mIoU",
    "interior_oa": "interior OA", "interior_miou": "interior mIoU", "parcel_accuracy": "parcels",
}  # fmt: skip
KEYS = {"backbone": "backbone", "label_fraction": "labels", "pretrain": "pre-training", "variant": "variant"}

Row = dict[str, str]


def take_over(studies: Path) -> None:
    """Copy the tables of every study that has a recipe here."""
    for recipe in sorted(RECIPES.glob("*.yaml")):
        for table in TABLES:
            made = studies / recipe.stem / f"{table}.csv"
            if made.is_file():
                RESULTS.mkdir(exist_ok=True)
                shutil.copyfile(made, RESULTS / f"{recipe.stem}-{table}.csv")


def rows_of(study: str, table: str = "results") -> list[Row]:
    """The rows of a study's table."""
    with (RESULTS / f"{study}-{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def scores(study: str, *measures: str) -> str:
    """A Markdown table: scores in per cent, mean ± standard deviation over the seeds, a row for each kind of run."""
    rows = rows_of(study)
    keys = _telling(rows)
    heads = [KEYS[key] for key in keys] + [NAMES[measure] for measure in measures]
    return _markdown(
        heads, [[_name(row, key) for key in keys] + [_score(row, each) for each in measures] for row in rows]
    )


def differences(study: str, *measures: str) -> str:
    """The same for the differences to the baseline, points of per cent with 95 % intervals."""
    rows = [row for row in rows_of(study) if row[f"{measures[0]}_difference"]]
    keys = _telling(rows)
    heads = [KEYS[key] for key in keys] + [NAMES[measure] for measure in measures]
    return _markdown(
        heads, [[_name(row, key) for key in keys] + [_gap(row, each) for each in measures] for row in rows]
    )


def season(study: str) -> str:
    """Mean IoU by the last day of the series, per cent, a row for each kind of run."""
    rows, later = rows_of(study), rows_of(study, "scorings")
    keys = _telling(rows)
    days = list(dict.fromkeys(row["scoring"].removeprefix("until ") for row in later))
    by_day = [[row for row in later if row["scoring"] == f"until {day}"] for day in days]
    lines = [
        [_name(row, key) for key in keys] + [_score(each, "miou") for each in (*early, row)]
        for row, *early in zip(rows, *by_day, strict=True)
    ]
    return _markdown([*(KEYS[key] for key in keys), *days, "all dates"], lines)


def finer(learnt: str, interpolated: str, *measures: str) -> str:
    """Scores at finer labels, per cent: of networks that learnt there, and by each way to bring others there."""
    ways = {"learnt": rows_of(learnt)}
    for row in rows_of(interpolated, "scorings"):
        ways.setdefault(row["scoring"], []).append(row)
    lines = [
        [_name(row, "backbone"), _name(row, "pretrain"), way, *(_score(row, measure) for measure in measures)]
        for several in zip(*ways.values(), strict=True)
        for way, row in zip(ways, several, strict=True)
    ]
    return _markdown([KEYS["backbone"], KEYS["pretrain"], "finer by", *(NAMES[each] for each in measures)], lines)


def _telling(rows: list[Row]) -> list[str]:
    """The columns that tell the kinds of run apart."""
    return [key for key in KEYS if key in ("backbone", "pretrain") or len({row[key] for row in rows}) > 1]


def _name(row: Row, key: str) -> str:
    return f"{100 * float(row[key]):g} %" if key == "label_fraction" else row[key] or "-"


def _score(row: Row, measure: str) -> str:
    if not row[measure]:
        return "-"
    spread = row[f"{measure}_std"]
    return f"{100 * float(row[measure]):.1f}" + (f" ± {100 * float(spread):.1f}" if spread else "")


def _gap(row: Row, measure: str) -> str:
    mean, low, high = (100 * float(row[f"{measure}_{end}"]) for end in ("difference", "low", "high"))
    told = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{told}**" if low > 0 or high < 0 else told


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page() -> str:
    """The text of docs/experiments.md."""
    return fill("experiments.md.j2", scores=scores, differences=differences, season=season, finer=finer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="studies", type=Path)
    args = parser.parse_args()
    if args.studies:
        take_over(args.studies)
    from experiment_figures import draw_differences, draw_distances  # matplotlib, for the pictures alone

    draw_distances(rows_of("synthetic", "distance"), FIGURES / "accuracy-by-distance.svg")
    draw_differences(rows_of("synthetic"), FIGURES / "differences.svg")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
