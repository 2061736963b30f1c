"""Real parcels: the labels that came with them, and the areas that their polygons have."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS

from cropzoo.data.labels import rasterize_labels
from cropzoo.data.legend import make_legend
from cropzoo.geo.raster.grid import Grid, Window, read_grid
from cropzoo.geo.vector.reader import read_parcels

DATA = os.environ.get("CROPZOO_TEST_DATA", "")
pytestmark = pytest.mark.skipif(not DATA, reason="CROPZOO_TEST_DATA names no folder of real data")


@pytest.mark.parametrize("site", ["00002806639B424A", "0000280849BAC91C"])
def test_labels_of_flanders_pixel_by_pixel(site: str) -> None:
    folder = Path(DATA) / "flanders" / site
    with rasterio.open(folder / "labels.tif") as source:
        codes, grid = source.read(1), read_grid(source)
    table = read_parcels([folder / "parcels.gpkg"], crop_column="crop_code", around=[grid])
    whole = Window(0, 0, grid.height, grid.width)
    legend = make_legend(table.crops, table.names)
    found = rasterize_labels(table, legend.indices(table.crops), grid, whole)
    np.testing.assert_array_equal(np.array([entry.code for entry in legend.classes])[found.labels], codes)
    assert found.conflicts == 0
    # The same parcels from the European grid.
    far = table.to_crs("EPSG:3035").subset(np.arange(len(table)))
    again = rasterize_labels(far, legend.indices(table.crops), grid, whole)
    np.testing.assert_array_equal(again.labels, found.labels)


def test_areas_of_french_parcels() -> None:
    path = Path(DATA) / "parcels" / "rpg193.gpkg"
    grid = Grid(410, 410, Affine(10, 0, 657_000, 0, -10, 5_075_100), CRS.from_epsg(32631))
    table = read_parcels([path], crop_column="code_cultu", id_column="id", around=[grid])
    assert len(table) == 193
    assert {"MIS", "BOR"} <= set(table.crops)
    legend = make_legend(table.crops)
    found = rasterize_labels(table, legend.indices(table.crops), grid, Window(0, 0, 410, 410))
    area = shapely.area(table.to_crs(grid.crs).geometry)
    assert (found.parcels > 0).sum() * 100 == pytest.approx(area.sum(), rel=0.01)
    assert set(np.unique(found.parcels)) - {0} <= set(table.ids.tolist())
    large = area > 20_000
    pixels = np.array([(found.parcels == number).sum() for number in table.ids[large]])
    assert np.abs(pixels * 100 / area[large] - 1).max() < 0.1
    assert 0 < found.conflicts < 0.01 * found.labels.size
