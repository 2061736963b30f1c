"""`cropzoo evaluate`: the scores of a checkpoint on a split, or while the season grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropzoo.config.catalog import Catalog
from cropzoo.config.merge import merge, normalize, parse_assignments
from cropzoo.data.dates import parse_days
from cropzoo.errors import UsageError
from cropzoo.models.download import find_checkpoint
from cropzoo.parallel import is_rank_zero
from cropzoo_cli.options import check_picture, compute_options, pass_catalog
from cropzoo_cli.output import note, print_json, print_table
from cropzoo_cli.scores import percent, score_lines
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.evaluation.early_season import SeasonPoint


@click.command()
@click.argument("source", metavar="CHECKPOINT|RUN|ENTRY")
@click.option("--dataset", metavar="NAME", help="Other data than the checkpoint was trained on.")
@click.option("--split", default="test", show_default=True, help="Split of the dataset.")
@click.option("--until", metavar="DAYS", help="Also score series that end on these days, 06-15,07-15 or 2019-06-15.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="With --until: a picture of it.")
@click.option(
    "--csv", type=click.Path(path_type=Path), metavar="FILE.csv", help="With --until: its numbers as a table."
)
@click.option(
    "--upsample", type=click.Choice(["nearest", "bilinear"]), help="Interpolate the logits to labels that are finer."
)
@click.option(
    "--floor", is_flag=True, help="Also score the 5 nearest neighbors of each pixel: what a network should beat."
)
@click.option("-b", "--batch-size", "--batch_size", type=click.IntRange(min=1), help="Tiles a step.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Such as dataset.root=fields/.")
@compute_options
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@pass_catalog
def evaluate(
    settings: Settings,
    catalog: Catalog,
    source: str,
    dataset: str | None,
    split: str,
    until: str | None,
    plot: Path | None,
    csv: Path | None,
    upsample: str | None,
    floor: bool,
    batch_size: int | None,
    assignments: tuple[str, ...],
    device: str,
    workers: int,
    as_json: bool,
) -> None:
    """Score a checkpoint, a run folder or a catalog entry with weights on a split.

    Bands and classes are matched by name. Without --dataset the data are those that it was trained on.

    With --until the same checkpoint is scored on series whose dates after a day are left out. A day without a year is
    that of the year in which a series ends.

    With --floor a vote of the five training pixels with the most similar year is scored beside it. It learns nothing
    about space; a network that does not beat it has learnt too little.

    Labels may be finer than the model's logits, such as with --set dataset.label_scale=4: --upsample says how the
    logits are enlarged to their grid.
    """
    changes = scoring_changes(dataset, batch_size, assignments)
    days = {} if until is None else parse_days("--until", until)
    _check_files(plot, csv, bool(days))
    if floor and days:
        raise UsageError("--floor is given with --until, whose series end early; ask for it in a call of its own")
    if floor and split == "train":
        raise UsageError("--floor of 'train'; each of its pixels is its own neighbor; score another split")
    path = find_checkpoint(source, catalog, settings.offline)
    note(f"checkpoint {path}: importing torch")
    from cropzoo.evaluation.evaluate import open_trial, score_floor, score_trial, tell_trial
    from cropzoo.runtime import Runtime

    runtime = Runtime(device, workers)
    trial = open_trial(path, settings.zoo, split, changes, upsample)
    tell_trial(trial)
    if days:
        from cropzoo.evaluation.early_season import score_season

        points = score_season(trial, days, runtime, note)
        if is_rank_zero():
            _present(points, f"{Path(source).name} on {split}", split, plot, csv, as_json)
        return
    if floor and is_rank_zero():
        note("scoring nearest neighbors")
        beside = {"floor": score_floor(trial, settings.zoo)}
    else:
        beside = {}
    scores = {**score_trial(trial, runtime), **beside}
    if not is_rank_zero():
        return
    if as_json:
        print_json(scores)
    else:
        click.echo("\n".join(score_lines(split, scores)))


def _check_files(plot: Path | None, csv: Path | None, has_days: bool) -> None:
    """Nothing, if the files can be asked for.

    Raises:
        UsageError: there is nothing to put in, or other programs would not know them by their names.
    """
    for option, path in (("--plot", plot), ("--csv", csv)):
        if path is not None and not has_days:
            raise UsageError(f"{option} {str(path)!r}; it shows scores by day; name the days with --until 06-15,07-15")
    check_picture(plot)
    if csv is not None and csv.suffix.lower() != ".csv":
        raise UsageError(f"--csv {str(csv)!r}; the table is CSV, so its name must end in .csv")


def _present(
    points: list[SeasonPoint], title: str, split: str, plot: Path | None, csv: Path | None, as_json: bool
) -> None:
    """Write the files that were asked for and print the scores by day."""
    if csv is not None:
        from cropzoo.evaluation.early_season import write_season_table

        write_season_table(csv, points)
    if plot is not None:
        from cropzoo.evaluation.early_season import save_season_curve

        save_season_curve(plot, points, title)
    if as_json:
        print_json({"split": split, "season": [asdict(point) for point in points]})
        return
    rows = [
        [point.until or "whole series", percent(point.dates_left)]
        + [percent(point.scores[key]) for key in ("oa", "miou", "macro_f1")]
        for point in points
    ]
    print_table([f"{split} until", "dates left %", "OA", "mIoU", "macro F1"], rows, sections=False)


def scoring_changes(dataset: str | None, batch_size: int | None, assignments: tuple[str, ...]) -> Mapping[str, Any]:
    """What a scoring is asked to do otherwise than the training did, in the form of a recipe."""
    changes: dict[str, Any] = {}
    if dataset is not None:
        changes["dataset"] = {"name": dataset}
    if batch_size is not None:
        changes["batch_size"] = batch_size
    return merge(changes, normalize(parse_assignments(assignments), "--set"))
