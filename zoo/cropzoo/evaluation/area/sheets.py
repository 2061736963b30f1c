"""Interpretation sheets of a reference sample: reads the images around each point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from rasterio import Affine

from cropzoo.data.units import default_scale
from cropzoo.errors import CropzooError, UsageError, describe_error, warn_once
from cropzoo.evaluation.area.design import PARCEL, SamplingDesign
from cropzoo.evaluation.area.points import Points
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.raster.orientation import Orientation
from cropzoo.geo.raster.reader import StackReader, reading_environment
from cropzoo.geo.raster.scene import ImageStack
from cropzoo.geo.vector.longitudes import reproject
from cropzoo.io import ProgressCallback, exclusive_folder
from cropzoo.reports.imagery import as_jpeg, compute_index, find_color_bands, find_index_bands
from cropzoo.reports.interpretation import Chip, Curve, Sheet, write_index, write_sheet

_SIDE = 48
"""Side of a picture in pixels of the images; those of large parcels are larger."""

_MAX_SIDE = 128
_MAX_CHIPS = 12
_CLEAR = 0.7
"""Smallest share of clear pixels in a picture."""

_BATCH = 50
"""Points whose pictures are in memory: 21 MB for 60 dates."""

_CACHE_MB = 128
_BRIGHT, _GAMMA = 0.3, 1.5
"""Reflectance that is shown white, and the exponent that brightens dark fields."""


def locate_sheets(points: Path) -> Path:
    """Folder of the sheets of a points file, next to it."""
    return points.with_name(f"{points.stem}_sheets")


def check_sheets(points: Path, overwrite: bool) -> None:
    """Check that the sheets of a points file can be written.

    Raises:
        UsageError: Their folder exists, or is a file.
    """
    folder = locate_sheets(points)
    if folder.exists() and (not folder.is_dir() or not overwrite):
        what = "exists already; pass --overwrite to replace its pages" if folder.is_dir() else "is a file; rename it"
        raise UsageError(f"--images; the folder of the sheets {str(folder)!r} {what}, or choose another --out")


def write_sheets(
    points_path: Path,
    points: Points,
    design: SamplingDesign,
    images: Sequence[str],
    *,
    bands: Sequence[str] = (),
    scale: float | None = None,
    advance: ProgressCallback = lambda done, total: None,
) -> int:
    """Write a page for each point next to the points file; returns the number of points that the images do not cover.

    Args:
        points_path: Path of the points file.
        points: The points.
        design: How they were drawn.
        images: Patterns of the images, as `find_images` takes them.
        bands: Names of the images' bands, if the files have none.
        scale: Reflectance of one stored unit; None for 1e-4 for integers and 1 for floating-point numbers.
        advance: Called with (points done, total).

    Raises:
        CropzooError: The images cannot be found or read, or a page cannot be written.
    """
    stacks = find_images(images, bands)
    order = np.argsort(points.ids)
    ids = points.ids[order].tolist()
    neighbors = dict(zip(ids, zip([None, *ids[:-1]], [*ids[1:], None], strict=True), strict=True))
    folder, rows, covered = locate_sheets(points_path), list[tuple[int, str, int]](), 0
    with exclusive_folder(folder):
        for page in folder.glob("[0-9]*.html"):
            page.unlink()
        for sheet in _make_sheets(points, design, stacks, scale):
            write_sheet(folder, sheet, neighbors[sheet.point], design.classes, points_path.name)
            rows.append((sheet.point, dict(sheet.facts)[_DEGREES], len(sheet.chips)))
            covered += sheet.curve is not None
            advance(len(rows), len(points))
        write_index(folder, sorted(rows), design.classes, points_path.name)
    return len(points) - covered


_DEGREES = "Latitude and longitude"


def _make_sheets(
    points: Points, design: SamplingDesign, stacks: Sequence[ImageStack], scale: float | None
) -> Iterator[Sheet]:
    """The sheets, image tile by image tile; points that no tile covers come last."""
    facts = _list_facts(points, design)
    outlines = points.geometry
    if design.unit != PARCEL:
        grid = Grid(*design.shape, Affine(*design.transform), design.crs)
        outlines = _pixel_outlines(points.geometry, grid)
    left = np.arange(len(points))
    for stack in stacks:
        shapes = np.array(reproject(outlines, design.crs, stack.grid.crs), object) if len(left) else outlines
        windows = {at: window for at in left.tolist() if (window := _find_window(shapes[at], stack.grid)) is not None}
        left = np.array([at for at in left.tolist() if at not in windows], np.int64)
        near = sorted(windows, key=lambda at: (windows[at].row // _MAX_SIDE, windows[at].column))
        for start in range(0, len(near), _BATCH):
            batch = near[start : start + _BATCH]
            read = _read_batch(stack, [windows[at] for at in batch], shapes[batch], scale)
            for at, (chips, curve) in zip(batch, read, strict=True):
                yield Sheet(int(points.ids[at]), facts[at], chips, curve)
    for at in left.tolist():
        yield Sheet(int(points.ids[at]), facts[at], (), None)


@dataclass(eq=False)
class _Views:
    """What the dates of a stack show of a unit.

    Args:
        window: Window of the pictures.
        inside: (h, w), pixels of the unit; the nearest one if the unit has no center of a pixel.
        pictures: Day and picture of each clear date, (h, w, 3), uint8.
        days: Days with a value.
        values: Values of the time series.
    """

    window: Window
    inside: NDArray[np.bool_]
    pictures: list[tuple[int, NDArray[np.uint8]]]
    days: list[int]
    values: list[float]


def _read_batch(
    stack: ImageStack, windows: Sequence[Window], shapes: NDArray[Any], scale: float | None
) -> list[tuple[tuple[Chip, ...], Curve]]:
    """Pictures and time series of units, date by date, so that each file is opened once."""
    colors, (index, name, low, high) = find_color_bands(stack.bands), find_index_bands(stack.bands)
    factor = default_scale(stack.dtype) if scale is None else scale
    views = [
        _Views(window, _find_inside(shape, stack.grid, window), [], [], [])
        for window, shape in zip(windows, shapes, strict=True)
    ]
    with (
        StackReader(stack, bands=tuple(dict.fromkeys((*colors, *index)))) as reader,
        reading_environment(_CACHE_MB),
    ):
        of_color, of_index = ([reader.bands.index(band) for band in each] for each in (colors, index))
        for number, day in enumerate(reader.dates.tolist()):
            for view in views:
                try:
                    values, clear = reader.read_date(number, view.window)
                except CropzooError as error:
                    warn_once(f"interpretation sheets: a date is left out, because {describe_error(error)}")
                    continue
                reflectance = values.astype(np.float32) * np.float32(factor)
                series = compute_index(reflectance[of_index])
                used = view.inside & clear & np.isfinite(series)
                if not used.any():
                    continue
                view.days.append(day)
                view.values.append(float(series[used].mean()))
                if clear.mean() >= _CLEAR:
                    view.pictures.append((day, _to_picture(reflectance[of_color], clear)))
    return [
        (_make_chips(view, shape, stack.grid), Curve(name, low, high, tuple(view.days), tuple(view.values)))
        for view, shape in zip(views, shapes, strict=True)
    ]


def _make_chips(view: _Views, shape: Any, grid: Grid) -> tuple[Chip, ...]:
    """Pictures of some dates, evenly spaced, with north at the top, and the outline of the unit on them."""
    places = np.linspace(0, len(view.pictures) - 1, _MAX_CHIPS).round().astype(int)
    chosen = np.unique(places[places >= 0]).tolist()
    orientation = Orientation.of(grid.transform)
    x, y = grid.locate(view.window.row, view.window.column)
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    shown = orientation.turn_grid(Grid(view.window.height, view.window.width, Affine(a, b, x, d, e, y), grid.crs))
    outline = _draw_outline(shape, shown)
    return tuple(
        Chip(day, as_jpeg(np.ascontiguousarray(orientation.turn(picture, (0, 1)))), shown.width, shown.height, outline)
        for day, picture in (view.pictures[position] for position in chosen)
    )


def _to_picture(reflectance: NDArray[np.float32], clear: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colors of reflectance (3, h, w), (h, w, 3), gray where it is not clear."""
    scaled = np.clip(np.nan_to_num(reflectance) / _BRIGHT, 0, 1) ** (1 / _GAMMA)
    colors = np.where(clear, np.rint(255 * scaled), 128)
    picture: NDArray[np.uint8] = np.moveaxis(colors, 0, -1).astype(np.uint8)
    return picture


def _pixel_outlines(centers: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Outlines of the pixels of a grid with these centers."""
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2 @ np.array([[a, d], [b, e]])
    places = np.stack([shapely.get_x(centers), shapely.get_y(centers)], axis=1)
    found: NDArray[Any] = shapely.polygons(places[:, None] + corners)
    return found


def _to_cells(shape: Any, grid: Grid) -> Any:
    """A geometry in columns and rows of a grid."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    turn = np.linalg.inv(np.array([[a, b], [d, e]]))
    return shapely.transform(shape, lambda points: (points - (c, f)) @ turn.T)


def _find_window(shape: Any, grid: Grid) -> Window | None:
    """Window around a unit in the grid of images; None if its center is outside them."""
    bounds = shapely.bounds(shape)
    if not np.isfinite(bounds).all():
        return None
    cells = _to_cells(shape, grid)
    left, top, right, bottom = shapely.bounds(cells)
    column, row = (left + right) / 2, (top + bottom) / 2
    if not (0 <= row < grid.height and 0 <= column < grid.width):
        return None
    side = int(np.clip(1.5 * max(right - left, bottom - top), _SIDE, _MAX_SIDE))
    height, width = min(side, grid.height), min(side, grid.width)
    # At the edge of the images, the unit is not in the middle of the picture.
    first_row = int(np.clip(np.floor(row) - height // 2, 0, grid.height - height))
    first_column = int(np.clip(np.floor(column) - width // 2, 0, grid.width - width))
    return Window(first_row, first_column, height, width)


def _find_inside(shape: Any, grid: Grid, window: Window) -> NDArray[np.bool_]:
    """Pixels of a window whose centers are in a unit, (h, w); the one at its center if there is none."""
    cells = _to_cells(shape, grid)
    columns, rows = np.meshgrid(np.arange(window.width) + 0.5, np.arange(window.height) + 0.5)
    inside: NDArray[np.bool_] = shapely.contains_xy(cells, columns + window.column, rows + window.row)
    if not inside.any():
        left, top, right, bottom = shapely.bounds(cells)
        row, column = int((top + bottom) / 2) - window.row, int((left + right) / 2) - window.column
        inside[np.clip(row, 0, window.height - 1), np.clip(column, 0, window.width - 1)] = True
    return inside


def _draw_outline(shape: Any, grid: Grid) -> str:
    """Outline of a unit as the `d` of an SVG path, in pixels of a picture."""
    parts = []
    for part in shapely.get_parts(_to_cells(shape, grid)):
        for ring in (part.exterior, *part.interiors):
            places = " L".join(f"{x:.2f} {y:.2f}" for x, y in shapely.get_coordinates(ring).tolist())
            parts.append(f"M{places}Z")
    return " ".join(parts)


def _list_facts(points: Points, design: SamplingDesign) -> list[tuple[tuple[str, str], ...]]:
    """Facts about the places of points, by label."""
    centers = shapely.point_on_surface(points.geometry)
    x, y = shapely.get_x(centers), shapely.get_y(centers)
    longitude, latitude = pyproj.Transformer.from_crs(design.crs, "EPSG:4326", always_xy=True).transform(x, y)
    unit = "Parcel" if design.unit == PARCEL else "Pixel of the map"
    facts = []
    for at in range(len(points)):
        shown = () if points.map_classes is None else (("Class in the map", points.map_classes[at]),)
        facts.append(
            (
                (_DEGREES, f"{latitude[at]:.5f}, {longitude[at]:.5f}"),
                (f"Coordinates in {design.crs}", f"{x[at]:.10g}, {y[at]:.10g}"),
                (unit, f"{points.areas[at]:,.0f} m²"),
                *shown,
            )
        )
    return facts
