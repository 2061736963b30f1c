"""`cropzoo train`: train a recipe."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from cropzoo.config.catalog import Catalog
from cropzoo.config.merge import parse_assignments, read_recipe, resolve_recipe
from cropzoo.config.plugin_records import complete_recipe, components_of, format_recipe, record_plugins
from cropzoo.config.recipe import Baseline, Recipe, flat_settings
from cropzoo.config.run_dir import RunFolder
from cropzoo.config.schema import read_mapping
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.errors import UsageError
from cropzoo.parallel import is_rank_zero
from cropzoo.plugins.registry import Zoo
from cropzoo.runtime import Runtime
from cropzoo.training.loggers import LoggerName
from cropzoo_cli.options import compute_options, pass_catalog
from cropzoo_cli.output import echo, note, print_json, report_interrupt
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.training.fit import Start
    from cropzoo.training.setup import Resources

RECIPE_FLAGS = (
    "backbone", "dataset", "pretrain", "objective", "weights", "epochs", "steps", "pretrain_epochs", "batch_size", "lr",
    "weight_decay", "seed", "precision", "max_dates", "date_sampling", "label_fraction", "label_parcels",
    "label_pixels", "train_years", "test_years", "train_sites", "test_sites", "baseline",
)  # fmt: skip


@click.command()
@click.option(
    "--backbone",
    metavar="NAME[.TAG]",
    help="Backbone, which `cropzoo list` shows; with TAG also its weights, which `cropzoo list --weights` shows.",
)
@click.option("--dataset", metavar="NAME", help="Dataset; default: synthetic.")
@click.option(
    "--pretrain", metavar="NAME[,NAME]", help="Objectives to pre-train with, such as cscl; none for no pre-training."
)
@click.option("--objective", metavar="NAME", help="Objective of the last stage; default: segmentation.")
@click.option(
    "--weights",
    metavar="FILE|RUN|ENTRY",
    help="Checkpoint that the backbone starts from; also hf-hub:ORG/NAME of the Hugging Face Hub.",
)
@click.option("--adapt-bands", is_flag=True, help="Accept --weights of other bands, and load the parameters that fit.")
@click.option("--freeze", is_flag=True, help="Freeze the backbone in the last stage and train only the head.")
@click.option(
    "--lr-scale",
    multiple=True,
    metavar="MODULE=FACTOR",
    help="Learning-rate multiplier of a module in the last stage, such as backbone=0.1. Repeatable.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Number of epochs of the last stage.")
@click.option(
    "--steps", type=click.IntRange(min=1), help="Number of steps (updates) of the last stage, instead of --epochs."
)
@click.option("--pretrain-epochs", type=click.IntRange(min=1), help="Number of epochs of each pre-training stage.")
@click.option(
    "-b",
    "--batch-size",
    "--batch_size",
    type=click.IntRange(min=1),
    help="Number of crops per step, in all processes together.",
)
@click.option("--lr", type=float, help="Learning rate of every stage.")
@click.option("--weight-decay", type=float, help="Weight decay of every stage.")
@click.option("--max-dates", type=click.IntRange(min=1), help="Maximum number of dates of a series.")
@click.option(
    "--date-sampling",
    type=click.Choice(["uniform", "random", "clearest"]),
    help="How --max-dates are selected from a longer series.",
)
@click.option(
    "--label-fraction", type=float, help="Fraction of the training parcels whose labels are used, above 0 to 1."
)
@click.option("--label-parcels", type=click.IntRange(min=1), help="Maximum number of training parcels of each class.")
@click.option(
    "--label-pixels", type=click.IntRange(min=1), help="Maximum number of labeled training pixels of each class."
)
@click.option(
    "--train-years", metavar="YEAR[,YEAR]", help="Seasons of the training and validation splits; default: all."
)
@click.option("--test-years", metavar="YEAR[,YEAR]", help="Seasons of the test split; default: all.")
@click.option(
    "--train-sites",
    metavar="SITE[,SITE]",
    help="Sites or tiles of the training and validation splits, patterns such as T31* included; default: all.",
)
@click.option("--test-sites", metavar="SITE[,SITE]", help="Sites of the test split; default: all.")
@click.option("--seed", type=click.IntRange(min=0), help="Random seed of initial weights, order and crops.")
@click.option("--precision", metavar="32|bf16|16", help="Floating-point precision of the computation.")
@click.option(
    "--baseline",
    type=click.Choice(get_args(Baseline)),
    help="Baseline scored on the test split at the end: knn, the 5 nearest neighbors of each pixel, or forest, a "
    "random forest balanced by class; default: knn.",
)
@compute_options
@click.option(
    "--logger",
    "loggers",
    multiple=True,
    type=click.Choice(get_args(LoggerName)),
    help="Also log the metrics of each epoch for this program, to logs/ in the run folder. Repeatable.",
)
@click.option("-c", "--config", metavar="FILE|ENTRY", help="Read settings from a YAML file or a catalog entry.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set any setting of the recipe, such as backbone.dim=64 or lr=1e-3. Repeatable.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; default: runs/NAME.")
@click.option("--name", help="Name of the run folder in runs/.")
@click.option("--resume", is_flag=True, help="Resume an interrupted run.")
@click.option("--overwrite", is_flag=True, help="Replace an existing run.")
@click.option("--print-config", is_flag=True, help="Print the recipe and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores of the val and test splits as JSON.")
@pass_catalog
def train(
    settings: Settings,
    catalog: Catalog,
    config: str | None,
    assignments: tuple[str, ...],
    out: Path | None,
    name: str | None,
    device: str,
    workers: int,
    loggers: tuple[str, ...],
    resume: bool,
    overwrite: bool,
    print_config: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train a backbone on a dataset, optionally with pre-training.

    \b
    cropzoo train --backbone tsvit --pretrain cscl
    cropzoo train --backbone tsvit --dataset geotiff --set dataset.root=fields/
    """  # noqa: D301 click reads the backspace character itself
    if out and name:
        raise UsageError("--out and --name both name the run folder; give one of them")
    if resume and overwrite:
        raise UsageError("--resume resumes a run and --overwrite replaces it; give one of them")
    if flags["epochs"] and flags["steps"]:
        raise UsageError("--epochs and --steps both set the budget of the last stage; give one of them")
    layers, entry = _layers(settings.zoo, config, assignments, flags)
    if resume:
        if name is None and out is None:
            name = run_name(resolve_recipe(settings.zoo, catalog, *layers, entry=entry)[0], catalog)
        folder = RunFolder(out or Path("runs") / str(name))
        if entry is not None:
            layers.insert(0, (entry, resolve_recipe(settings.zoo, catalog, *layers, entry=entry)[0].to_mapping()))
        recipe = _stored_recipe(settings.zoo, catalog, folder, layers)
    else:
        recipe, used = resolve_recipe(settings.zoo, catalog, *layers, entry=entry)
        if used:
            note(f"settings of catalog entry {used} are the defaults (--print-config shows them)")
        folder = RunFolder(out or Path("runs") / (name or run_name(recipe, catalog)))
    if print_config:
        if recipe.weights and not resume:
            from cropzoo.training.setup import adopt_options

            recipe = adopt_options(recipe, _resources(settings, catalog, Runtime(device, workers)))
        recipe = complete_recipe(settings.zoo, recipe)
        echo(format_recipe(recipe, record_plugins(settings.zoo, components_of(recipe))), nl=False)
        return
    if resume and folder.finished:
        note(f"run {folder.path} is already finished")
        scores = folder.scores()
    else:
        start: Start = "resume" if resume else "overwrite" if overwrite else "new"
        scores = _fit(settings, catalog, recipe, folder, Runtime(device, workers), loggers, start)
    if is_rank_zero():
        _print_scores(recipe, folder, scores, as_json)


def run_name(recipe: Recipe, catalog: Catalog) -> str:
    """Default name of a run; it begins with BACKBONE.TAG if the run starts from weights of that name."""
    backbone, weights = recipe.backbone.name, str(recipe.weights)
    tagged = weights in catalog.entries and weights.startswith(f"{backbone}.")
    first = weights if tagged else backbone.replace("/", "-")
    fitted = [stage.objective for stage in recipe.stages if stage.fitted]
    return "-".join([first, *recipe.pretrain, *fitted, recipe.dataset.name])


def _layers(
    zoo: Zoo, config: str | None, assignments: tuple[str, ...], flags: dict[str, Any]
) -> tuple[list[tuple[str, dict[str, Any]]], str | None]:
    """Layers of settings, the last one with the highest priority, and the catalog entry of --config if it is one."""
    layers: list[tuple[str, dict[str, Any]]] = []
    path = Path(config or "")
    is_file = config is not None and (path.exists() or path.suffix in (".yaml", ".yml"))
    if is_file:
        layers.append((str(config), upgrade_recipe(read_mapping(path), zoo.objectives)))
    given: dict[str, Any] = {key: flags[key] for key in RECIPE_FLAGS if flags.get(key) is not None}
    given |= {key: True for key in ("adapt_bands", "freeze") if flags[key]}
    if flags["lr_scale"]:
        given["lr_scale"] = _parse_factors(flags["lr_scale"])
    layers.append(("the command line", given))
    layers.append(("--set", parse_assignments(assignments, zoo)))
    return layers, None if is_file else config


def _parse_factors(assignments: tuple[str, ...]) -> dict[str, float]:
    """Parse `--lr-scale MODULE=FACTOR`.

    Raises:
        UsageError: another form.
    """
    factors = {}
    for assignment in assignments:
        module, equals, factor = assignment.partition("=")
        try:
            factors[module.strip()] = float(factor)
        except ValueError:
            equals = ""
        if not equals or not module.strip():
            raise UsageError(f"--lr-scale {assignment!r}; expected MODULE=FACTOR, such as backbone=0.1")
    return factors


def _stored_recipe(zoo: Zoo, catalog: Catalog, folder: RunFolder, layers: list[tuple[str, dict[str, Any]]]) -> Recipe:
    """The recipe of a run to resume; flags may repeat its settings, but not change them."""
    stored = folder.stored_recipe()
    recipe = read_recipe(zoo, stored, str(folder.recipe))
    requested, _ = resolve_recipe(zoo, catalog, (str(folder.recipe), stored), *layers, entry="")
    if requested != recipe:
        old, new = flat_settings(recipe), flat_settings(requested)
        keys = [key for key in {**old, **new} if old.get(key, "unset") != new.get(key, "unset")]
        changed = [f"{key} {old.get(key, 'unset')!r} -> {new.get(key, 'unset')!r}" for key in keys]
        raise UsageError(
            f"--resume {str(folder.path)!r}; these settings differ from those of the run: {'; '.join(changed)}; "
            "leave them out, or start another run with --name"
        )
    return recipe


def _fit(
    settings: Settings,
    catalog: Catalog,
    recipe: Recipe,
    folder: RunFolder,
    runtime: Runtime,
    loggers: tuple[str, ...],
    start: Start,
) -> dict[str, Any]:
    """Train, and return the scores of the test split.

    Raises:
        UsageError: the folder holds a run and is not to be replaced, or holds the weights that the run starts from.
        Exit: the training was interrupted.
    """
    if start != "resume":
        folder.check(start == "overwrite")
        if recipe.weights and Path(recipe.weights).resolve().is_relative_to(folder.path.resolve()):
            raise UsageError(
                f"--weights {recipe.weights!r} is in the run folder that this run replaces; choose another --name"
            )
    note(f"run {folder.path}: importing torch")
    from cropzoo.training.fit import fit

    resources = _resources(settings, catalog, runtime, loggers)

    def advice() -> str:
        started = folder.recipe.is_file()
        words = ["cropzoo", *settings.words, "train", "--resume", "--out", str(folder.path)]
        return f"resume with: {shlex.join(words)}" if started else "run the same command again"

    with report_interrupt(advice):
        return fit(recipe, folder, resources, start)


def _resources(settings: Settings, catalog: Catalog, runtime: Runtime, loggers: tuple[str, ...] = ()) -> Resources:
    from cropzoo.training.setup import Resources

    return Resources(settings.zoo, catalog, runtime, note, settings.offline, tuple(dict.fromkeys(loggers)))


def _print_scores(recipe: Recipe, folder: RunFolder, scores: dict[str, Any], as_json: bool) -> None:
    """Print the scores of the test split, as JSON also those of the val split, and the main files of a run."""
    if as_json:
        print_json({"run": str(folder.path), "val": folder.scores("val"), "test": scores})
        return
    from cropzoo_cli.scores import score_lines

    unscored = f"no scores: {recipe.stages[-1].objective} predicts no classes; fine-tune with --weights {folder.path}"
    echo("\n".join(score_lines("test", scores)) if scores else unscored)
    echo(f"\ncheckpoint  {folder.model}\nreport      {folder.report}")
