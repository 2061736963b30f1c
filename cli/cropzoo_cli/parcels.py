"""`cropzoo parcels`: what a map says of each parcel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cropzoo_cli.output import note, print_json, table_lines, warn
from cropzoo_cli.progress import progress

if TYPE_CHECKING:
    from cropzoo.inference.parcels.summary import Summary

_CHANGED = 3
"""Lines on what a format cannot hold."""

_UNKNOWN = 5
"""Crops that the map has no class for, in a line."""


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.option("--parcels", type=click.Path(path_type=Path), required=True, help="Vector file of parcels.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="File to write: .gpkg, .geojson, .fgb, .shp."
)
@click.option("--crop-column", default="", metavar="COLUMN", help="Declared crop, to compare with the map.")
@click.option("--name-column", default="crop_name", show_default=True, help="Column with its name; need not exist.")
@click.option(
    "--classes", type=click.Path(path_type=Path), help="Which crop is which class: code,name,class; see prepare."
)
@click.option(
    "--id-column", default="", metavar="COLUMN", help="Names parcels in what is printed; their number if not given."
)
@click.option("--interior", is_flag=True, help="Use only pixels wholly inside a parcel, where it has any.")
@click.option(
    "--min-pixels",
    type=click.FloatRange(min=0),
    default=4.0,
    show_default=True,
    help="A parcel with fewer is not called suspicious.",
)
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def parcels(
    map_path: Path,
    parcels: Path,
    out: Path,
    crop_column: str,
    name_column: str,
    classes: Path | None,
    id_column: str,
    interior: bool,
    min_pixels: float,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write parcels with the crop that the map shows in each, its share, and how sure the map is.

    Pixels count by the share that lies in the parcel. Confidence and probabilities are used where MAP_confidence.tif
    and MAP_probabilities.tif lie beside the map. With --crop-column declared crops are compared with the map, and the
    least likely ones are ranked.

    \b
    cropzoo parcels map.tif --parcels declared.gpkg --crop-column crop_code --out checked.gpkg
    """  # noqa: D301 click reads the backspace character itself
    from cropzoo.inference.parcels.run import ZonalOptions, map_parcels

    options = ZonalOptions(crop_column, name_column, id_column, classes, interior, min_pixels)
    with progress("parcels measured") as advance:
        summary = map_parcels(map_path, parcels, out, options, overwrite=overwrite, advance=advance)
    _tell(summary)
    if as_json:
        print_json({"parcels": str(out), **summary.as_dict()})
        return
    click.echo(f"parcels    {out}  {summary.parcels:,}, {summary.mapped:,} of them on the map")
    if crop_column:
        click.echo("\n".join(_agreement(summary)))
    else:
        rows = [[name, f"{area:,.1f}"] for name, area in summary.hectares.items() if area]
        click.echo("\n" + "\n".join(table_lines(("crop", "ha"), rows)))


def _tell(summary: Summary) -> None:
    """What the user should know, to stderr."""
    if summary.replaced:
        note(f"columns of an earlier table were replaced: {', '.join(summary.replaced)}")
    for line in summary.changed[:_CHANGED]:
        warn(f"the output's format changes what it was given: {line}")
    if len(summary.changed) > _CHANGED:
        warn(f"and {len(summary.changed) - _CHANGED} more such changes; a .gpkg needs none")
    if summary.no_polygon:
        warn(f"{summary.no_polygon} parcel(s) have no polygon; they are kept with empty columns")
    hidden = summary.unseen - summary.no_polygon
    if hidden:
        warn(f"{hidden} parcel(s) lie outside the map or where it has no data; they are kept with empty columns")
    if summary.edge_only:
        note(f"{summary.edge_only} parcel(s) have no pixel wholly inside and were decided by their edge (map_inner)")
    if summary.without_crop:
        note(f"{summary.without_crop} parcel(s) declare no crop")
    if summary.unknown:
        common = sorted(summary.unknown.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{crop} x {count}" for crop, count in common[:_UNKNOWN])
        more = f" and {len(common) - _UNKNOWN} more" if len(common) > _UNKNOWN else ""
        warn(f"declared crops that are no class of the map are not compared: {shown}{more}; --classes can place them")


def _agreement(summary: Summary) -> list[str]:
    """How far declarations and map agree, by class, and the first suspects."""
    if not summary.compared:
        return ["no parcel has both a declared crop and a mapped one"]
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
    lines += table_lines(("declared", "parcels", "ha", "agree %", "else mapped as"), rows)
    if summary.suspects:
        suspects = [
            [
                suspect.name,
                suspect.declared,
                f"{suspect.chance:.3f}",
                suspect.mapped,
                f"{100 * suspect.share:.0f}",
                f"{suspect.pixels:,.0f}",
                f"{suspect.hectares:,.2f}",
            ]
            for suspect in summary.suspects
        ]
        columns = ("parcel", "declared", "probability", "mapped", "share %", "pixels", "ha")
        lines += ["", "least likely declarations", *table_lines(columns, suspects)]
    return lines
