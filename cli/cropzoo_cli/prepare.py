"""`cropzoo prepare`: make a training dataset from parcels and images, or from another dataset."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cropzoo.errors import UsageError
from cropzoo.io import exclusive_folder
from cropzoo.plugins.registry import Zoo
from cropzoo_cli.options import whole_numbers
from cropzoo_cli.output import echo, note, print_json, report_interrupt, warn
from cropzoo_cli.progress import progress
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.prepare.options import PrepareOptions

MAX_WORKERS = 8

_CONVERSION_OPTIONS = ("source", "assignments")
"""Options of a conversion only."""

_SHARED_OPTIONS = ("rest", "out", "workers", "overwrite", "as_json")
"""Options of both a conversion and a preparation; all others are of a preparation only."""


@click.command()
@click.argument("rest", nargs=-1, metavar="[ROOT]")
@click.option(
    "--parcels", multiple=True, type=click.Path(path_type=Path), help="Vector file of the parcels. Repeatable."
)
@click.option("--crop-column", default="crop_code", show_default=True, help="Parcel column with the crop.")
@click.option(
    "--name-column", default="crop_name", show_default=True, help="Parcel column with the crop name, if it exists."
)
@click.option(
    "--encoding", default="", help="Encoding of the texts in the file of parcels, such as cp1250. Default: detected."
)
@click.option("--id-column", default="", help="Parcel column with the parcel id. Default: number the parcels.")
@click.option(
    "--year-column", default="", help="Parcel column with the harvest year. Each year becomes separate samples."
)
@click.option(
    "--season", default="01-01:12-31", show_default=True, help="First and last day of the image series of a year."
)
@click.option(
    "--images",
    multiple=True,
    metavar="PATTERN",
    help="Images: a quoted pattern, a folder, or a STAC item collection. Repeatable.",
)
@click.option(
    "--bands",
    default="",
    metavar="B02,B03",
    help="Bands to use, or names of all bands of files without descriptions in order, with - for a band to leave out. "
    "Alpha bands need no name.",
)
@click.option("--clear-scl", default="4,5,6", show_default=True, help="Classes of the SCL band that are clear.")
@click.option(
    "--offset",
    type=int,
    help="Radiometric offset subtracted from pixel values (1000 for Sentinel-2 processing baseline 04.00 and later). "
    "Default: read from metadata.",
)
@click.option(
    "--scale", type=float, help="Reflectance of one stored unit. Default: 1e-4 for integers, 1 for floating point."
)
@click.option(
    "--classes", type=click.Path(path_type=Path), help="CSV table of crops with columns code, name, class, color."
)
@click.option(
    "--background",
    type=click.Choice(["class", "ignore"]),
    help="Make ground without a parcel class 0, or ignore it. Default: class 0, with a warning if the parcels look "
    "incomplete.",
)
@click.option(
    "--aoi",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Polygons of the area in which the parcels are complete. Outside, ground without a parcel is ignored.",
)
@click.option("--min-pixels", type=click.IntRange(min=0), default=0, help="Treat classes with fewer pixels as rare.")
@click.option(
    "--rare",
    type=click.Choice(["ignore", "merge"]),
    default="ignore",
    show_default=True,
    help="Ignore rare classes, or merge them into one class.",
)
@click.option(
    "--conflict",
    type=float,
    default=0.4,
    show_default=True,
    help="Ignore pixels whose second crop has a larger share.",
)
@click.option("--window", type=int, default=128, show_default=True, help="Sample size in pixels per side.")
@click.option(
    "--label-scale",
    type=int,
    default=1,
    show_default=True,
    help="Label pixels per image pixel and axis: 1, 2 or 4.",
)
@click.option(
    "--split-by",
    default="blocks",
    show_default=True,
    metavar="blocks|year|COLUMN",
    help="Assign samples to folds by spatial block, by year, or by a parcel column.",
)
@click.option("--folds", type=int, default=5, show_default=True, help="Number of folds of spatial blocks.")
@click.option("--block", type=int, default=512, show_default=True, help="Block size in pixels per side.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed of the fold assignment."
)
@click.option("--whole-parcels", is_flag=True, help="Use each parcel only in the fold that contains most of it.")
@click.option("--keep-empty", is_flag=True, help="Keep windows without a parcel.")
@click.option("--citation", default="", help="Citation of the data sources.")
@click.option("--license", default="", help="License of the data sources.")
@click.option(
    "--from", "source", metavar="DATASET", help="Convert a dataset of the zoo instead; ROOT is the path of its files."
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the converted dataset, such as dataset.size=480. Repeatable.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the new dataset.")
@click.option(
    "-j", "--workers", type=click.IntRange(min=0), help="Number of processes. Default: one per core, up to 8."
)
@click.option("--dry-run", is_flag=True, help="Print the plan without writing anything.")
@click.option("--overwrite", is_flag=True, help="Replace an existing dataset.")
@click.option("--json", "as_json", is_flag=True, help="Print a description of the dataset as JSON.")
@click.pass_obj
def prepare(
    settings: Settings,
    /,
    rest: tuple[str, ...],
    source: str | None,
    assignments: tuple[str, ...],
    out: Path,
    workers: int | None,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Make a dataset in the layout of PASTIS from parcels and images.

    \b
    cropzoo prepare --parcels parcels.gpkg --images 'S2_*.tif' --out ds/
    cropzoo train --backbone tsvit --dataset ds/
    cropzoo prepare --from t31tfm T31TFM/ --out ds/
    """  # noqa: D301 click reads the backspace character itself
    processes = min(os.cpu_count() or 1, MAX_WORKERS) if workers is None else workers
    _check_options(source)
    with report_interrupt(lambda: f"run again: {shlex.join(['cropzoo', *sys.argv[1:]])}"):
        if source is None:
            options = _options(flags, rest)
            written = _prepare(options, out, processes, dry_run, overwrite)
        else:
            from cropzoo_cli.convert import convert_dataset

            written = convert_dataset(settings.zoo, source, rest, assignments, out, processes, overwrite)
    if written:
        present(settings.zoo, out, as_json)


def _check_options(source: str | None) -> None:
    """Refuse options that would be ignored.

    Raises:
        UsageError: An option of the other use of the command.
    """
    context = click.get_current_context()
    given = [
        option
        for option in context.command.params
        if option.name and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if source is None:
        wrong, why = [option for option in given if option.name in _CONVERSION_OPTIONS], "they require --from DATASET"
    else:
        wrong = [option for option in given if option.name not in (*_CONVERSION_OPTIONS, *_SHARED_OPTIONS)]
        why = f"--from {source} converts a dataset without changes"
    if wrong:
        names = ", ".join(max(option.opts, key=len) for option in wrong)
        raise UsageError(f"options {names}; {why}; remove them")


def _options(flags: dict[str, Any], rest: tuple[str, ...]) -> PrepareOptions:
    from cropzoo.prepare.options import PrepareOptions

    lists: dict[str, Any] = {
        "parcels": tuple(path.expanduser() for path in flags.pop("parcels")),
        "images": (*flags.pop("images"), *rest),  # a pattern expanded by the shell ends up here
        "bands": tuple(name.strip() for name in flags.pop("bands").split(",") if name.strip()),
        "clear_scl": whole_numbers("--clear-scl", flags.pop("clear_scl")),
    }
    files = {name: flags.pop(name) for name in ("classes", "aoi")}
    files = {name: None if path is None else path.expanduser() for name, path in files.items()}
    return PrepareOptions(**lists, **files, **flags)


def _prepare(options: PrepareOptions, out: Path, workers: int, dry_run: bool, overwrite: bool) -> bool:
    """Prepare a dataset; returns whether it exists afterwards."""
    from cropzoo.prepare.build import execute_plan, plan_signature
    from cropzoo.prepare.checks import check_plan
    from cropzoo.prepare.journal import Journal
    from cropzoo.prepare.plan import make_plan, plan_lines

    journal = Journal(out.expanduser())
    if not dry_run:
        journal.check_folder()
    plan = make_plan(options, workers, note)
    for line in plan.notes:
        warn(line)
    check_plan(plan, workers, note)
    if dry_run:
        echo("\n".join(plan_lines(plan)))
        return False
    with exclusive_folder(journal.folder):
        journal.start(plan_signature(plan), overwrite)
        if journal.finished:
            journal.close()  # which a kill may have interrupted
            note(f"{out} exists already, prepared from the same files and options; pass --overwrite to write it again")
            return True
        again = shlex.join(["cropzoo", *(word for word in sys.argv[1:] if word != "--overwrite")])
        with report_interrupt(lambda: f"resume with: {again}"), progress("samples") as advance:
            for line in execute_plan(plan, journal, workers, advance):
                warn(line)
    return True


def present(zoo: Zoo, out: Path, as_json: bool) -> None:
    """Write the dataset card and quicklook, and print a description of the dataset."""
    from cropzoo.reports.dataset_page import write_pages

    with progress("samples read for the quicklook") as advance:
        description = write_pages(zoo, out, advance)
    if as_json:
        print_json({"dataset": str(out), **description.as_dict()})
        return
    from cropzoo_cli.show_dataset import description_lines

    echo("\n".join(description_lines(description)))
    echo(f"\ndataset    {out}\nquicklook  {out / 'quicklook.html'}")
    if {"train", "val", "test"} <= {split.name for split in description.splits}:
        scale = description.label_scale or 1
        finer = f" --set head.upsample={scale}" if scale > 1 else ""
        echo(f"train      cropzoo train --backbone tsvit --dataset {shlex.quote(f'{out}/')}{finer}")
