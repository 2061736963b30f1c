"""Sums of a map over parcels, block by block, so that memory does not grow with the size of the map."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.feature import Feature, FeatureSource
from exactextract.raster import NumPyRasterSource
from exactextract.writer import Writer
from numpy.typing import NDArray

from cropzoo.data.classified_map import STEPS, MapFile
from cropzoo.geo.raster.grid import RASTER_FAILURES, Grid, Window, open_raster, unreadable_error
from cropzoo.geo.raster.reader import reading_environment
from cropzoo.io import ProgressCallback


class Coverage(NamedTuple):
    """Pixels that polygons touch, m pairs of polygon and pixel.

    Args:
        owner: (m,), position of the polygon.
        cell: (m,), position of the pixel in its window, in row-major order.
        share: (m,), float64 in (0, 1], share of the pixel's area inside the polygon, accurate to 1e-6.
    """

    owner: NDArray[np.intp]
    cell: NDArray[np.int64]
    share: NDArray[np.float64]


def compute_coverage(polygons: NDArray[Any], window: Window) -> Coverage:
    """The pixels of a window that polygons touch; polygons may overlap.

    Source: exactextract (Baston), which computes exact areas where rasterio tests pixel centers. It covers 11,000
    parcels of 100 pixels per second on one core; shapely's intersections reach 450.

    Args:
        polygons: Valid shapely polygons in pixel coordinates, (n,): x is the column, y the negative row.
        window: Window in pixels.
    """
    row, column, height, width = window
    values = np.broadcast_to(np.uint8(0), (height, width))
    grid = NumPyRasterSource(values, xmin=column, ymin=-(row + height), xmax=column + width, ymax=-row)
    found = _CoverageWriter()
    exact_extract(grid, _Polygons(polygons), ["coverage", "cell_id"], output=found)
    counts = [len(cells) for cells in found.cells]
    share = np.concatenate([*found.shares, np.zeros(0)])
    touched = share > 0
    owner = np.repeat(np.arange(len(counts)), counts)
    return Coverage(owner[touched], np.concatenate([*found.cells, np.zeros(0, np.int64)])[touched], share[touched])


class _Polygon(Feature):  # type: ignore[misc]
    """A feature that is a WKB geometry as input, and coverage and cells as output; GeoJSON takes twice as long."""

    def __init__(self, wkb: bytes | None = None) -> None:
        super().__init__()
        self.wkb, self.values = wkb, dict[str, Any]()

    def geometry(self) -> bytes | None:
        return self.wkb

    def set_geometry(self, wkb: bytes | None) -> None:
        """Ignored; the polygon is known."""

    def set_geometry_format(self) -> str:
        return "wkb"

    def get(self, name: str) -> Any:
        return self.values[name]

    def set(self, name: str, value: Any) -> None:
        self.values[name] = value

    def fields(self) -> list[str]:
        return list(self.values)


class _Polygons(FeatureSource):  # type: ignore[misc]
    def __init__(self, polygons: NDArray[Any]) -> None:
        super().__init__()
        self.polygons = polygons

    def count(self) -> int:
        return len(self.polygons)

    def __iter__(self) -> Iterator[_Polygon]:
        return map(_Polygon, shapely.to_wkb(self.polygons))

    def srs_wkt(self) -> None:
        return None


class _CoverageWriter(Writer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.shares: list[NDArray[np.float64]] = []
        self.cells: list[NDArray[np.int64]] = []

    def add_operation(self, operation: Any) -> None:
        """Ignored; the operations are known."""

    def write(self, feature: Any) -> None:
        own = _Polygon()
        feature.copy_to(own)
        self.shares.append(own.values["coverage"])
        self.cells.append(own.values["cell_id"])

    def finish(self) -> None:
        """Do nothing; everything is written."""

    def features(self) -> None:
        """Return nothing; the caller reads this object."""


_SIDE = 1024
"""Side of a block in pixels, twice the tile size of a map file."""

_CACHE_MB = 64
"""GDAL's cache; each block is read once, so that a larger cache does not help."""

_INSIDE = 1 - 1e-6
"""Coverage from which a pixel is completely inside; coverage is computed in single precision."""


@dataclass
class ClassSums:
    """Sums over the pixels with data of n parcels, weighted by the share of the pixel inside the parcel.

    Args:
        by_class: (n, K), float64, number of pixels of each class.
        probability: (n, K), float64, sum of each class's probability; None without probabilities.
        confidence: (n,), float64, sum of the confidence; None without confidence.
    """

    by_class: NDArray[np.float64]
    probability: NDArray[np.float64] | None
    confidence: NDArray[np.float64] | None

    @property
    def pixels(self) -> NDArray[np.float64]:
        """Number of pixels, (n,)."""
        total: NDArray[np.float64] = self.by_class.sum(axis=1)
        return total


@dataclass
class ParcelSums:
    """Sums of a map over n parcels.

    Args:
        area: (n,), float64, area of the polygon in pixels, also outside the map.
        all: Sums over every pixel that the parcel touches.
        inside: Sums over the pixels completely inside the parcel.
    """

    area: NDArray[np.float64]
    all: ClassSums
    inside: ClassSums


def sum_over_parcels(
    source: MapFile, polygons: NDArray[Any], advance: ProgressCallback = lambda done, total: None
) -> ParcelSums:
    """Sum a map over parcels.

    Args:
        source: The map with its confidence and probabilities, where they exist.
        polygons: Valid shapely geometries in the map's CRS, (n,); the sums of an empty one or None are 0.
        advance: Called with (blocks done, total).

    Raises:
        CropzooError: A file cannot be read; the message names it.
    """
    on_grid = to_pixels(polygons, source.grid)
    tree = shapely.STRtree(on_grid)
    sums = [_empty(source, len(polygons)) for _ in range(2)]
    blocks = list(_blocks(source.grid))
    with ExitStack() as stack:
        stack.enter_context(reading_environment(_CACHE_MB))
        opened = {
            name: stack.enter_context(open_raster(path)) for name, path in source.layers.items() if path is not None
        }
        for number, window in enumerate(blocks, start=1):
            row, column, height, width = window
            near = np.sort(tree.query(shapely.box(column, -row - height, column + width, -row), "intersects"))
            if len(near):
                covered = compute_coverage(on_grid[near], window)
                pixels = {name: _read(raster, window) for name, raster in opened.items()}
                _add(sums[0], near, covered, pixels)
                inside = covered.share >= _INSIDE
                within = Coverage(covered.owner[inside], covered.cell[inside], np.ones(int(inside.sum())))
                _add(sums[1], near, within, pixels)
            advance(number, len(blocks))
    area = shapely.area(on_grid)
    return ParcelSums(np.nan_to_num(area), *sums)


def to_pixels(polygons: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Polygons in pixel coordinates, as `compute_coverage` takes them."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    turn = np.linalg.inv(np.array([[a, b], [d, e]]))

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = (points - (c, f)) @ turn.T * (1, -1)
        return moved

    found: NDArray[Any] = shapely.transform(polygons, move)
    return found


def _empty(source: MapFile, count: int) -> ClassSums:
    classes = len(source.classes)
    probability = None if source.probabilities is None else np.zeros((count, classes))
    confidence = np.zeros(count) if source.confidence or source.probabilities else None
    return ClassSums(np.zeros((count, classes)), probability, confidence)


def _blocks(grid: Grid) -> Iterator[Window]:
    for row in range(0, grid.height, _SIDE):
        for column in range(0, grid.width, _SIDE):
            yield Window(row, column, min(_SIDE, grid.height - row), min(_SIDE, grid.width - column))


def _read(raster: Any, window: Window) -> NDArray[np.uint8]:
    """Read a block, (bands, pixels)."""
    row, column, height, width = window
    try:
        values: NDArray[np.uint8] = raster.read(window=((row, row + height), (column, column + width)))
    except RASTER_FAILURES as error:
        raise unreadable_error(Path(raster.name), error) from error
    return values.reshape(len(values), -1)


def _add(sums: ClassSums, near: NDArray[np.intp], covered: Coverage, pixels: dict[str, NDArray[np.uint8]]) -> None:
    """Add a block's pixels to the sums of the parcels at positions `near`."""
    label = pixels["class"][0, covered.cell]
    seen = label < sums.by_class.shape[1]
    owner, cell, share = covered.owner[seen], covered.cell[seen], covered.share[seen]
    count, classes = len(near), sums.by_class.shape[1]
    place = owner * classes + label[seen]
    sums.by_class[near] += np.bincount(place, share, count * classes).reshape(count, classes)
    best: Any = None
    if sums.probability is not None:
        for number in range(classes):
            values = pixels["probabilities"][number, cell]
            sums.probability[near, number] += np.bincount(owner, share * values / STEPS, count)
            best = values if best is None else np.maximum(best, values)
    if sums.confidence is not None:
        values = pixels["confidence"][0, cell] if "confidence" in pixels else best
        sums.confidence[near] += np.bincount(owner, share * values / STEPS, count)
