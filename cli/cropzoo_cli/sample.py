"""`cropzoo sample`: draw a reference sample of a map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropzoo_cli.options import region_column_option
from cropzoo_cli.output import echo, note, print_json, table_lines, warn
from cropzoo_cli.progress import progress
from cropzoo_cli.scores import print_model

if TYPE_CHECKING:
    from cropzoo.evaluation.area.sampling import SamplePlan

_MAX_STRATA = 60
"""Strata that are printed."""


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Points file to write, a GeoPackage (.gpkg).")
@click.option("--n", "size", type=click.IntRange(min=1), help="Number of points.")
@click.option(
    "--target-se",
    "overall_error",
    type=click.FloatRange(min=0, min_open=True, max=1),
    metavar="SE",
    help="Standard error of the overall accuracy to reach, such as 0.015, instead of --n.",
)
@click.option(
    "--target",
    "share_errors",
    multiple=True,
    metavar="CLASS:SE",
    help="Standard error of the area of a class to reach, instead of --n: maize:0.01 is one percent of the map's area, "
    "maize:5% is five percent of the mapped area of maize. Repeatable.",
)
@click.option(
    "--design",
    "kind",
    type=click.Choice(("stratified", "simple", "two-stage")),
    default="stratified",
    show_default=True,
    help="Sampling design: the map's classes as strata, no strata, or blocks first and then pixels in them.",
)
@click.option(
    "--strata",
    "regions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Vector file of regions that divide the map; every class in every region is a stratum.",
)
@region_column_option
@click.option("--outside", is_flag=True, help="Make what is in no region a region of its own instead of an error.")
@click.option(
    "--parcels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Vector file of parcel polygons: draw parcels instead of pixels, by the class of most of their pixels.",
)
@click.option(
    "--allocation",
    type=click.Choice(("neyman", "proportional")),
    default="neyman",
    show_default=True,
    help="Division of the points among the strata: by area and expected error, or by area.",
)
@click.option(
    "--minimum",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Minimum number of points of each mapped class, or all of its pixels.",
)
@click.option(
    "--expected-accuracy",
    "accuracy",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Expected user's accuracy of every class, for the plan. Default: the test precision in the map, or 0.8.",
)
@click.option("--blocks", type=click.IntRange(min=1), help="Number of blocks of a two-stage design. Default: 50.")
@click.option(
    "--block-side",
    type=click.IntRange(min=2),
    default=256,
    show_default=True,
    metavar="PIXELS",
    help="Side of the blocks of a two-stage design.",
)
@click.option(
    "--block-correlation",
    "correlation",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Expected correlation of the pixels of a block, for the plan of a two-stage design.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random numbers.")
@click.option(
    "--show-map-class", is_flag=True, help="Write the class in the map to the points; it biases interpreters."
)
@click.option(
    "--images",
    multiple=True,
    metavar="PATTERN",
    help="Images to write an interpretation sheet of each point from, a page that works offline. Repeatable.",
)
@click.option("--bands", default="", metavar="NAMES", help="Band names of images without any, separated by commas.")
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    help="Reflectance of one stored unit of the images. Default: 0.0001 for integers, 1 for floating-point numbers.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and the expected standard errors without drawing points.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def sample(
    map_path: Path,
    out: Path | None,
    show_map_class: bool,
    images: tuple[str, ...],
    bands: str,
    scale: float | None,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw a probability sample of a map, to be labeled by an interpreter.

    Label the column `reference` of the points with the names of the map's classes, in QGIS or another program, and give
    the file to `cropzoo assess`, which estimates the accuracy of the map and the area of each class. The points file
    holds the sampling design, without which nothing can be estimated, and hides the class in the map.

    \b
    cropzoo sample map.tif --n 600 --dry-run
    cropzoo sample map.tif --target-se 0.015 --target maize:5% --out points.gpkg
    cropzoo sample map.tif --n 600 --out points.gpkg --images 'S2_*.tif'
    """  # noqa: D301 click reads the backspace character itself
    from cropzoo.errors import UsageError
    from cropzoo.evaluation.area.points import write_points
    from cropzoo.evaluation.area.sampling import SampleOptions, check_outputs, draw_sample, plan_sample
    from cropzoo.evaluation.area.sheets import check_sheets, locate_sheets, write_sheets

    if out is None and not dry_run:
        raise UsageError("cropzoo sample; no file is given; name the points file by --out, or pass --dry-run")
    found = SampleOptions(**options)
    if out is not None:
        check_outputs(out, (map_path, found.parcels, found.regions), overwrite)
    if out is not None and images:
        check_sheets(out, overwrite)
    with progress("steps of counting the map") as advance:
        plan = plan_sample(map_path, found, advance)
    print_model(plan.source.scores)
    for line in plan.notes:
        note(line)
    written = None
    if not dry_run and out is not None:
        with progress("windows of the map") as advance:
            points, design = draw_sample(plan, show_map_class=show_map_class, advance=advance)
        write_points(out, points, design)
        written = out
    sheets = None
    if written is not None and images:
        sheets = locate_sheets(written)
        names = tuple(name.strip() for name in bands.split(",") if name.strip())
        with progress("sheets") as advance:
            lacking = write_sheets(written, points, design, images, bands=names, scale=scale, advance=advance)
        if lacking:
            warn(f"{lacking} of {len(points)} points are not on the images; their sheets have none")
    if as_json:
        print_json({"points": written and str(written), "sheets": sheets and str(sheets), **plan.as_dict()})
        return
    if written is not None:
        what = "pixels" if found.parcels is None else "parcels"
        echo(f"points     {written}  {plan.errors.size:,} {what}, {found.kind} design, seed {found.seed}")
        echo(f"sheets     {sheets / 'index.html'}\n" if sheets is not None else "")
    echo("\n".join([*_stratum_lines(plan), "", *_error_lines(plan)]))
    if written is not None:
        echo(
            f"\nLabel the column `reference` of every point, leave it empty where that is impossible, and run\n"
            f"cropzoo assess {map_path} --points {written} --out assessment.html"
        )


def _stratum_lines(plan: SamplePlan) -> list[str]:
    """The strata with their sizes and numbers of points."""
    found = plan.as_dict()["strata"]
    rows = [
        [each["stratum"], f"{each['units']:>12,}", f"{each['mapped_hectares']:>12,.1f}", f"{each['sampled']:>6,}"]
        for each in found[:_MAX_STRATA]
    ]
    what = "pixels" if plan.options.parcels is None else "parcels"
    lines = table_lines(["stratum", f"{what:>12}", f"{'mapped ha':>12}", f"{'points':>6}"], rows)
    more = len(found) - _MAX_STRATA
    return [*lines, *([f"and {more} more strata; --json lists all"] if more > 0 else [])]


def _error_lines(plan: SamplePlan) -> list[str]:
    """The expected standard errors of the overall accuracy, and of the area and user's accuracy of each class."""
    found = plan.as_dict()["expected"]
    rows = [
        [
            each["name"],
            f"{100 * each['share']:>7.2f}",
            f"{100 * each['share_se']:>7.2f}",
            f"{each['hectares_se']:>12,.1f}",
            _percent(each["users_accuracy"]),
            _percent(each["users_accuracy_se"]),
        ]
        for each in found["classes"]
    ]
    header = ["class", f"{'area %':>7}", f"{'SE %':>7}", f"{'SE ha':>12}", f"{'UA %':>6}", f"{'SE %':>6}"]
    return [
        f"expected with {plan.errors.size:,} points: overall accuracy {100 * found['overall_accuracy']:.1f} %, "
        f"standard error {100 * found['overall_accuracy_se']:.2f} %",
        "",
        *table_lines(header, rows),
        "",
        "This is a plan for a map as accurate as expected, not a result.",
        "UA: user's accuracy, the share of a mapped class that is right. SE: standard error.",
    ]


def _percent(value: float | None) -> str:
    return f"{'-':>6}" if value is None else f"{100 * value:>6.1f}"
