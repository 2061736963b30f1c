"""`cropzoo train`: flags to a recipe to a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal

import click
import yaml

from cropzoo.config.catalog import Catalog
from cropzoo.config.merge import parse_assignments, resolve
from cropzoo.config.recipe import Recipe
from cropzoo.config.run_dir import RunFolder
from cropzoo.config.schema import read_mapping
from cropzoo.errors import UsageError
from cropzoo.parallel import is_rank_zero
from cropzoo.plugins.registry import Zoo
from cropzoo_cli.options import compute_options, pass_catalog
from cropzoo_cli.output import note, print_json
from cropzoo_cli.settings import Settings

INTERRUPTED = 130

RECIPE_FLAGS = (
    "backbone", "dataset", "pretrain", "weights", "epochs", "pretrain_epochs", "batch_size", "lr", "weight_decay",
    "seed", "precision", "max_dates", "date_sampling", "label_fraction", "train_years", "test_years", "train_sites",
    "test_sites",
)  # fmt: skip


@click.command()
@click.option("--backbone", metavar="NAME", help="Network; `cropzoo list` shows them.")
@click.option("--dataset", metavar="NAME", help="Data; synthetic if none is named.")
@click.option("--pretrain", metavar="NAME[,NAME]", help="Objective to pre-train with, such as cscl; none for none.")
@click.option("--weights", metavar="FILE|RUN|ENTRY", help="Start the backbone from this checkpoint.")
@click.option("--adapt-bands", is_flag=True, help="Take --weights that were trained on other bands, where they fit.")
@click.option("--freeze", is_flag=True, help="Train the last stage's head alone; the backbone stays as it is.")
@click.option("--lr-scale", multiple=True, metavar="PART=FACTOR", help="Of the last stage: backbone=0.1.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of the last stage.")
@click.option("--pretrain-epochs", type=click.IntRange(min=1), help="Epochs of each stage before it.")
@click.option("-b", "--batch-size", "--batch_size", type=click.IntRange(min=1), help="Crops a step.")
@click.option("--lr", type=float, help="Learning rate of every stage.")
@click.option("--weight-decay", type=float, help="Weight decay of every stage.")
@click.option("--max-dates", type=click.IntRange(min=1), help="Use at most so many dates of a series.")
@click.option("--date-sampling", type=click.Choice(["uniform", "random", "clearest"]), help="Which ones.")
@click.option("--label-fraction", type=float, help="Use labels of this share of the training parcels, 0.01 to 1.")
@click.option("--train-years", metavar="YEAR[,YEAR]", help="Train and choose on these seasons alone.")
@click.option("--test-years", metavar="YEAR[,YEAR]", help="Test on these.")
@click.option(
    "--train-sites", metavar="SITE[,SITE]", help="Train and choose on these sites or tiles; T31* is a pattern."
)
@click.option("--test-sites", metavar="SITE[,SITE]", help="Test on these.")
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, order and crops.")
@click.option("--precision", metavar="32|bf16|16", help="Number format of the computation.")
@compute_options
@click.option("-c", "--config", metavar="FILE|ENTRY", help="Settings from a YAML file or a catalog entry.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting: backbone.dim=64, lr=1e-3.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; runs/NAME if not given.")
@click.option("--name", help="Name of the run below runs/.")
@click.option("--resume", is_flag=True, help="Continue the run that is there.")
@click.option("--overwrite", is_flag=True, help="Replace the run that is there.")
@click.option("--print-config", is_flag=True, help="Print the recipe and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON.")
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
    resume: bool,
    overwrite: bool,
    print_config: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train a backbone on a dataset, with or without pre-training.

    \b
    cropzoo train --backbone tsvit --pretrain cscl
    cropzoo train --backbone tsvit --dataset geotiff --set dataset.root=fields/
    """  # noqa: D301 click reads the backspace character itself
    if out and name:
        raise UsageError("--out and --name both say where the run goes; give one of them")
    if resume and overwrite:
        raise UsageError("--resume continues a run and --overwrite replaces it; give one of them")
    layers, entry = _layers(config, assignments, flags)
    if resume:
        if name is None and out is None:
            name = run_name(resolve(settings.zoo, catalog, *layers, entry=entry)[0])
        folder = RunFolder(out or Path("runs") / str(name))
        if entry is not None:
            layers.insert(0, (entry, resolve(settings.zoo, catalog, *layers, entry=entry)[0].to_mapping()))
        recipe = _resumed(settings.zoo, catalog, folder, layers)
    else:
        recipe, used = resolve(settings.zoo, catalog, *layers, entry=entry)
        if used:
            note(f"settings of catalog entry {used} are the defaults (--print-config shows them)")
        folder = RunFolder(out or Path("runs") / (name or run_name(recipe)))
    if print_config:
        click.echo(yaml.safe_dump(recipe.to_mapping(), sort_keys=False), nl=False)
        return
    _run(settings, catalog, recipe, folder, (device, workers), resume, overwrite, as_json)


def run_name(recipe: Recipe) -> str:
    """The name of a run that was given none."""
    return "-".join([recipe.backbone.name.replace("/", "-"), *recipe.pretrain, recipe.dataset.name])


def _layers(
    config: str | None, assignments: tuple[str, ...], flags: dict[str, Any]
) -> tuple[list[tuple[str, dict[str, Any]]], str | None]:
    """What the user asks for, the strongest last, and the catalog entry that --config names, if it does."""
    layers: list[tuple[str, dict[str, Any]]] = []
    path = Path(config or "")
    is_file = config is not None and (path.exists() or path.suffix in (".yaml", ".yml"))
    if is_file:
        layers.append((str(config), read_mapping(path)))
    given: dict[str, Any] = {key: flags[key] for key in RECIPE_FLAGS if flags.get(key) is not None}
    given |= {key: True for key in ("adapt_bands", "freeze") if flags[key]}
    if flags["lr_scale"]:
        given["lr_scale"] = _factors(flags["lr_scale"])
    layers.append(("the command line", given))
    layers.append(("--set", parse_assignments(assignments)))
    return layers, None if is_file else config


def _factors(assignments: tuple[str, ...]) -> dict[str, float]:
    """The factors of `--lr-scale PART=FACTOR`.

    Raises:
        UsageError: for anything else.
    """
    factors = {}
    for assignment in assignments:
        part, equals, factor = assignment.partition("=")
        try:
            factors[part.strip()] = float(factor)
        except ValueError:
            equals = ""
        if not equals or not part.strip():
            raise UsageError(f"--lr-scale {assignment!r}; it must read part=factor, such as backbone=0.1")
    return factors


def _resumed(zoo: Zoo, catalog: Catalog, folder: RunFolder, layers: list[tuple[str, dict[str, Any]]]) -> Recipe:
    """The stored recipe, which flags may repeat but not change."""
    stored = folder.stored_recipe()
    recipe = Recipe.from_mapping(stored, str(folder.recipe), list(zoo.objectives))
    asked, _ = resolve(zoo, catalog, (str(folder.recipe), stored), *layers)
    if asked != recipe:
        old, new = _flat(recipe.to_mapping()), _flat(asked.to_mapping())
        keys = [key for key in {**old, **new} if old.get(key, "unset") != new.get(key, "unset")]
        changed = [f"{key} {old.get(key, 'unset')!r} -> {new.get(key, 'unset')!r}" for key in keys]
        raise UsageError(
            f"--resume continues {str(folder.path)!r} as it was begun, but these settings differ: "
            f"{'; '.join(changed)}; leave them out, or start another run with --name"
        )
    return recipe


def _flat(mapping: dict[str, Any]) -> dict[str, Any]:
    """The settings of sections as "section.key"."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _run(
    settings: Settings,
    catalog: Catalog,
    recipe: Recipe,
    folder: RunFolder,
    compute: tuple[str, int],
    resume: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    if resume and folder.finished:
        note(f"run {folder.path} is finished already")
        scores = folder.scores()
    else:
        if not resume:
            folder.check(overwrite)
            if recipe.weights and Path(recipe.weights).resolve().is_relative_to(folder.path.resolve()):
                raise UsageError(
                    f"--weights {recipe.weights!r} lies in the run folder that this run replaces; choose another --name"
                )
        note(f"run {folder.path}: importing torch")
        from cropzoo.runtime import Runtime
        from cropzoo.training.fit import fit

        start: Literal["new", "overwrite", "resume"] = "resume" if resume else "overwrite" if overwrite else "new"
        try:
            scores = fit(recipe, settings.zoo, catalog, folder, Runtime(*compute), note, settings.offline, start)
        except KeyboardInterrupt:
            if folder.recipe.is_file():
                note(f"interrupted; go on with: cropzoo train --resume --out {shlex.quote(str(folder.path))}")
                raise click.exceptions.Exit(INTERRUPTED) from None
            raise
    if not is_rank_zero():
        return
    if as_json:
        print_json({"run": str(folder.path), "test": scores})
        return
    from cropzoo_cli.scores import score_lines

    unscored = f"no scores: {recipe.stages[-1].objective} predicts no classes; train on with --weights {folder.path}"
    click.echo("\n".join(score_lines("test", scores)) if scores else unscored)
    click.echo(f"\ncheckpoint  {folder.model}\nreport      {folder.report}")
