"""`cropzoo predict`: a map of the images that a checkpoint can read."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropzoo.config.catalog import Catalog
from cropzoo.errors import UsageError
from cropzoo.models.download import find_checkpoint
from cropzoo_cli.options import pass_catalog, shard_of, whole_numbers
from cropzoo_cli.output import note, warn
from cropzoo_cli.pixel_progress import pixel_progress
from cropzoo_cli.progress import progress
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.inference.mapping.dask import Cluster
    from cropzoo.inference.mapping.options import MapOptions
    from cropzoo.inference.mapping.plan import MapPlan
    from cropzoo.inference.mapping.predict import Made

FAILED, INTERRUPTED = 1, 130


@click.command()
@click.argument("source", metavar="CHECKPOINT|RUN|ENTRY")
@click.argument("rest", nargs=-1, metavar="")
@click.option(
    "--images",
    multiple=True,
    required=True,
    metavar="PATTERN",
    help="Images: a pattern in quotes, a folder, or a STAC item collection.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="MAP.tif", help="The map.")
@click.option(
    "--outputs",
    default="class",
    show_default=True,
    metavar="NAMES",
    help="Of class, confidence, margin, entropy, probabilities; those beside the class go to MAP_confidence.tif etc.",
)
@click.option("--aoi", type=click.Path(path_type=Path), metavar="FILE", help="Polygons; pixels outside are nodata.")
@click.option("--season-start", default="", metavar="DAY", help="First day of the series, 2019-03-01 or 03-01.")
@click.option("--season-end", default="", metavar="DAY", help="Last day of the series.")
@click.option("--max-dates", type=int, help="Use at most so many dates; as in training if not given.")
@click.option("--min-clear", type=float, help="Share of clear pixels that a date needs; as in training if not given.")
@click.option("--tile-size", type=int, help="Pixels on a side of what the network sees; as in training if not given.")
@click.option("--overlap", type=int, help="Pixels that neighboring tiles share; a quarter of a side if not given.")
@click.option("--bands", default="", metavar="B02,B03", help="Names of the images' bands where the files have none.")
@click.option("--clear-scl", default="4,5,6", show_default=True, help="Classes of an SCL band that are clear.")
@click.option(
    "--offset",
    type=int,
    help="What the numbers carry too much, 1000 from baseline 04.00 on; as the metadata say if not given.",
)
@click.option("-b", "--batch-size", "--batch_size", type=int, help="Tiles that the network sees at a time.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--precision", metavar="32|bf16|16", help="Of the network's arithmetic; as in training if not given.")
@click.option(
    "-j", "--workers", type=click.IntRange(min=0), default=1, show_default=True, help="Threads that read ahead."
)
@click.option("--shard", metavar="I/N", help="Make one of N parts of the map; `cropzoo mosaic` puts them together.")
@click.option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster whose workers make the map; or its .json file.")
@click.option("--report", type=click.Path(path_type=Path), metavar="MAP.html", help="A page to look at the map, too.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--overwrite", is_flag=True, help="Replace the map that is there.")
@pass_catalog
def predict(
    settings: Settings,
    catalog: Catalog,
    source: str,
    rest: tuple[str, ...],
    out: Path,
    device: str,
    precision: str | None,
    workers: int,
    shard: str | None,
    scheduler: str | None,
    report: Path | None,
    resume: bool,
    overwrite: bool,
    **flags: Any,
) -> None:
    """Map the images that a checkpoint, a run folder or a catalog entry with weights can read.

    \b
    cropzoo predict runs/demo --images 'S2_*.tif' --out map.tif

    Bands are matched by name. What is done is kept in MAP.tif.parts until the map is whole.
    """  # noqa: D301 click reads the backspace character itself
    part = None if shard is None else shard_of(shard)
    if part is not None and report is not None:
        raise UsageError(
            f"--report {str(report)!r} with --shard; a shard has no map to show; when `cropzoo mosaic` has made it, "
            "write the page by the same command with --resume in place of --shard"
        )
    options, out = _options(flags, rest), out.expanduser()
    if scheduler is not None:
        options = replace(options, images=tuple(map(_everywhere, options.images)))
    path = find_checkpoint(source, catalog, settings.offline)

    from cropzoo.inference.mapping.outputs import check_targets, target_paths

    check_targets(target_paths(out, options.outputs), overwrite=overwrite or resume)
    if report is not None:
        _check_report(report, overwrite or resume)
    note(f"checkpoint {path}: importing torch")
    from cropzoo.inference.mapping.inputs import images_for
    from cropzoo.inference.mapping.plan import make_plan
    from cropzoo.inference.mapping.predict import Run, run_map
    from cropzoo.inference.predictor import open_predictor

    predictor = open_predictor(path, settings.zoo, device, precision)
    plan = make_plan(images_for(predictor.facts.bands, options.images, options.bands), predictor.facts, options)
    _tell(plan, part)
    try:
        with pixel_progress() as advance, progress("steps of writing the map") as assembling:
            cluster = None if scheduler is None else _cluster(scheduler, path, settings, device, predictor.precision)
            run = Run(resume, overwrite, part, workers, cluster)
            made = run_map(plan, predictor, out, run, warn=warn, advance=advance, assembling=assembling)
    except KeyboardInterrupt:
        again = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
        note(f"interrupted; go on with: {shlex.join(['cropzoo', *again, '--resume'])}")
        raise click.exceptions.Exit(INTERRUPTED) from None
    _present(made, out, shard)
    if report is not None:
        _write_report(report, out, plan)
    _end(made, plan)


def _cluster(scheduler: str, checkpoint: Path, settings: Settings, device: str, precision: str) -> Cluster:
    from cropzoo.inference.mapping.dask import Cluster

    plugins = tuple(_everywhere(each) if each.endswith(".py") else each for each in settings.plugins)
    return Cluster(scheduler, checkpoint.absolute(), plugins, device, precision)


def _everywhere(path: str) -> str:
    """A path as processes in other folders find it; an address as it is."""
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def _check_report(report: Path, overwrite: bool) -> None:
    """Nothing, if a page can be written there.

    Raises:
        UsageError: browsers would not know it by its name, it is a folder, or is there already.
    """
    if report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {str(report)!r}; it is a page for a browser, so its name must end in .html")
    if report.is_dir() or (report.exists() and not overwrite):
        what = "is a folder" if report.is_dir() else "exists already; --overwrite replaces it"
        raise UsageError(f"--report {str(report)!r}; it {what}, or name another file")


def _write_report(report: Path, out: Path, plan: MapPlan) -> None:
    from cropzoo.inference.mapping.page import images_of, write_map_page

    with progress("images read for the page") as advance:
        write_map_page(report, out, images_of(plan), finer=plan.facts.upsample, advance=advance)
    click.echo(f"page          {report}  {report.stat().st_size:,} bytes")


def _options(flags: dict[str, Any], rest: tuple[str, ...]) -> MapOptions:
    from cropzoo.inference.mapping.options import MapOptions
    from cropzoo.inference.mapping.outputs import CLASS, check_outputs

    outputs = (CLASS, *_names(flags.pop("outputs")))
    lists: dict[str, Any] = {
        "images": (*flags.pop("images"), *rest),  # a shell that expands a pattern leaves its rest here
        "outputs": check_outputs(outputs, 1),
        "bands": _names(flags.pop("bands")),
        "clear_scl": whole_numbers("--clear-scl", flags.pop("clear_scl")),
    }
    return MapOptions(**lists, **flags)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _tell(plan: MapPlan, part: tuple[int, int] | None) -> None:
    from cropzoo.data.dates import EPOCH

    for number, tile in enumerate(plan.tiles):
        days = [EPOCH + timedelta(days=int(day)) for day in plan.dates(number)]
        note(
            f"tile {tile.name}: {tile.grid.height} x {tile.grid.width} pixels, {len(days)} dates from {days[0]} to "
            f"{days[-1]}"
        )
    options = plan.options
    chunks = f"{len(plan.chunks)} chunk{'s' if len(plan.chunks) > 1 else ''}"
    note(
        f"map of {plan.grid.height} x {plan.grid.width} pixels in {chunks}; the network sees "
        f"{plan.size} pixels at a time, {options.overlap} of them shared with the next"
    )
    for line in plan.notes:
        note(line)
    if part is not None and part[1] > len(plan.chunks):
        note(f"{part[1]} shards share {chunks}, so some have nothing to do")


def _present(made: Made, out: Path, shard: str | None) -> None:
    if shard is not None:
        click.echo(
            f"parts       {made.parts}  shard {shard}\nwhen all are there: cropzoo mosaic {shlex.quote(str(out))}"
        )
    for name, path in made.paths.items():
        click.echo(f"{name:<13} {path}  {path.stat().st_size:,} bytes")


def _end(made: Made, plan: MapPlan) -> None:
    """Exit code 1 where some of a map could not be made.

    Raises:
        Exit: with that code.
    """
    if made.failures:
        warn(
            f"{len(made.failures)} of {len(plan.chunks)} chunks could not be made and have no data; mend their images "
            f"and --resume: what is done is kept in {str(made.parts)!r}"
        )
        raise click.exceptions.Exit(FAILED)
