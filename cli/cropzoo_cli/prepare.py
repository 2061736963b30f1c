"""`cropzoo prepare`: parcels and images, or another dataset, to a dataset that trains."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cropzoo.errors import UsageError
from cropzoo.plugins.registry import Zoo
from cropzoo_cli.options import whole_numbers
from cropzoo_cli.output import note, print_json, warn
from cropzoo_cli.progress import progress
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.prepare.options import PrepareOptions

INTERRUPTED = 130
MOST_WORKERS = 8

_CONVERSION = ("source", "assignments")
"""Options of a conversion alone."""

_BOTH = ("rest", "out", "workers", "overwrite", "as_json")
"""Those of a conversion that preparing has as well; all others are of preparing alone."""


@click.command()
@click.argument("rest", nargs=-1, metavar="[ROOT]")
@click.option(
    "--parcels", multiple=True, type=click.Path(path_type=Path), help="Vector file of parcels; may be given again."
)
@click.option("--crop-column", default="crop_code", show_default=True, help="Column with the crop.")
@click.option("--name-column", default="crop_name", show_default=True, help="Column with its name; need not exist.")
@click.option("--id-column", default="", help="Column with a parcel's id; numbered if not given.")
@click.option("--year-column", default="", help="Column with the harvest year: every year becomes samples of its own.")
@click.option("--season", default="01-01:12-31", show_default=True, help="First and last day of a year's series.")
@click.option(
    "--images",
    multiple=True,
    metavar="PATTERN",
    help="Images: a pattern in quotes, a folder, or a STAC item collection.",
)
@click.option("--bands", default="", metavar="B02,B03", help="Bands to use; names where the files have none.")
@click.option("--clear-scl", default="4,5,6", show_default=True, help="Classes of an SCL band that are clear.")
@click.option(
    "--offset",
    type=int,
    help="What the numbers carry too much, 1000 from baseline 04.00 on; as the metadata say if not given.",
)
@click.option(
    "--scale", type=float, help="Reflectance of one stored unit; 1e-4 for integers, 1 for fractions if not given."
)
@click.option("--classes", type=click.Path(path_type=Path), help="Table of crops: code,name,class,color.")
@click.option("--min-pixels", type=click.IntRange(min=0), default=0, help="Classes with fewer pixels are rare.")
@click.option(
    "--rare", type=click.Choice(["ignore", "merge"]), default="ignore", show_default=True, help="What becomes of them."
)
@click.option(
    "--conflict",
    type=float,
    default=0.4,
    show_default=True,
    help="Ignore a pixel whose second crop has a larger share.",
)
@click.option("--window", type=int, default=128, show_default=True, help="Pixels on a side of a sample.")
@click.option(
    "--label-scale", type=int, default=1, show_default=True, help="Labels 2 or 4 times finer than the images."
)
@click.option(
    "--split-by", default="blocks", show_default=True, metavar="blocks|year|COLUMN", help="How samples come to folds."
)
@click.option("--folds", type=int, default=5, show_default=True, help="Folds of blocks.")
@click.option("--block", type=int, default=512, show_default=True, help="Pixels on a side of a block.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Deals the blocks.")
@click.option("--whole-parcels", is_flag=True, help="A parcel counts only in the fold that has most of it.")
@click.option("--keep-empty", is_flag=True, help="Keep windows without a parcel.")
@click.option("--citation", default="", help="Who made the data.")
@click.option("--license", default="", help="Of the data.")
@click.option("--from", "source", metavar="DATASET", help="Convert a dataset of the zoo instead; ROOT is its folder.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Options of that dataset, such as dataset.size=480.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the new dataset.")
@click.option("-j", "--workers", type=click.IntRange(min=0), help="Processes; one a core if not given.")
@click.option("--dry-run", is_flag=True, help="Say what would be made and stop.")
@click.option("--overwrite", is_flag=True, help="Replace the dataset that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
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
    """Turn parcels and images into a dataset, in the layout of PASTIS.

    \b
    cropzoo prepare --parcels parcels.gpkg --images 'S2_*.tif' --out ds/
    cropzoo train --backbone tsvit --dataset ds/
    cropzoo prepare --from t31tfm T31TFM/ --out ds/
    """  # noqa: D301 click reads the backspace character itself
    processes = min(os.cpu_count() or 1, MOST_WORKERS) if workers is None else workers
    _check_use(source)
    try:
        if source is None:
            options = _options(flags, rest)
            made = _prepare(options, out, processes, dry_run, overwrite)
        else:
            from cropzoo_cli.convert import convert_dataset

            made = convert_dataset(settings.zoo, source, rest, assignments, out, processes, overwrite)
    except KeyboardInterrupt:
        note(f"interrupted; go on with: {shlex.join(['cropzoo', *sys.argv[1:]])}")
        raise click.exceptions.Exit(INTERRUPTED) from None
    if made:
        present(settings.zoo, out, as_json)


def _check_use(source: str | None) -> None:
    """Nothing, if no option is given that would be passed over in silence.

    Raises:
        UsageError: an option of the other way to use the command.
    """
    context = click.get_current_context()
    given = [
        option
        for option in context.command.params
        if option.name and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if source is None:
        wrong, why = [option for option in given if option.name in _CONVERSION], "they belong to --from DATASET"
    else:
        wrong = [option for option in given if option.name not in (*_CONVERSION, *_BOTH)]
        why = f"--from {source} converts a dataset as it is"
    if wrong:
        names = ", ".join(max(option.opts, key=len) for option in wrong)
        raise UsageError(f"options {names}; {why}; leave them out")


def _options(flags: dict[str, Any], rest: tuple[str, ...]) -> PrepareOptions:
    from cropzoo.prepare.options import PrepareOptions

    lists: dict[str, Any] = {
        "parcels": tuple(path.expanduser() for path in flags.pop("parcels")),
        "images": (*flags.pop("images"), *rest),  # a shell that expands a pattern leaves its rest here
        "bands": tuple(name.strip() for name in flags.pop("bands").split(",") if name.strip()),
        "clear_scl": whole_numbers("--clear-scl", flags.pop("clear_scl")),
    }
    table = flags.pop("classes")
    return PrepareOptions(**lists, **flags, classes=None if table is None else table.expanduser())


def _prepare(options: PrepareOptions, out: Path, workers: int, dry_run: bool, overwrite: bool) -> bool:
    """Whether there is a dataset now."""
    from cropzoo.prepare.build import execute_plan, plan_signature
    from cropzoo.prepare.journal import Journal
    from cropzoo.prepare.plan import make_plan, plan_lines

    journal = Journal(out.expanduser())
    if not dry_run:
        journal.check()
    plan = make_plan(options, workers, note)
    for line in plan.notes:
        warn(line)
    if dry_run:
        click.echo("\n".join(plan_lines(plan)))
        return False
    journal.start(plan_signature(plan), overwrite)
    if journal.finished:
        note(f"{out} is made already, of these files and options; --overwrite makes it again")
        return True
    with progress("samples") as advance:
        for line in execute_plan(plan, journal, workers, advance):
            warn(line)
    return True


def present(zoo: Zoo, out: Path, as_json: bool) -> None:
    """Write the dataset's card and quicklook, and print what it holds."""
    from cropzoo.reports.dataset_page import write_pages

    with progress("samples read for the quicklook") as advance:
        description = write_pages(zoo, out, advance)
    if as_json:
        print_json({"dataset": str(out), **description.as_dict()})
        return
    from cropzoo_cli.show_dataset import description_lines

    click.echo("\n".join(description_lines(description)))
    click.echo(f"\ndataset    {out}\nquicklook  {out / 'quicklook.html'}")
    if {"train", "val", "test"} <= {split.name for split in description.splits}:
        scale = description.label_scale or 1
        finer = f" --set head.upsample={scale}" if scale > 1 else ""
        click.echo(f"train      cropzoo train --backbone tsvit --dataset {shlex.quote(f'{out}/')}{finer}")
