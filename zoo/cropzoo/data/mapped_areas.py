"""Mapped areas: the pixels of each class in a map, and the ground that they cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyproj
from numpy.typing import NDArray

from cropzoo.data.classified_map import MapFile
from cropzoo.geo.raster.grid import RASTER_FAILURES, Grid, open_raster, unreadable_error
from cropzoo.geo.raster.reader import reading_environment

NOT_ESTIMATED = (
    "Areas are mapped, not estimated: they are counts of pixels and contain the errors of the map. `cropzoo sample` "
    "and `cropzoo assess` estimate areas with confidence intervals."
)
"""What is said wherever mapped areas are shown."""

_BLOCK_SIDE = 2048
"""Side of the blocks in which a map is read and counted, in pixels."""

_CACHE_MB = 64

_MAX_DISTORTION = 0.01
"""Largest distortion of areas by a projection that is neglected. UTM has 0.001, Web Mercator 1.5 at 50 degrees."""


@dataclass(frozen=True)
class MappedAreas:
    """Areas counted over every pixel of a map. They contain the errors of the map and are no unbiased estimates.

    Args:
        pixels: (K,), int64, number of pixels of each class.
        hectares: (K,), float64, area of each class, ha; NaN without a CRS.
        nodata: Number of pixels without a class.
    """

    pixels: NDArray[np.int64]
    hectares: NDArray[np.float64]
    nodata: int


class AreaCounter:
    """Counts the pixels of a map window by window.

    Args:
        grid: Grid of the map.
        classes: Number of classes.
    """

    def __init__(self, grid: Grid, classes: int) -> None:
        self._row_hectares = row_hectares(grid)
        self._pixels = np.zeros(256, np.int64)
        self._hectares = np.zeros(256)
        self._classes = classes

    def add(self, labels: NDArray[np.uint8], first_row: int) -> None:
        """Count the pixels of a window.

        Args:
            labels: (h, w), uint8, label indices.
            first_row: Row of the window's first pixels in the map.
        """
        hectares = self._row_hectares[first_row : first_row + len(labels)]
        # Runs of rows whose pixels have the same area; a projected map is one run. Blocks keep memory small, because
        # NumPy copies what it counts to 8 bytes each.
        ends = [*np.flatnonzero(np.diff(hectares)) + 1, len(labels)]
        for start, end in zip([0, *ends], ends, strict=False):
            counts = np.zeros(256, np.int64)
            most = max(1, _BLOCK_SIDE * _BLOCK_SIDE // max(labels.shape[1], 1))
            for row in range(start, end, most):
                counts += np.bincount(labels[row : min(row + most, end)].ravel(), minlength=256)
            self._pixels += counts
            self._hectares += counts * hectares[start]

    def result(self) -> MappedAreas:
        """The areas of all windows so far."""
        known = self._classes
        return MappedAreas(self._pixels[:known], self._hectares[:known], int(self._pixels[known:].sum()))


def measure_areas(source: MapFile) -> MappedAreas:
    """Return the mapped areas of a class map, read block by block.

    Raises:
        CropzooError: The map cannot be read.
    """
    counter, grid = AreaCounter(source.grid, len(source.classes)), source.grid
    with open_raster(source.path) as raster, reading_environment(_CACHE_MB):
        for row in range(0, grid.height, _BLOCK_SIDE):
            for column in range(0, grid.width, _BLOCK_SIDE):
                rows, columns = (row, min(row + _BLOCK_SIDE, grid.height)), (column, column + _BLOCK_SIDE)
                try:
                    labels = raster.read(1, window=(rows, (columns[0], min(columns[1], grid.width))))
                except RASTER_FAILURES as error:
                    raise unreadable_error(source.path, error) from error
                counter.add(labels, row)
    return counter.result()


def row_hectares(grid: Grid) -> NDArray[np.float64]:
    """Return the area of a pixel in the middle of each row, (height,), float64, ha; NaN without a CRS.

    A projected CRS has one pixel area, unless its projection distorts areas by more than 1 % (Web Mercator): then the
    area on the ground of each row is used, as for a geographic CRS.
    """
    if not grid.crs:
        return np.full(grid.height, np.nan)
    crs = pyproj.CRS.from_user_input(grid.crs)
    ground = _ground_hectares(grid, crs)
    if crs.is_geographic:
        return ground
    flat = _flat_hectares(grid, crs)
    return np.where(np.isfinite(ground), ground, flat) if _is_distorted(flat, ground) else np.full(grid.height, flat)


def distorts_areas(grid: Grid) -> bool:
    """Return whether the projection of a grid changes areas by more than 1 %, as Web Mercator does."""
    crs = pyproj.CRS.from_user_input(grid.crs)
    return not crs.is_geographic and _is_distorted(_flat_hectares(grid, crs), _ground_hectares(grid, crs))


def _is_distorted(flat: float, ground: NDArray[np.float64]) -> bool:
    return bool(np.nanmax(np.abs(flat / ground - 1), initial=0) > _MAX_DISTORTION)


def _flat_hectares(grid: Grid, crs: pyproj.CRS) -> float:
    """Area of a pixel in a projected CRS, ha."""
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    return float(abs(a * e - b * d) * crs.axis_info[0].unit_conversion_factor ** 2 / 1e4)


def _ground_hectares(grid: Grid, crs: pyproj.CRS) -> NDArray[np.float64]:
    """Area on the ellipsoid of the middle pixel of each row, (height,), ha; NaN outside the domain of the CRS."""
    geodetic, geod = crs.geodetic_crs, crs.get_geod()
    if geodetic is None or geod is None:
        return np.full(grid.height, np.nan)
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    row, column = np.arange(grid.height) + 0.5, grid.width / 2
    # The middles of the sides of the pixel: right, left, bottom, top.
    rows = np.stack([row, row, row + 0.5, row - 0.5])
    columns = column + np.array([0.5, -0.5, 0, 0])[:, None]
    place = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    x, y = place.transform(a * columns + b * rows + c, d * columns + e * rows + f)
    radians = geodetic.axis_info[0].unit_conversion_factor
    longitude, latitude = np.asarray(x) * radians, np.asarray(y) * radians
    along_x, along_y = ((side[0] - side[1], side[2] - side[3]) for side in (longitude, latitude))
    wrapped = [np.remainder(step + np.pi, 2 * np.pi) - np.pi for step in along_x]
    square = np.abs(wrapped[0] * along_y[1] - wrapped[1] * along_y[0])
    # Area of a square radian: the product of the two radii of curvature and the cosine of the latitude.
    middle = latitude.mean(axis=0)
    area: NDArray[np.float64] = square * np.cos(middle) * geod.b**2 / (1 - geod.es * np.sin(middle) ** 2) ** 2 / 1e4
    return np.where(np.isfinite(area) & (area > 0), area, np.nan)
