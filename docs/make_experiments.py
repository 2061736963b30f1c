"""Write docs/experiments.md: prose from experiments.md.j2, numbers and figures from docs/experiments/results.

python docs/make_experiments.py                    from the committed results
python docs/make_experiments.py --from studies     from studies/NAME, whose tables are copied first
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
"""Tables of a study, without .csv."""

NAMES = {
    "oa": "OA", "miou": "mIoU", "macro_f1": "macro F1", "boundary_oa": "boundary OA", "boundary_miou": "boundary mIoU",
    "interior_oa": "interior OA", "interior_miou": "interior mIoU", "parcel_accuracy": "parcels",
}  # fmt: skip
KEYS = {"backbone": "backbone", "label_fraction": "labels", "pretrain": "pre-training", "variant": "variant"}

Row = dict[str, str]


def copy_tables(studies: Path) -> None:
    """Copy the tables of all studies that have a file here."""
    for recipe in sorted(RECIPES.glob("*.yaml")):
        for table in TABLES:
            made = studies / recipe.stem / f"{table}.csv"
            if made.is_file():
                RESULTS.mkdir(exist_ok=True)
                shutil.copyfile(made, RESULTS / f"{recipe.stem}-{table}.csv")


def read_rows(study: str, table: str = "results") -> list[Row]:
    """Rows of a study's table."""
    with (RESULTS / f"{study}-{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def scores(study: str, *measures: str) -> str:
    """Markdown table of scores in percent, mean ± standard deviation over seeds, a row for each configuration."""
    rows = read_rows(study)
    keys = _key_columns(rows)
    heads = [KEYS[key] for key in keys] + [NAMES[measure] for measure in measures]
    return markdown(
        heads, [[_name(row, key) for key in keys] + [score(row, each) for each in measures] for row in rows]
    )


def differences(study: str, *measures: str) -> str:
    """Markdown table of differences to the baseline in percentage points with 95 % intervals."""
    rows = [row for row in read_rows(study) if row[f"{measures[0]}_difference"]]
    keys = _key_columns(rows)
    heads = [KEYS[key] for key in keys] + [NAMES[measure] for measure in measures]
    return markdown(
        heads, [[_name(row, key) for key in keys] + [_difference(row, each) for each in measures] for row in rows]
    )


def season(study: str) -> str:
    """Markdown table of mean IoU in percent by the last day of the series, a row for each configuration."""
    rows, later = read_rows(study), read_rows(study, "scorings")
    keys = _key_columns(rows)
    days = list(dict.fromkeys(row["scoring"].removeprefix("until ") for row in later))
    by_day = [[row for row in later if row["scoring"] == f"until {day}"] for day in days]
    lines = [
        [_name(row, key) for key in keys] + [score(each, "miou") for each in (*early, row)]
        for row, *early in zip(rows, *by_day, strict=True)
    ]
    return markdown([*(KEYS[key] for key in keys), *days, "all dates"], lines)


def finer(learnt: str, interpolated: str, *measures: str) -> str:
    """Markdown table of scores at finer labels in percent: of networks trained on them, and of interpolated ones."""
    ways = {"learnt": read_rows(learnt)}
    for row in read_rows(interpolated, "scorings"):
        ways.setdefault(row["scoring"], []).append(row)
    lines = [
        [_name(row, "backbone"), _name(row, "pretrain"), way, *(score(row, measure) for measure in measures)]
        for several in zip(*ways.values(), strict=True)
        for way, row in zip(ways, several, strict=True)
    ]
    return markdown([KEYS["backbone"], KEYS["pretrain"], "finer by", *(NAMES[each] for each in measures)], lines)


def _key_columns(rows: list[Row]) -> list[str]:
    """Columns that distinguish the configurations."""
    return [key for key in KEYS if key in ("backbone", "pretrain") or len({row[key] for row in rows}) > 1]


def _name(row: Row, key: str) -> str:
    return f"{100 * float(row[key]):g} %" if key == "label_fraction" else row[key] or "-"


def score(row: Row, measure: str) -> str:
    """A score in percent with its standard deviation over seeds."""
    if not row[measure]:
        return "-"
    spread = row[f"{measure}_std"]
    return f"{100 * float(row[measure]):.1f}" + (f" ± {100 * float(spread):.1f}" if spread else "")


def _difference(row: Row, measure: str) -> str:
    mean, low, high = (100 * float(row[f"{measure}_{end}"]) for end in ("difference", "low", "high"))
    text = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def render_page() -> str:
    """Text of docs/experiments.md."""
    return fill("experiments.md.j2", scores=scores, differences=differences, season=season, finer=finer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="studies", type=Path)
    args = parser.parse_args()
    if args.studies:
        copy_tables(args.studies)
    from experiment_figures import draw_differences, draw_distances  # imports matplotlib

    draw_distances(read_rows("synthetic", "distance"), FIGURES / "accuracy-by-distance.svg")
    draw_differences(read_rows("synthetic"), FIGURES / "differences.svg")
    PAGE.write_text(render_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
