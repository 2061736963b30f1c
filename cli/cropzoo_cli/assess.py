"""`cropzoo assess`: accuracy and areas of a map from a labeled reference sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cropzoo.errors import UsageError
from cropzoo_cli.options import classes_option, name_column_option, region_column_option
from cropzoo_cli.output import echo, note, print_json, table_lines, warn
from cropzoo_cli.progress import progress

if TYPE_CHECKING:
    from cropzoo.evaluation.area.record import AreaResult, Assessment, Measure

_NONE = "-"
_SUFFIX = ".html"


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.option(
    "--points",
    type=click.Path(path_type=Path),
    required=True,
    help="Labeled points: the file that `cropzoo sample` wrote, or another vector or CSV file with its point_id.",
)
@click.option(
    "--label-column", default="reference", show_default=True, metavar="COLUMN", help="Column of the reference labels."
)
@click.option(
    "--design",
    type=click.Path(path_type=Path),
    metavar="POINTS",
    help="File that `cropzoo sample` wrote, if the labels are in another file.",
)
@click.option(
    "--other-map",
    is_flag=True,
    help="Assess a map other than the one from which the points were drawn, such as a remade one.",
)
@click.option(
    "--by",
    type=click.Path(path_type=Path),
    metavar="REGIONS",
    help="Vector file of regions, such as districts, for which estimates are made too.",
)
@region_column_option
@click.option(
    "--parcels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="All parcels from which a sample of parcels was drawn; --by needs them.",
)
@click.option(
    "--census",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Parcels with declared crops, for model-assisted areas; needs --crop-column.",
)
@click.option("--crop-column", default="", metavar="COLUMN", help="Column of the declared crop in --census.")
@name_column_option
@classes_option
@click.option(
    "--level",
    type=click.FloatRange(0.5, 0.999),
    default=0.95,
    show_default=True,
    help="Confidence level of the intervals.",
)
@click.option(
    "--interval",
    "method",
    type=click.Choice(("wilson", "normal")),
    default="wilson",
    show_default=True,
    help="Method of the intervals; normal is the estimate plus and minus 1.96 standard errors.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Page to write, with a .json and a .csv file of the same name next to it.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def assess(
    map_path: Path,
    points: Path,
    label_column: str,
    design: Path | None,
    other_map: bool,
    by: Path | None,
    region_column: str,
    parcels: Path | None,
    census: Path | None,
    crop_column: str,
    name_column: str,
    classes: Path | None,
    level: float,
    method: str,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Estimate the accuracy of a map and the areas of its classes, with confidence intervals.

    The points must be a probability sample that `cropzoo sample` drew from the map, with the true class in a column.
    Points without a label are allowed. A label is the name or the code of a class; other labels are classes that the
    map lacks.

    \b
    cropzoo assess map.tif --points points.gpkg --out assessment.html
    """  # noqa: D301 click reads the backspace character itself
    files = _output_files(out, overwrite)
    if (census is None) != (not crop_column):
        raise UsageError("--census and --crop-column belong together; give both or none")
    from cropzoo.evaluation.area.assessment import AssessmentOptions
    from cropzoo.evaluation.area.assessment import assess as run
    from cropzoo.evaluation.area.census import CensusFile

    options = AssessmentOptions(
        label_column=label_column,
        design=design,
        other_map=other_map,
        by=by,
        region_column=region_column,
        parcels=parcels,
        census=None if census is None else CensusFile(census, crop_column, name_column, classes),
        level=level,
        method=method,
    )
    with progress("parts of the map") as advance:
        found = run(map_path, points, options, advance=advance)
    for line in found.notes:
        warn(line)
    if files:
        _write(found, *files)
    if as_json:
        print_json(found.to_json())
    else:
        echo("\n".join(_summary(found)))


def _output_files(out: Path | None, overwrite: bool) -> tuple[Path, Path, Path] | None:
    """Paths of the page, the JSON and the CSV file."""
    if out is None:
        return None
    if out.suffix.lower() != _SUFFIX:
        raise UsageError(f"--out {str(out)!r}; the page is an HTML file; give a name that ends in {_SUFFIX}")
    files = out, out.with_suffix(".json"), out.with_suffix(".csv")
    existing = [each for each in files if each.exists()]
    if existing and not overwrite:
        raise UsageError(f"--out {str(existing[0])!r}; it exists already; pass --overwrite or choose another name")
    return files


def _write(found: Assessment, page: Path, values: Path, table: Path) -> None:
    from cropzoo.evaluation.area.page import write_page
    from cropzoo.io import write_json, write_text

    write_json(values, found.to_json())
    write_text(table, found.to_csv())
    write_page(page, found)
    note(f"wrote {page}, {values.name} and {table.name}")


def _summary(found: Assessment) -> list[str]:
    """The result as lines."""
    total, level = found.total, f"{100 * found.level:g} %"
    lines = [
        f"points     {found.answered:,} of {found.drawn:,} {found.unit}s have a label ({found.kind} sample)",
        f"accuracy   {_percent(total.overall)} ({level} interval)",
        "",
        *_class_table(total, level),
    ]
    for region in found.regions:
        accuracy = _percent(region.overall) if region.points else "no point"
        lines += ["", f"{region.name}: {region.points} points, accuracy {accuracy}", *_class_table(region, level)]
    if found.assisted:
        rows = [
            [
                each.name,
                _number(each.census_ha),
                _number(each.direct_ha.value),
                _number(each.direct_ha.error),
                _area(each.difference_ha),
                _area(each.regression_ha),
            ]
            for each in found.assisted
        ]
        columns = ("class", "declared ha", "sample alone ha", "error", "difference ha", "regression ha")
        lines += ["", f"model-assisted areas, by {found.auxiliary}", *table_lines(columns, rows)]
    return lines


def _class_table(area: AreaResult, level: str) -> list[str]:
    rows = [
        [
            each.name,
            _number(each.mapped_ha),
            _area(each.area_ha),
            _percent(each.users),
            _percent(each.producers),
            "; ".join(each.notes),
        ]
        for each in area.classes
        if each.mapped_ha or each.points_mapped or each.points_reference
    ]
    columns = ("class", "mapped ha", f"estimated ha ({level} interval)", "user's %", "producer's %", "note")
    return table_lines(columns, rows)


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.1f}"


def _area(measure: Measure) -> str:
    if measure.value is None:
        return _NONE
    return f"{_number(measure.value)} ({_number(measure.lower)} to {_number(measure.upper)})"


def _percent(measure: Measure) -> str:
    if measure.value is None or measure.lower is None or measure.upper is None:
        return _NONE
    return f"{100 * measure.value:.1f} ({100 * measure.lower:.1f} to {100 * measure.upper:.1f})"
