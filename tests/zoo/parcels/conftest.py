"""A grid of 10 m in Flanders, and parcels on it whose corners are given in pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from cropzoo.images.rasters import Grid
from cropzoo.parcels.polygons import take_polygons
from cropzoo.parcels.table import ParcelTable

WEST, NORTH = 500_000, 5_600_000


@pytest.fixture(scope="session")
def make_grid() -> Callable[..., Grid]:
    """`make_grid(height, width, east=0)`; `east` is where it begins, in pixels."""

    def make(height: int = 4, width: int = 4, east: int = 0) -> Grid:
        return Grid(height, width, Affine(10, 0, WEST + 10 * east, 0, -10, NORTH), CRS.from_epsg(32631))

    return make


@pytest.fixture(scope="session")
def on_ground() -> Callable[[Any], Any]:
    """`on_ground(polygon)` brings a polygon of columns and rows to coordinates in EPSG:32631."""

    def bring(polygon: Any) -> Any:
        return shapely.transform(polygon, lambda points: points * (10, -10) + (WEST, NORTH))

    return bring


@pytest.fixture(scope="session")
def make_table(on_ground: Callable[[Any], Any]) -> Callable[..., ParcelTable]:
    """`make_table(polygons, crops=None)`: parcels of polygons in columns and rows, cleaned as those of files are."""

    def make(polygons: Sequence[Any], crops: Sequence[Any] | None = None) -> ParcelTable:
        shapes = take_polygons(np.array([on_ground(polygon) for polygon in polygons], object)).geometry
        found = tuple(crops or range(1, len(shapes) + 1))
        ids = np.arange(1, len(shapes) + 1, dtype=np.int32)
        return ParcelTable(shapes, pyproj.CRS(32631), ids, found, ("",) * len(shapes))

    return make
