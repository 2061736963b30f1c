"""map.html: a page that shows a map over imagery, with areas and time series on click; one file, no network needed."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyproj

from cropzoo import __version__
from cropzoo.data.classified_map import MapFile, open_map
from cropzoo.data.dates import EPOCH
from cropzoo.data.mapped_areas import NOT_ESTIMATED, measure_areas, row_hectares
from cropzoo.geo.raster.grid import Grid, format_crs
from cropzoo.geo.raster.orientation import Orientation
from cropzoo.inference.mapping.page_images import (
    CurveGrid,
    PageImages,
    class_picture,
    confidence_picture,
    picture_size,
    read_curves,
    read_picture,
)
from cropzoo.inference.mapping.plan import MapPlan
from cropzoo.io import ProgressCallback, write_text
from cropzoo.reports.imagery import as_jpeg, as_png
from cropzoo.reports.patches import safe_color
from cropzoo.reports.render import make_environment

_NODES = 17
"""Nodes along each axis of a lattice of coordinates; linear interpolation between them errs by 1 m in 100 km."""

_TAGS = {
    "FIRST_DATE": "First date",
    "LAST_DATE": "Last date",
    "DATES": "Dates",
    "BANDS": "Bands",
    "CHECKPOINT": "Network",
    "CHECKPOINT_SHA256": "SHA-256 of the checkpoint",
    "TILE_SIZE": "Window size (pixels)",
    "OVERLAP": "Overlap of windows (pixels)",
    "CROPZOO_VERSION": "Version of cropzoo",
}
"""Tags of a map that the page shows, and their labels."""


@dataclass(frozen=True)
class _AreaRow:
    """A row in the table of areas."""

    index: int
    name: str
    color: str
    hectares: float
    share: float


def write_map_page(
    path: Path,
    map_path: Path,
    images: Sequence[PageImages] = (),
    *,
    upsample: int = 1,
    title: str = "",
    facts: Mapping[str, str] | None = None,
    advance: ProgressCallback = lambda done, total: None,
) -> None:
    """Write the page of a map.

    Args:
        path: Path of the page.
        map_path: Path of a class map that `cropzoo predict` wrote; its confidence is shown if it exists.
        images: Images of the map; without them the page has neither imagery nor time series.
        upsample: Map pixels per image pixel along an axis.
        title: Title of the page; the name of the map if empty.
        facts: Facts to show in addition to those in the map's tags, by label.
        advance: Called with (images read, total).

    Raises:
        CropzooError: The map cannot be read, or the page cannot be written.
    """
    source = open_map(map_path)
    grid = source.grid
    orientation = Orientation.of(grid.transform)
    # What the page shows: the map with north on top, whatever the order of its rows and columns in the file.
    shown = orientation.turn_grid(grid)
    curves = read_curves(images, -(-grid.height // upsample), -(-grid.width // upsample), advance)
    picture = read_picture(images, curves, grid, upsample)
    confidence = confidence_picture(source)
    rows = _area_rows(source)
    height, width = picture_size(shown)
    # The side in meters of a square with the area of a pixel.
    pixel = 100 * float(row_hectares(grid)[grid.height // 2]) ** 0.5
    html = make_environment("cropzoo.inference.mapping").get_template("map.html.j2").render(
        title=title or map_path.name,
        map_name=map_path.name,
        rows=rows,
        total=float(sum(row.hectares for row in rows)),
        facts={**_list_facts(source, shown, pixel), **(facts or {})},
        deficit=source.scores.deficit,
        baseline=source.scores.baseline,
        not_estimated=NOT_ESTIMATED,
        coarser=max(shown.height / height, shown.width / width),
        pixel=pixel,
        curve_name=curves[0].name if curves else "",
        curve_step=curves[0].step if curves else 0,
        curve_meters=curves[0].step * upsample * pixel if curves else 0,
        dates=len({day for each in curves for day in each.days}),
        imagery=None if picture is None else as_jpeg(orientation.turn(picture, (0, 1))),
        classes=as_png(orientation.turn(class_picture(source))),
        confidence=None if confidence is None else as_png(orientation.turn(confidence)),
        data={
            "rows": shown.height,
            "columns": shown.width,
            "orientation": asdict(orientation),
            "meters": pixel,
            "classes": [{"name": each.name, "color": safe_color(each.color)} for each in source.classes],
            "lattice": _coordinates(shown),
            "curves": [_curve_data(each, upsample, grid, orientation) for each in curves],
        },
        version=__version__,
    )  # fmt: skip
    write_text(path, html)


def _list_facts(source: MapFile, shown: Grid, pixel: float) -> dict[str, str]:
    """The facts about a map that its page lists, by label.

    Args:
        source: The map.
        shown: Grid of the map as the page shows it.
        pixel: Side of a pixel in meters.
    """
    grid = source.grid
    facts = {name: source.tags[tag] for tag, name in _TAGS.items() if source.tags.get(tag)}
    facts |= {
        "Test scores": source.scores.summary,
        "CRS": format_crs(grid.crs),
        "Pixels": f"{grid.height} × {grid.width} of {pixel:.3g} m",
    }
    orientation = _describe_orientation(grid, shown)
    return facts | ({"Orientation": orientation} if orientation else {})


def collect_page_images(plan: MapPlan) -> list[PageImages]:
    """The images of a plan for `write_map_page`."""
    return [
        PageImages(
            tile,
            row,
            column,
            tuple(int(date) for date in used),
            plan.facts.scale if plan.options.scale is None else plan.options.scale,
            plan.clear_scl,
            plan.options.offset,
        )
        for tile, (row, column), used in zip(plan.tiles, plan.corners, plan.used, strict=True)
    ]


def _area_rows(source: MapFile) -> list[_AreaRow]:
    """The classes with an area above 0, the largest first."""
    areas = measure_areas(source).hectares.tolist()
    total = sum(areas)
    rows = [
        _AreaRow(index, each.name, safe_color(each.color), area, area / total)
        for index, (each, area) in enumerate(zip(source.classes, areas, strict=True))
        if area
    ]
    return sorted(rows, key=lambda row: -row.hectares)


def _coordinates(grid: Grid) -> dict[str, Any]:
    """Longitude and latitude of a lattice of nodes from the map's upper left to its lower right corner."""
    rows, columns = np.meshgrid(np.linspace(0, grid.height, _NODES), np.linspace(0, grid.width, _NODES), indexing="ij")
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    transformer = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = transformer.transform(a * columns + b * rows + c, d * columns + e * rows + f)
    # Without a jump at 180 degrees, so that the page can interpolate.
    first = longitude[np.isfinite(longitude)][:1].sum()
    with np.errstate(invalid="ignore"):
        longitude = first + (longitude - first + 180) % 360 - 180
    return {
        "nodes": _NODES,
        "longitude": np.nan_to_num(longitude, posinf=0, neginf=0).round(7).ravel().tolist(),
        "latitude": np.nan_to_num(latitude, posinf=0, neginf=0).round(7).ravel().tolist(),
    }


def _curve_data(curves: CurveGrid, upsample: int, grid: Grid, orientation: Orientation) -> dict[str, Any]:
    """A tile's time series as plain data for JSON, with positions in pixels of the page."""
    values, step = orientation.turn(curves.values), curves.step * upsample
    row, column = ((first + 0.5) * upsample for first in (curves.first_row, curves.first_column))
    shown = orientation.turn_grid(grid)
    if orientation.transpose:
        row, column = column, row
    if orientation.flip_rows:
        row = shown.height - row - (values.shape[1] - 1) * step
    if orientation.flip_columns:
        column = shown.width - column - (values.shape[2] - 1) * step
    return {
        "row": row,
        "column": column,
        "step": step,
        "rows": values.shape[1],
        "columns": values.shape[2],
        "days": [str(EPOCH + timedelta(days=day)) for day in curves.days],
        "low": curves.low,
        "high": curves.high,
        "name": curves.name,
        "values": base64.b64encode(values.tobytes()).decode("ascii"),
    }


def _describe_orientation(grid: Grid, shown: Grid) -> str:
    """How the page shows a raster that is not stored with north on top; empty for one that is."""
    a, b, _, d, e, _ = tuple(shown.transform)[:6]
    determinant = a * e - b * d
    north = math.degrees(math.atan2(-b / determinant, -a / determinant))  # clockwise from the top of the page
    parts = []
    if shown != grid:
        parts.append("shown with north on top; the file has its pixels in another order")
    if abs(north) >= 1:
        parts.append(f"north is {abs(north):.0f}° {'right' if north > 0 else 'left'} of the top")
    return "; ".join(parts)
