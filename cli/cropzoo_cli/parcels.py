"""`cropzoo parcels`: zonal statistics of a map per parcel, and suspicious declarations."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropzoo_cli.options import classes_option, name_column_option, region_column_option
from cropzoo_cli.output import echo, note, print_json, table_lines, warn
from cropzoo_cli.progress import progress
from cropzoo_cli.scores import percent, print_model

if TYPE_CHECKING:
    from cropzoo.inference.parcels.summary import ParcelSummary

_WIDTH = 80

_MAX_CHANGES = 3
"""Warnings about limits of the output format."""

_MAX_UNKNOWN = 5
"""Crops without a class in the map that a warning lists."""


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.option("--parcels", type=click.Path(path_type=Path), required=True, help="Vector file of parcel polygons.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write; its suffix sets the format: .gpkg, .geojson, .fgb, .shp, .parquet or .csv.",
)
@click.option(
    "--crop-column", default="", metavar="COLUMN", help="Column of the declared crop, to compare with the map."
)
@name_column_option
@classes_option
@click.option(
    "--id-column",
    default="",
    metavar="COLUMN",
    help="Column that identifies parcels in the printed list. Default: the number of the parcel in the file.",
)
@click.option(
    "--encoding", default="", help="Encoding of the texts in the file of parcels, such as cp1250. Default: detected."
)
@click.option(
    "--by",
    "regions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Vector file of regions: print the mapped areas in each. A parcel belongs to the region of a point inside it.",
)
@region_column_option
@click.option("--interior", is_flag=True, help="Use only pixels completely inside a parcel, where the parcel has any.")
@click.option(
    "--min-pixels",
    type=click.FloatRange(min=0),
    default=4.0,
    show_default=True,
    help="Minimum number of pixels of a parcel flagged as suspicious.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def parcels(map_path: Path, parcels: Path, out: Path, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Compute zonal statistics per parcel and flag suspicious declarations.

    The output holds all parcels and their columns, with the majority crop, its share and the confidence. Pixels on the
    edge of a parcel count by their share inside it. MAP_confidence.tif and MAP_probabilities.tif are used if they exist
    next to the map. With --crop-column, declared crops are compared with the map and the least likely declarations are
    ranked. Areas are mapped, not estimated: they contain the errors of the map.

    \b
    cropzoo parcels map.tif --parcels declared.gpkg --crop-column crop_code --out checked.gpkg
    """  # noqa: D301 click reads the backspace character itself
    from cropzoo.data.mapped_areas import NOT_ESTIMATED
    from cropzoo.inference.parcels.run import ZonalOptions, map_parcels

    with progress("parcels") as advance:
        summary = map_parcels(map_path, parcels, out, ZonalOptions(**options), overwrite=overwrite, advance=advance)
    print_model(summary.scores)
    _print_notes(summary)
    if as_json:
        print_json({"parcels": str(out), **summary.as_dict()})
        return
    echo(f"parcels    {out}  {summary.parcels:,} parcels, {summary.mapped:,} of them with data in the map")
    if options["crop_column"]:
        echo("\n".join(_agreement_lines(summary)))
    else:
        rows = [[name, f"{area:,.1f}"] for name, area in summary.hectares.items() if area]
        echo("\n" + "\n".join(table_lines(("crop", "mapped ha"), rows)))
    if summary.regions:
        rows = [
            [region, name, f"{area:,.1f}"]
            for region, areas in summary.regions.items()
            for name, area in areas.items()
            if area
        ]
        echo("\n" + "\n".join(table_lines(("region", "crop", "mapped ha"), rows)))
    if summary.regions or not options["crop_column"]:
        echo("\n" + "\n".join(textwrap.wrap(NOT_ESTIMATED, _WIDTH)))


def _print_notes(summary: ParcelSummary) -> None:
    """Print notes and warnings about the parcels to stderr."""
    if summary.replaced:
        note(f"columns of an earlier run were replaced: {', '.join(summary.replaced)}")
    for line in summary.changed[:_MAX_CHANGES]:
        warn(f"the output format required a change: {line}")
    if len(summary.changed) > _MAX_CHANGES:
        warn(f"{len(summary.changed) - _MAX_CHANGES} more changes; write a .gpkg to avoid them")
    if summary.no_polygon:
        warn(f"{summary.no_polygon} parcel(s) have no polygon; they are kept with empty columns")
    hidden = summary.unseen - summary.no_polygon
    if hidden:
        warn(f"{hidden} parcel(s) are outside the map or where it has no data; they are kept with empty columns")
    if summary.edge_only:
        note(f"{summary.edge_only} parcel(s) have no pixel completely inside; all their pixels were used (map_inner)")
    if summary.without_crop:
        note(f"{summary.without_crop} parcel(s) have no declared crop")
    if summary.unknown:
        common = sorted(summary.unknown.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{crop} x {count}" for crop, count in common[:_MAX_UNKNOWN])
        more = f" and {len(common) - _MAX_UNKNOWN} more" if len(common) > _MAX_UNKNOWN else ""
        warn(
            f"declared crops without a class in the map are not compared: {shown}{more}; assign them to classes with "
            "--classes"
        )


def _agreement_lines(summary: ParcelSummary) -> list[str]:
    """The agreement of declarations with the map by class, and the first suspicious parcels."""
    if not summary.compared:
        return ["no parcel has both a declared and a mapped crop"]
    share = summary.agreeing / summary.compared
    area = summary.agreeing_hectares / (summary.compared_hectares or 1)
    lines = [
        f"agreement  {summary.agreeing:,} of {summary.compared:,} parcels ({100 * share:.1f} %), "
        f"{summary.agreeing_hectares:,.1f} of {summary.compared_hectares:,.1f} ha ({100 * area:.1f} %)",
        "",
    ]
    rows = []
    for number, name in enumerate(summary.classes):
        counts, areas = summary.confusion[number], summary.confusion_hectares[number]
        if not sum(counts):
            continue
        others = [
            (count, other) for count, other in zip(counts, summary.classes, strict=True) if count and other != name
        ]
        mostly = ", ".join(f"{other} {count}" for count, other in sorted(others, key=lambda pair: -pair[0])[:2])
        agreeing = f"{100 * counts[number] / sum(counts):.1f}"
        rows.append([name, f"{sum(counts):,}", f"{sum(areas):,.1f}", agreeing, mostly])
    lines += table_lines(("declared", "parcels", "ha", "agree %", "otherwise mapped as"), rows)
    if summary.suspects:
        precise = bool(summary.scores.precision)
        suspects = [
            [
                suspect.name,
                suspect.declared,
                f"{suspect.probability:.3f}",
                suspect.mapped,
                f"{100 * suspect.share:.0f}",
                f"{suspect.pixels:,.0f}",
                f"{suspect.hectares:,.2f}",
                *([percent(suspect.precision).strip()] if precise else []),
            ]
            for suspect in summary.suspects
        ]
        columns = ["parcel", "declared", "probability", "mapped", "share %", "pixels", "ha"]
        columns += ["test precision %"] if precise else []
        lines += ["", "least likely declarations", *table_lines(columns, suspects)]
        if precise:
            lines.append(
                "test precision: of the test pixels that the model mapped as this crop, the share that are this crop"
            )
    return lines
