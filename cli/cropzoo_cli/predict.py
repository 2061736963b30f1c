"""`cropzoo predict`: map images with a checkpoint."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropzoo.config.catalog import Catalog
from cropzoo.errors import UsageError
from cropzoo.models.download import find_checkpoint
from cropzoo_cli.options import pass_catalog, shard_of, whole_numbers
from cropzoo_cli.output import echo, note, report_interrupt, warn
from cropzoo_cli.progress import pixel_progress, progress
from cropzoo_cli.scores import print_model
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.inference.mapping.dask import Cluster
    from cropzoo.inference.mapping.options import MapOptions
    from cropzoo.inference.mapping.plan import MapPlan
    from cropzoo.inference.mapping.predict import MapResult

FAILED = 1


@dataclass(frozen=True)
class _RunFlags:
    """The flags that do not change the map.

    Args:
        out: Path of the class map.
        device: Device of the network.
        precision: Precision of the network; None for that of the training.
        workers: Threads that read ahead.
        shard: Text such as "1/3"; None for the complete map.
        scheduler: Address of a Dask scheduler; None for this process.
        report: Path of the map page; None for no page.
        resume: Whether to continue an interrupted run.
        overwrite: Whether to replace an existing map.
    """

    out: Path
    device: str
    precision: str | None
    workers: int
    shard: str | None
    scheduler: str | None
    report: Path | None
    resume: bool
    overwrite: bool


@click.command()
@click.argument("source", metavar="CHECKPOINT|RUN|ENTRY")
@click.argument("rest", nargs=-1, metavar="")
@click.option(
    "--images",
    multiple=True,
    required=True,
    metavar="PATTERN",
    help="Images to map: a pattern in quotes, a folder, or a STAC item collection. Repeatable.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="MAP.tif",
    help="Class map to write, a Cloud-Optimized GeoTIFF.",
)
@click.option(
    "--outputs",
    default="class",
    show_default=True,
    metavar="NAMES",
    help="Comma-separated outputs: class, confidence, margin, entropy, probabilities. All but the class map get their "
    "own file next to it, such as MAP_confidence.tif.",
)
@click.option(
    "--aoi", type=click.Path(path_type=Path), metavar="FILE", help="Polygons of the area to map; nodata outside."
)
@click.option("--season-start", default="", metavar="DAY", help="First day of the series, such as 2019-03-01 or 03-01.")
@click.option("--season-end", default="", metavar="DAY", help="Last day of the series, in the same form.")
@click.option("--max-dates", type=int, help="Maximum number of dates of a window. Default: that of the training.")
@click.option(
    "--min-clear",
    type=float,
    help="Minimum share of clear pixels of a date in a window. Default: that of the training.",
)
@click.option("--tile-size", type=int, help="Side of the network's windows in pixels. Default: that of the training.")
@click.option("--overlap", type=int, help="Overlap of neighboring windows in pixels. Default: a quarter of their side.")
@click.option(
    "--bands",
    default="",
    metavar="B02,B03",
    help="Names of the images' bands in order, if the files do not hold them, with - for a band to leave out.",
)
@click.option(
    "--clear-scl",
    metavar="4,5,6",
    help="Classes of an SCL band that count as clear. Default: those of the training, or 4,5,6 if unknown.",
)
@click.option(
    "--offset",
    type=int,
    help="Radiometric offset subtracted from pixel values (1000 for Sentinel-2 processing baseline 04.00 and later). "
    "Default: read from metadata.",
)
@click.option(
    "--scale",
    type=float,
    help="Reflectance of one stored unit of the images: 1 for reflectance, 0.0001 for digital numbers. Values are "
    "converted to the unit of the training. Default: the unit of the training.",
)
@click.option("-b", "--batch-size", "--batch_size", type=int, help="Windows per batch. Default: as in training.")
@click.option(
    "--device", default="auto", show_default=True, help="Device of the network: auto, cpu, cuda, cuda:N or mps."
)
@click.option(
    "--precision", metavar="32|bf16|16", help="Numerical precision of the network. Default: that of the training."
)
@click.option(
    "-j",
    "--workers",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Number of threads that read ahead.",
)
@click.option(
    "--shard", metavar="I/N", help="Predict only one of N parts of the map; assemble them with `cropzoo mosaic`."
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Predict on a Dask cluster: address or .json file of its scheduler."
)
@click.option("--report", type=click.Path(path_type=Path), metavar="MAP.html", help="Write a page that shows the map.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run.")
@click.option("--overwrite", is_flag=True, help="Replace an existing map.")
@pass_catalog
def predict(settings: Settings, catalog: Catalog, source: str, rest: tuple[str, ...], **flags: Any) -> None:
    """Map images with a checkpoint, a run folder, an exported ONNX file or a catalog entry with weights.

    \b
    cropzoo predict runs/demo --images 'S2_*.tif' --out map.tif

    A model on the Hugging Face Hub has the address hf-hub:ORG/NAME[@REVISION]. Bands are matched by name. Finished
    chunks are kept in MAP.tif.parts until the map is complete.
    """  # noqa: D301 click reads the backspace character itself
    run = _RunFlags(**{name: flags.pop(name) for name in _RunFlags.__dataclass_fields__})
    run = replace(run, out=run.out.expanduser())
    shard = None if run.shard is None else shard_of(run.shard)
    if shard is not None and run.report is not None:
        raise UsageError(
            f"--report {str(run.report)!r} with --shard; a shard has no map to show; after `cropzoo mosaic`, write the "
            "page with the same command and --resume in place of --shard"
        )
    options = _map_options(flags, rest)
    if run.scheduler is not None:
        options = replace(options, images=tuple(map(_absolute, options.images)))
    path = find_checkpoint(source, catalog, settings.zoo, settings.offline)

    from cropzoo.data.classified_map import target_paths
    from cropzoo.inference.mapping.outputs import check_targets

    check_targets(target_paths(run.out, options.outputs), overwrite=run.overwrite or run.resume)
    if run.report is not None:
        _check_report(run.report, run.overwrite or run.resume)
    note(f"checkpoint {path}: importing torch")
    from cropzoo.inference.mapping.inputs import find_map_images
    from cropzoo.inference.mapping.plan import make_plan
    from cropzoo.inference.mapping.predict import RunOptions, run_map
    from cropzoo.inference.predictor import open_predictor

    predictor = open_predictor(path, settings.zoo, run.device, run.precision)
    facts = predictor.facts
    print_model(facts.scores)
    plan = make_plan(find_map_images(facts.bands, options.images, options.bands, options.offset), facts, options)
    _describe_plan(plan, shard)
    again = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
    with (
        report_interrupt(lambda: f"resume with: {shlex.join(['cropzoo', *again, '--resume'])}"),
        pixel_progress() as advance,
        progress("steps of writing the map") as assembling,
    ):
        cluster = _cluster(run, path, settings, predictor.precision)
        how = RunOptions(run.resume, run.overwrite, shard, run.workers, cluster)
        result = run_map(plan, predictor, run.out, how, warn=warn, advance=advance, assembling=assembling)
    _print_result(result, run)
    if run.report is not None:
        _write_report(run.report, run.out, plan)
    _exit_on_failures(result, plan)


def _cluster(run: _RunFlags, checkpoint: Path, settings: Settings, precision: str) -> Cluster | None:
    if run.scheduler is None:
        return None
    from cropzoo.inference.mapping.dask import Cluster

    plugins = tuple(_absolute(each) if each.endswith(".py") else each for each in settings.plugins)
    return Cluster(run.scheduler, checkpoint.absolute(), plugins, run.device, precision)


def _absolute(path: str) -> str:
    """A path as an absolute path, for processes in other folders; a URL unchanged."""
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def _check_report(report: Path, overwrite: bool) -> None:
    """Check that a page can be written.

    Raises:
        UsageError: The name has no suffix of a page, is a folder, or exists.
    """
    if report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {str(report)!r}; it is a page for a browser, so its name must end in .html")
    if report.is_dir() or (report.exists() and not overwrite):
        what = "is a folder" if report.is_dir() else "exists already; pass --overwrite to replace it"
        raise UsageError(f"--report {str(report)!r}; it {what}, or name another file")


def _write_report(report: Path, out: Path, plan: MapPlan) -> None:
    from cropzoo.inference.mapping.page import collect_page_images, write_map_page

    with progress("images read for the page") as advance:
        write_map_page(report, out, collect_page_images(plan), upsample=plan.facts.upsample, advance=advance)
    echo(f"page          {report}  {report.stat().st_size:,} bytes")


def _map_options(flags: dict[str, Any], rest: tuple[str, ...]) -> MapOptions:
    from cropzoo.data.classified_map import CLASS
    from cropzoo.inference.mapping.options import MapOptions
    from cropzoo.inference.mapping.outputs import check_outputs

    outputs, clear = (CLASS, *_split_names(flags.pop("outputs"))), flags.pop("clear_scl")
    lists: dict[str, Any] = {
        "images": (*flags.pop("images"), *rest),  # a pattern without quotes is expanded by the shell
        "outputs": check_outputs(outputs, 1),
        "bands": _split_names(flags.pop("bands")),
        "clear_scl": None if clear is None else whole_numbers("--clear-scl", clear),
    }
    return MapOptions(**lists, **flags)


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _describe_plan(plan: MapPlan, shard: tuple[int, int] | None) -> None:
    from cropzoo.data.dates import EPOCH

    for number, tile in enumerate(plan.tiles):
        days = [EPOCH + timedelta(days=int(day)) for day in plan.dates(number)]
        note(
            f"tile {tile.name}: {tile.grid.height} x {tile.grid.width} pixels, {len(days)} dates from {days[0]} to "
            f"{days[-1]}"
        )
    chunks = f"{len(plan.chunks)} chunk{'s' if len(plan.chunks) > 1 else ''}"
    note(
        f"map of {plan.grid.height} x {plan.grid.width} pixels in {chunks}; windows of {plan.size} pixels with an "
        f"overlap of {plan.options.overlap}"
    )
    for line in plan.notes:
        note(line)
    if shard is not None and shard[1] > len(plan.chunks):
        note(f"{shard[1]} shards share {chunks}, so some have nothing to do")


def _print_result(result: MapResult, run: _RunFlags) -> None:
    if run.shard is not None:
        echo(
            f"parts       {result.parts}  shard {run.shard}\n"
            f"when all shards are finished: cropzoo mosaic {shlex.quote(str(run.out))}"
        )
    for name, path in result.paths.items():
        echo(f"{name:<13} {path}  {path.stat().st_size:,} bytes")


def _exit_on_failures(result: MapResult, plan: MapPlan) -> None:
    """Exit with code 1 if chunks of the map failed.

    Raises:
        Exit: Chunks failed.
    """
    if result.failures:
        warn(
            f"{len(result.failures)} of {len(plan.chunks)} chunks failed and have no data; fix their images and run "
            f"again with --resume: finished chunks are kept in {str(result.parts)!r}"
        )
        raise click.exceptions.Exit(FAILED)
