"""map.html: a page that shows a map over imagery, with areas and time series on click; one file, no network needed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyproj

from cropzoo import __version__
from cropzoo.data.dates import EPOCH
from cropzoo.geo.raster.grid import Grid, format_crs
from cropzoo.inference.mapping.map_file import MapFile, open_map
from cropzoo.inference.mapping.page_images import (
    CurveGrid,
    PageImages,
    as_jpeg,
    as_png,
    class_picture,
    confidence_picture,
    hectares,
    picture_size,
    pixel_hectares,
    read_curves,
    read_picture,
)
from cropzoo.inference.mapping.plan import MapPlan
from cropzoo.io import ProgressCallback, write_text
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
    curves = read_curves(images, -(-grid.height // upsample), -(-grid.width // upsample), advance)
    picture = read_picture(images, curves, grid, upsample)
    confidence = confidence_picture(source)
    rows = _area_rows(source)
    shown_facts = {name: source.tags[tag] for tag, name in _TAGS.items() if source.tags.get(tag)}
    height, width = picture_size(grid)
    # The side in meters of a square with the area of a pixel.
    pixel = 100 * pixel_hectares(grid, grid.height / 2, grid.width / 2) ** 0.5
    shown_facts |= {
        "CRS": format_crs(grid.crs),
        "Pixels": f"{grid.height} × {grid.width} of {pixel:.3g} m",
        **(facts or {}),
    }
    html = make_environment("cropzoo.inference.mapping").get_template("map.html.j2").render(
        title=title or map_path.name,
        map_name=map_path.name,
        rows=rows,
        total=float(sum(row.hectares for row in rows)),
        facts=shown_facts,
        coarser=max(grid.height / height, grid.width / width),
        pixel=pixel,
        curve_name=curves[0].name if curves else "",
        curve_step=curves[0].step if curves else 0,
        curve_meters=curves[0].step * upsample * pixel if curves else 0,
        dates=len({day for each in curves for day in each.days}),
        imagery=None if picture is None else as_jpeg(picture),
        classes=as_png(class_picture(source)),
        confidence=None if confidence is None else as_png(confidence),
        data={
            "rows": grid.height,
            "columns": grid.width,
            "meters": pixel,
            "classes": [{"name": each.name, "color": safe_color(each.color)} for each in source.classes],
            "lattice": _coordinates(grid),
            "curves": [_curve_data(each, upsample) for each in curves],
        },
        version=__version__,
    )  # fmt: skip
    write_text(path, html)


def collect_page_images(plan: MapPlan) -> list[PageImages]:
    """The images of a plan for `write_map_page`."""
    return [
        PageImages(
            tile,
            row,
            column,
            tuple(int(date) for date in used),
            plan.facts.scale,
            plan.options.clear_scl,
            plan.options.offset,
        )
        for tile, (row, column), used in zip(plan.tiles, plan.corners, plan.used, strict=True)
    ]


def _area_rows(source: MapFile) -> list[_AreaRow]:
    """The classes with an area above 0, the largest first."""
    areas = hectares(source).tolist()
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
    return {
        "nodes": _NODES,
        "longitude": np.nan_to_num(longitude, posinf=0, neginf=0).round(7).ravel().tolist(),
        "latitude": np.nan_to_num(latitude, posinf=0, neginf=0).round(7).ravel().tolist(),
    }


def _curve_data(curves: CurveGrid, upsample: int) -> dict[str, Any]:
    """A tile's time series as plain data for JSON, with positions in pixels of the map."""
    _, rows, columns = curves.values.shape
    return {
        "row": (curves.first_row + 0.5) * upsample,
        "column": (curves.first_column + 0.5) * upsample,
        "step": curves.step * upsample,
        "rows": rows,
        "columns": columns,
        "days": [str(EPOCH + timedelta(days=day)) for day in curves.days],
        "low": curves.low,
        "high": curves.high,
        "name": curves.name,
        "values": base64.b64encode(curves.values.tobytes()).decode("ascii"),
    }
