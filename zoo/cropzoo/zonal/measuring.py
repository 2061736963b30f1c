"""Sums of a map over parcels, block by block: memory holds a block of the map and the sums, however large either is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from cropzoo.images.rasters import Grid, open_raster, unreadable
from cropzoo.images.reading import reading_environment
from cropzoo.mapping.map_file import MapFile
from cropzoo.mapping.outputs import STEPS
from cropzoo.regions import Window
from cropzoo.zonal.covering import Covered, cover

_SIDE = 1024
"""Pixels of a block's side, two of the map's own pieces."""

_CACHE_MB = 64
"""Of decoded pixels that GDAL keeps; a block is read once, so that more would only fill memory."""

_WHOLE = 1 - 1e-6
"""A pixel that is covered to this share lies wholly inside; coverage is computed in single precision."""


@dataclass
class Sums:
    """Of n parcels over the pixels that the map shows; a pixel counts by the share that lies in the parcel.

    Args:
        by_class: (n, K), float64, pixels of each class.
        chance: (n, K), float64, pixels times their probability of each class; None without probabilities.
        sure: (n,), float64, pixels times their confidence; None without confidence.
    """

    by_class: NDArray[np.float64]
    chance: NDArray[np.float64] | None
    sure: NDArray[np.float64] | None

    @property
    def pixels(self) -> NDArray[np.float64]:
        """(n,), all of them."""
        total: NDArray[np.float64] = self.by_class.sum(axis=1)
        return total


@dataclass
class Measured:
    """Of n parcels.

    Args:
        area: (n,), float64, of the polygon, in pixels, on the map or not.
        all: over every pixel that the parcel touches.
        inside: over those that lie wholly in it, each counting 1.
    """

    area: NDArray[np.float64]
    all: Sums
    inside: Sums


def measure(
    source: MapFile, polygons: NDArray[Any], advance: Callable[[int, int], None] = lambda done, total: None
) -> Measured:
    """The sums of a map over parcels.

    Args:
        source: the map, and the files beside it where they are.
        polygons: (n,) objects of shapely in the map's CRS, valid; an empty one or None has sums of 0.
        advance: called with blocks done and all of them.

    Raises:
        CropzooError: naming the file that cannot be read.
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
                covered = cover(on_grid[near], window)
                pixels = {name: _read(raster, window) for name, raster in opened.items()}
                _add(sums[0], near, covered, pixels)
                whole = covered.share >= _WHOLE
                within = Covered(covered.owner[whole], covered.cell[whole], np.ones(int(whole.sum())))
                _add(sums[1], near, within, pixels)
            advance(number, len(blocks))
    area = shapely.area(on_grid)
    return Measured(np.nan_to_num(area), *sums)


def to_pixels(polygons: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Polygons in columns and rows times -1, as `cover` takes them."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    turn = np.linalg.inv(np.array([[a, b], [d, e]]))

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = (points - (c, f)) @ turn.T * (1, -1)
        return moved

    found: NDArray[Any] = shapely.transform(polygons, move)
    return found


def _empty(source: MapFile, count: int) -> Sums:
    classes = len(source.classes)
    chance = None if source.probabilities is None else np.zeros((count, classes))
    sure = np.zeros(count) if source.confidence or source.probabilities else None
    return Sums(np.zeros((count, classes)), chance, sure)


def _blocks(grid: Grid) -> Iterator[Window]:
    for row in range(0, grid.height, _SIDE):
        for column in range(0, grid.width, _SIDE):
            yield Window(row, column, min(_SIDE, grid.height - row), min(_SIDE, grid.width - column))


def _read(raster: Any, window: Window) -> NDArray[np.uint8]:
    """(bands, pixels) of a block."""
    row, column, height, width = window
    try:
        values: NDArray[np.uint8] = raster.read(window=((row, row + height), (column, column + width)))
    except RasterioError as error:
        raise unreadable(Path(raster.name)) from error
    return values.reshape(len(values), -1)


def _add(sums: Sums, near: NDArray[np.intp], covered: Covered, pixels: dict[str, NDArray[np.uint8]]) -> None:
    """Add a block's pixels to the sums of the parcels at positions `near`."""
    label = pixels["class"][0, covered.cell]
    seen = label < sums.by_class.shape[1]
    owner, cell, share = covered.owner[seen], covered.cell[seen], covered.share[seen]
    count, classes = len(near), sums.by_class.shape[1]
    place = owner * classes + label[seen]
    sums.by_class[near] += np.bincount(place, share, count * classes).reshape(count, classes)
    best: Any = None
    if sums.chance is not None:
        for number in range(classes):
            values = pixels["probabilities"][number, cell]
            sums.chance[near, number] += np.bincount(owner, share * values / STEPS, count)
            best = values if best is None else np.maximum(best, values)
    if sums.sure is not None:
        values = pixels["confidence"][0, cell] if "confidence" in pixels else best
        sums.sure[near] += np.bincount(owner, share * values / STEPS, count)
