"""`cropzoo compare`: train a grid of runs and print tables of their scores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropzoo.config.catalog import Catalog
from cropzoo.config.merge import parse_assignments
from cropzoo.config.schema import read_mapping
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.errors import CropzooError, UsageError
from cropzoo.runtime import Runtime
from cropzoo_cli.options import compute_options, pass_catalog, shard_of, whole_numbers
from cropzoo_cli.output import echo, note, print_json, print_table, report_interrupt, warn
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.evaluation.compare.config import Study
    from cropzoo.evaluation.compare.folder import StudyFolder
    from cropzoo.evaluation.compare.grid import PlannedRun, StudyPlan
    from cropzoo.evaluation.compare.summary import StudySummary
    from cropzoo.evaluation.compare.tables import Table
    from cropzoo.plugins.registry import Zoo

FAILED = 1

STUDY_FLAGS = ("backbones", "pretrain", "dataset", "epochs", "pretrain_epochs", "budget", "split", "until")


@click.command()
@click.argument("study", required=False, metavar="[STUDY.yaml]", type=click.Path(path_type=Path))
@click.option("--backbones", metavar="NAME[,NAME]", help="Backbones to compare.")
@click.option(
    "--pretrain",
    metavar="NAME[,NAME]",
    help="Pre-training objectives: none for no pre-training, cscl+mtm for two stages in sequence.",
)
@click.option("--seeds", metavar="N|A,B", help="Number of seeds, or a list of seeds.")
@click.option(
    "--folds", metavar="A[,B]", help="Folds of the dataset. The confusion matrices of a seed's folds are summed."
)
@click.option(
    "--label-fractions", metavar="A[,B]", help="Fractions of the training parcels whose labels are used, such as 0.1,1."
)
@click.option("--dataset", metavar="NAME", help="Dataset of all runs. Default: synthetic.")
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Epochs of the last stage (budget finetune) or of all stages together (budget total).",
)
@click.option(
    "--pretrain-epochs",
    type=click.IntRange(min=1),
    help="Epochs of each pre-training stage. Default: a quarter of --epochs.",
)
@click.option(
    "--budget",
    type=click.Choice(["total", "finetune"]),
    help="total: pre-training takes its epochs from the last stage. finetune: it adds to them. Default: total.",
)
@click.option("--split", type=click.Choice(["test", "val"]), help="Split whose scores are compared. Default: test.")
@click.option(
    "--until", metavar="DAYS", help="Also score every run on series that end on these days, such as 06-15,07-15."
)
@click.option(
    "-c", "--config", metavar="FILE", type=click.Path(path_type=Path), help="YAML file with settings of all runs."
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Setting of all runs. Repeatable.")
@click.option("--out", default="study", show_default=True, type=click.Path(path_type=Path), help="Folder of the study.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Number of runs to train at a time."
)
@click.option("--shard", metavar="I/N", help="Train only part I of N of the runs. Tables show all finished runs.")
@click.option(
    "--dry-run", is_flag=True, help="List the runs and check data and network of each configuration without training."
)
@compute_options
@click.option("--json", "as_json", is_flag=True, help="Print the tables as JSON.")
@pass_catalog
def compare(
    settings: Settings,
    catalog: Catalog,
    study: Path | None,
    config: Path | None,
    assignments: tuple[str, ...],
    out: Path,
    jobs: int,
    shard: str | None,
    dry_run: bool,
    device: str,
    workers: int,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train the unfinished runs of a grid and compare their scores.

    \b
    cropzoo compare --backbones tsvit,unet3df --pretrain none,cscl --seeds 5
    cropzoo compare study.yaml --out study/ --jobs 4

    Flags override the file. Finished runs are never trained again; the same command resumes an interrupted study.
    """  # noqa: D301 click reads the backspace character itself
    part = (0, 1) if shard is None else shard_of(shard)
    from cropzoo.evaluation.compare.folder import StudyFolder
    from cropzoo.evaluation.compare.grid import make_plan

    plan = make_plan(_study(study, config, assignments, flags, settings.zoo), settings.zoo, catalog)
    folder = StudyFolder(out)
    folder.check_place()
    folder.check(plan.runs, settings.zoo)
    runtime = Runtime(device, workers)
    find_error = partial(_find_error, settings, catalog, folder, runtime)
    if dry_run:
        _list_runs(plan, folder, part, as_json)
        _check_runs(plan, folder, part, find_error)
        return
    failed = _train(settings, plan, folder, part, jobs, runtime, find_error)
    not_scored = _score_again(settings, plan, folder, part, runtime)
    _present(plan, folder, not_scored, as_json)
    finished = sum(folder.state(run) == "finished" for run in plan.runs)
    if part[1] > 1 and finished < len(plan.runs):
        note(f"the tables show the {finished} of {len(plan.runs)} runs that are finished; run the other shards, too")
    errors = list(_errors(plan, folder, failed, not_scored))
    for error in errors:
        note(f"error: {error}")
    if errors:
        raise click.exceptions.Exit(FAILED)


def _errors(
    plan: StudyPlan, folder: StudyFolder, failed: Mapping[str, str], not_scored: Mapping[str, str]
) -> Iterator[str]:
    """A line for each problem of the study, with what to do."""
    again = "fix the cause and repeat the command"
    if failed:
        yield f"{len(failed)} of {len(plan.runs)} runs failed; see {folder.path / 'failed'}; {again}"
    if not_scored:
        several = "s" if len(not_scored) > 1 else ""
        yield f"{len(not_scored)} additional scoring{several} failed, see above; {again}"
    finished = [run for run in plan.runs if folder.state(run) == "finished"]
    if bare := [run for run in finished if not folder.run(run).scores(plan.study.split)]:
        last = bare[0].recipe.stages[-1].objective
        yield (
            f"{len(bare)} of {len(plan.runs)} runs have no scores because {last} trains no head; end the study with an "
            "objective that trains one, such as segmentation"
        )


def _study(
    file: Path | None, config: Path | None, assignments: tuple[str, ...], flags: Mapping[str, Any], zoo: Zoo
) -> Study:
    """The study of a file and flags."""
    from cropzoo.evaluation.compare.config import read_study

    given = {key: flags[key] for key in STUDY_FLAGS if flags[key] is not None}
    if flags["seeds"] is not None:
        seeds = whole_numbers("--seeds", flags["seeds"])
        given["seeds"] = list(seeds) if "," in flags["seeds"] or not seeds else seeds[0]
    if flags["folds"] is not None:
        given["folds"] = list(whole_numbers("--folds", flags["folds"]))
    if flags["label_fractions"] is not None:
        given["label_fractions"] = _fractions(flags["label_fractions"])
    recipe = [] if config is None else [(str(config), upgrade_recipe(read_mapping(config), zoo.objectives))]
    recipe.append(("--set", parse_assignments(assignments, zoo)))
    content = {} if file is None else read_mapping(file)
    where = "the command line" if file is None else f"{file} and the command line" if given else str(file)
    return read_study(content, given, recipe, where, zoo.objectives)


def _fractions(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(
            f"--label-fractions {text!r}; expected comma-separated numbers up to 1; use a list such as 0.1,1"
        ) from None


def _list_runs(plan: StudyPlan, folder: StudyFolder, part: tuple[int, int], as_json: bool) -> None:
    """Print the runs of a part and their states."""
    index, count = part
    runs, ways = plan.runs[index::count], len(plan.study.all_scorings)
    rows = [(run.name, folder.state(run), str(folder.run(run).path)) for run in runs]
    made = sum(len(folder.scorings(run, plan.study)) for run in runs if folder.state(run) == "finished")
    if as_json:
        print_json([{"run": name, "state": state, "folder": path} for name, state, path in rows])
    else:
        print_table(("run", "state", "folder"), rows, sections=False)
    missing = sum(state != "finished" for _, state, _ in rows)
    scored = f", {ways * len(rows) - made} of {ways * len(rows)} additional scorings computed" if ways else ""
    note(f"{missing} of {len(rows)} runs would be trained{scored}")


def _find_error(settings: Settings, catalog: Catalog, folder: StudyFolder, runtime: Runtime, run: PlannedRun) -> str:
    """The error that a run would be refused with before training; empty if there is none."""
    from cropzoo.training.fit import check_run
    from cropzoo.training.setup import Resources

    resources = Resources(settings.zoo, catalog, runtime, lambda _: None, settings.offline)
    try:
        check_run(run.recipe, folder.run(run), resources)
    except CropzooError as error:
        return str(error)
    except Exception as error:  # data and plugins may raise anything
        return f"{type(error).__name__}: {error}"
    return ""


def _check_runs(
    plan: StudyPlan, folder: StudyFolder, part: tuple[int, int], find_error: Callable[[PlannedRun], str]
) -> None:
    """Check the configurations of a part that are not finished, each with its first seed.

    Raises:
        CropzooError: data or network of a configuration cannot be trained with; the message has all errors.
    """
    index, count = part
    missing = [run for run in plan.runs[index::count] if folder.state(run) != "finished"]
    first = {(run.cell, run.fold): run for run in reversed(missing)}
    if not first:
        return
    note(f"checking data and network of {len(first)} configuration{'s' if len(first) > 1 else ''}: importing torch")
    refused = {run.name: error for run in reversed(first.values()) if (error := find_error(run))}
    if refused:
        lines = "".join(f"\n{name}: {error}" for name, error in refused.items())
        raise CropzooError(f"{len(refused)} of {len(first)} configurations cannot be trained{lines}")


def _train(
    settings: Settings,
    plan: StudyPlan,
    folder: StudyFolder,
    part: tuple[int, int],
    jobs: int,
    runtime: Runtime,
    find_error: Callable[[PlannedRun], str],
) -> dict[str, str]:
    """Train the unfinished runs of a part; returns the errors of those that failed or were not started, by name."""
    from cropzoo.evaluation.compare.runner import TrainingJobs, train_runs

    index, count = part
    folder.prepare(plan.study)
    compute = ("--device", runtime.device, "--workers", str(runtime.workers))
    command = [sys.executable, "-m", "cropzoo_cli.main", *settings.words, "train", *compute]
    trainings = TrainingJobs(command, jobs, note, find_error, plan.study.split)
    with report_interrupt(lambda: _state(plan, folder)):
        return train_runs(plan.runs[index::count], folder, trainings)


def _score_again(
    settings: Settings, plan: StudyPlan, folder: StudyFolder, part: tuple[int, int], runtime: Runtime
) -> dict[str, str]:
    """Score the runs of a part by the additional scorings; returns the errors of the failed ones."""
    if not plan.study.all_scorings:
        return {}
    from cropzoo.evaluation.compare.results import run_scorings

    index, count = part
    with report_interrupt(lambda: _state(plan, folder)):
        return run_scorings(plan.runs[index::count], folder, plan.study, settings.zoo, runtime, note)


def _state(plan: StudyPlan, folder: StudyFolder) -> str:
    """How many runs are finished, for an interrupted study."""
    done = sum(folder.state(run) == "finished" for run in plan.runs)
    return f"{done} of {len(plan.runs)} runs are finished; repeat the command to resume"


def _present(plan: StudyPlan, folder: StudyFolder, not_scored: Mapping[str, str], as_json: bool) -> None:
    """Write and print the tables of the finished runs."""
    from cropzoo.evaluation.compare.page import write_page
    from cropzoo.evaluation.compare.results import collect_scores, collect_scorings
    from cropzoo.evaluation.compare.summary import summarize
    from cropzoo.evaluation.compare.tables import (
        cell_records,
        distance_records,
        run_records,
        scoring_records,
        write_csv,
    )

    found = collect_scores(plan, folder)
    summaries, failed = summarize(plan, found), folder.failures(plan.runs)
    others = {name: summarize(plan, scores) for name, scores in collect_scorings(plan, folder).items()}
    cells, runs, scorings = cell_records(summaries), run_records(found), scoring_records(others)
    tables = {folder.cells: cells, folder.runs: runs, folder.distances: distance_records(summaries)}
    if others:
        tables[folder.others] = scorings
    else:
        folder.others.unlink(missing_ok=True)
    for path, records in tables.items():
        write_csv(path, records)
    write_page(folder, plan, summaries, others, {**failed, **not_scored})
    if as_json:
        study = plan.study
        result = {"budget": study.budget, "split": study.split, "cells": cells, "runs": runs, "scorings": scorings}
        print_json({**result, "failed": failed, "failed_scorings": dict(not_scored)})
        return
    _print_tables(plan, summaries, others)
    echo(f"\ntables      {', '.join(map(str, tables))}\npage        {folder.page}")


def _print_tables(
    plan: StudyPlan, summaries: Sequence[StudySummary], others: Mapping[str, Sequence[StudySummary]]
) -> None:
    """Print the tables in parts that fit a terminal."""
    from cropzoo.evaluation.compare.summary import step_warnings
    from cropzoo.evaluation.compare.tables import (
        backbone_table,
        baseline_labels,
        budget_text,
        difference_table,
        interval_text,
        score_table,
        scoring_table,
        split_table,
    )

    folds = "; folds are summed" if plan.study.folds else ""
    echo(f"scores on {plan.study.split} in percent: mean ± standard deviation over seeds{folds}")
    _print_parts(split_table(plan, score_table(plan, summaries)))
    echo(budget_text(plan))
    for line in step_warnings(summaries):
        warn(line)
    first = plan.study.backbones[0]
    to_backbone = f"{first} with the same pre-training{', variant' if plan.study.variants else ''}"
    to_baseline = f"the baseline ({' or '.join(baseline_labels(summaries))})"
    for reference, table in (
        (to_baseline, difference_table(plan, summaries)),
        (to_backbone, backbone_table(plan, summaries)),
    ):
        if table[1]:
            echo(f"\ndifferences to {reference} in percentage points\nwith {interval_text()}")
            _print_parts(split_table(plan, table))
    if others:
        echo("\nmIoU of the same weights by additional scorings")
        print_table(*scoring_table(plan, summaries, others))


def _print_parts(parts: Sequence[tuple[str, Table]]) -> None:
    for title, table in parts:
        echo(f"\n{title}")
        print_table(*table)
