"""`cropzoo evaluate`: score a checkpoint on a split, optionally with series that end early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from cropzoo.config.catalog import Catalog
from cropzoo.config.merge import merge, parse_assignments
from cropzoo.config.recipe import Baseline
from cropzoo.config.short_forms import expand_short_forms
from cropzoo.data.dates import parse_days
from cropzoo.data.model_scores import scores_of
from cropzoo.errors import UsageError
from cropzoo.models.download import find_checkpoint
from cropzoo.parallel import is_rank_zero
from cropzoo.runtime import Runtime
from cropzoo_cli.options import BaselineCommand, check_picture, compute_options, pass_catalog
from cropzoo_cli.output import echo, note, print_json, print_table, warn
from cropzoo_cli.scores import percent, print_model, score_lines
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.evaluation.early_season import SeasonPoint


@click.command(cls=BaselineCommand)
@click.argument("source", metavar="CHECKPOINT|RUN|ENTRY")
@click.option("--dataset", metavar="NAME", help="Dataset; default: the one that the checkpoint was trained on.")
@click.option("--split", default="test", show_default=True, help="Split that is scored.")
@click.option(
    "--until", metavar="DAYS", help="Also score series that end on these days, such as 06-15,07-15 or 2019-06-15."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Write a chart of the scores by day; requires --until.",
)
@click.option(
    "--csv",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Write the scores by day as a table; requires --until.",
)
@click.option("--upsample", type=click.Choice(["nearest", "bilinear"]), help="Interpolate the logits to finer labels.")
@click.option(
    "--baseline",
    type=click.Choice(get_args(Baseline)),
    default="none",
    show_default=True,
    help="Also score a baseline that a network should beat: knn, the 5 nearest neighbors of each pixel, or forest, "
    "a random forest balanced by class. Without a value: knn.",
)
@click.option("--floor", is_flag=True, hidden=True)
@click.option("-b", "--batch-size", "--batch_size", type=click.IntRange(min=1), help="Number of tiles per step.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a setting of the recipe, such as dataset.root=fields/. Repeatable.",
)
@compute_options
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON.")
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
    baseline: str,
    floor: bool,
    batch_size: int | None,
    assignments: tuple[str, ...],
    device: str,
    workers: int,
    as_json: bool,
) -> None:
    """Score a checkpoint, a run folder or a catalog entry with weights on a split.

    A model on the Hugging Face Hub has the address hf-hub:ORG/NAME[@REVISION]. Bands and classes of the dataset are
    matched to the checkpoint by name.

    --until scores the same checkpoint on series whose dates after a day are left out. A day without a year is taken in
    the year in which each series ends.

    --baseline knn also scores a vote of the five training pixels with the most similar series, --baseline forest a
    random forest of the same monthly medians. They use no spatial context; a network should score higher.

    Labels may be finer than the model's logits, such as with --set dataset.label_scale=4: --upsample interpolates the
    logits to their grid.
    """
    changes = scoring_changes(dataset, batch_size, assignments)
    days = {} if until is None else parse_days("--until", until)
    _check_files(plot, csv, bool(days))
    if floor:
        warn("--floor is deprecated and will be removed; use --baseline")
        baseline = "knn"
    has_baseline = baseline != "none"
    if has_baseline and days:
        raise UsageError("--baseline with --until; the baseline is not scored on truncated series; run it separately")
    if has_baseline and split == "train":
        raise UsageError("--baseline on split 'train'; it has learned these pixels; score another split")
    path = find_checkpoint(source, catalog, settings.zoo, settings.offline)
    note(f"checkpoint {path}: importing torch")
    from cropzoo.evaluation import evaluate as evaluation

    runtime = Runtime(device, workers)
    model, data = evaluation.open_evaluation(path, settings.zoo, split, changes, runtime, upsample)
    evaluation.warn_about_dates(data, split)
    if not has_baseline:
        print_model(scores_of(model.metadata))
    if days:
        from cropzoo.evaluation.early_season import score_season

        points = score_season(model, data, split, days, runtime, note)
        if is_rank_zero():
            _present(points, f"{Path(source).name} on {split}", split, plot, csv, as_json)
        return
    baselines = {}
    if has_baseline and is_rank_zero():
        note(f"scoring the {baseline} baseline on {split}")
        baselines["baseline"] = evaluation.score_baseline(baseline, data, split)
    scores = {**evaluation.evaluate(model, data, split, runtime), **baselines}
    if not is_rank_zero():
        return
    if as_json:
        print_json(scores)
    else:
        echo("\n".join(score_lines(split, scores)))


def _check_files(plot: Path | None, csv: Path | None, has_days: bool) -> None:
    """Check the names of the files of --plot and --csv.

    Raises:
        UsageError: a file without --until, or with another suffix.
    """
    for option, path in (("--plot", plot), ("--csv", csv)):
        if path is not None and not has_days:
            raise UsageError(
                f"{option} {str(path)!r}; it contains scores by day; give the days with --until 06-15,07-15"
            )
    check_picture(plot)
    if csv is not None and csv.suffix.lower() != ".csv":
        raise UsageError(f"--csv {str(csv)!r}; the name of a CSV file must end in .csv")


def _present(
    points: list[SeasonPoint], title: str, split: str, plot: Path | None, csv: Path | None, as_json: bool
) -> None:
    """Write the requested files and print the scores by day."""
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
        [point.until or "complete series", percent(point.dates_left)]
        + [percent(point.scores[key]) for key in ("oa", "miou", "macro_f1")]
        for point in points
    ]
    print_table([f"{split} until", "dates left %", "OA", "mIoU", "macro F1"], rows, sections=False)


def scoring_changes(dataset: str | None, batch_size: int | None, assignments: tuple[str, ...]) -> Mapping[str, Any]:
    """Settings that replace those of the training, in the mapping form of a recipe."""
    changes: dict[str, Any] = {}
    if dataset is not None:
        changes["dataset"] = {"name": dataset}
    if batch_size is not None:
        changes["batch_size"] = batch_size
    return merge(changes, expand_short_forms(parse_assignments(assignments), "--set"))
