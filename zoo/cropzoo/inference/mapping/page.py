"""map.html: a map in one file that opens without a network: crops over imagery, areas, and curves on click."""

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
    Curves,
    Shown,
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
"""Of a lattice of longitudes and latitudes along each axis; between them straight lines err by a meter in 100 km."""

_TAGS = {
    "FIRST_DATE": "First date",
    "LAST_DATE": "Last date",
    "DATES": "Dates",
    "BANDS": "Bands",
    "CHECKPOINT": "Network",
    "CHECKPOINT_SHA256": "SHA-256 of its file",
    "TILE_SIZE": "Pixels on a side of what it sees",
    "OVERLAP": "Pixels that neighbors share",
    "CROPZOO_VERSION": "Made by cropzoo",
}
"""Tags of a map that its reader may want to know, and how they are called."""


@dataclass(frozen=True)
class _Row:
    """A class in the table of areas."""

    index: int
    name: str
    color: str
    hectares: float
    share: float


def write_map_page(
    path: Path,
    map_path: Path,
    images: Sequence[Shown] = (),
    *,
    finer: int = 1,
    title: str = "",
    facts: Mapping[str, str] | None = None,
    advance: ProgressCallback = lambda done, total: None,
) -> None:
    """Write the page of a map.

    Args:
        path: of the page; what stood there is replaced as a whole.
        map_path: class map that `cropzoo predict` made; its confidence is shown where that lies beside it.
        images: what the map was made of; without them the page has neither imagery nor curves.
        finer: map pixels a pixel of the images and axis.
        title: of the page; the map's name if empty.
        facts: beside those that the map's tags tell.
        advance: called with images read and all of them.

    Raises:
        CropzooError: naming the map if it cannot be read, or the page if it cannot be written.
    """
    source = open_map(map_path)
    grid = source.grid
    curves = read_curves(images, -(-grid.height // finer), -(-grid.width // finer), advance)
    picture = read_picture(images, curves, grid, finer)
    confidence = confidence_picture(source)
    rows = _rows(source)
    told = {name: source.tags[tag] for tag, name in _TAGS.items() if source.tags.get(tag)}
    height, width = picture_size(grid)
    # The side of a square of the pixel's area, m.
    pixel = 100 * pixel_hectares(grid, grid.height / 2, grid.width / 2) ** 0.5
    told |= {"CRS": format_crs(grid.crs), "Pixels": f"{grid.height} × {grid.width} of {pixel:.3g} m", **(facts or {})}
    html = make_environment().get_template("map.html.j2").render(
        title=title or map_path.name,
        map_name=map_path.name,
        rows=rows,
        total=float(sum(row.hectares for row in rows)),
        facts=told,
        coarser=max(grid.height / height, grid.width / width),
        pixel=pixel,
        curve_name=curves[0].name if curves else "",
        curve_step=curves[0].step if curves else 0,
        curve_meters=curves[0].step * finer * pixel if curves else 0,
        dates=len({day for each in curves for day in each.days}),
        imagery=None if picture is None else as_jpeg(picture),
        classes=as_png(class_picture(source)),
        confidence=None if confidence is None else as_png(confidence),
        data={
            "rows": grid.height,
            "columns": grid.width,
            "meters": pixel,
            "classes": [{"name": each.name, "color": safe_color(each.color)} for each in source.classes],
            "lattice": _degrees(grid),
            "curves": [_plain(each, finer) for each in curves],
        },
        version=__version__,
    )  # fmt: skip
    write_text(path, html)


def images_of(plan: MapPlan) -> list[Shown]:
    """The images of a plan as `write_map_page` takes them; its `finer` is `plan.facts.upsample`."""
    return [
        Shown(
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


def _rows(source: MapFile) -> list[_Row]:
    """The classes that have ground, the largest first."""
    areas = hectares(source).tolist()
    total = sum(areas)
    rows = [
        _Row(index, each.name, safe_color(each.color), area, area / total)
        for index, (each, area) in enumerate(zip(source.classes, areas, strict=True))
        if area
    ]
    return sorted(rows, key=lambda row: -row.hectares)


def _degrees(grid: Grid) -> dict[str, Any]:
    """Longitude and latitude of a lattice of corners from the map's upper left to its lower right."""
    rows, columns = np.meshgrid(np.linspace(0, grid.height, _NODES), np.linspace(0, grid.width, _NODES), indexing="ij")
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    turn = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = turn.transform(a * columns + b * rows + c, d * columns + e * rows + f)
    return {
        "nodes": _NODES,
        "longitude": np.nan_to_num(longitude, posinf=0, neginf=0).round(7).ravel().tolist(),
        "latitude": np.nan_to_num(latitude, posinf=0, neginf=0).round(7).ravel().tolist(),
    }


def _plain(curves: Curves, finer: int) -> dict[str, Any]:
    """A tile's curves as JSON holds them, places in pixels of the map."""
    _, rows, columns = curves.values.shape
    return {
        "row": (curves.first_row + 0.5) * finer,
        "column": (curves.first_column + 0.5) * finer,
        "step": curves.step * finer,
        "rows": rows,
        "columns": columns,
        "days": [str(EPOCH + timedelta(days=day)) for day in curves.days],
        "low": curves.low,
        "high": curves.high,
        "name": curves.name,
        "values": base64.b64encode(curves.values.tobytes()).decode("ascii"),
    }
