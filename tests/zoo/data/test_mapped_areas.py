"""Mapped areas: pixels, and hectares on the ground in projected and geographic CRS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from cropzoo.data import mapped_areas as areas
from cropzoo.data.classified_map import class_tags, open_map
from cropzoo.data.mapped_areas import AreaCounter, measure_areas, row_hectares
from cropzoo.data.sample import LabelClass
from cropzoo.geo.raster.grid import Grid

CLASSES = tuple(LabelClass(name, code, "#33aa33") for code, name in enumerate(("grass", "maize", "hops")))


def make_grid(height: int, width: int, transform: Affine, crs: str | None) -> Grid:
    return Grid(height, width, transform, crs and rasterio.CRS.from_string(crs))


def write_map(path: Path, labels: NDArray[np.uint8], transform: Affine, crs: str) -> Path:
    height, width = labels.shape
    profile: dict[str, Any] = {"dtype": "uint8", "count": 1, "height": height, "width": width, "nodata": 255}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **profile) as file:
        file.write(labels[None])
        file.update_tags(**class_tags(CLASSES))
    return path


def test_a_projected_map_has_the_area_of_its_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(areas, "_BLOCK_SIDE", 7)
    labels = np.random.default_rng(0).choice([0, 1, 255], (50, 40), p=[0.2, 0.5, 0.3]).astype(np.uint8)
    found = measure_areas(
        open_map(write_map(tmp_path / "m.tif", labels, Affine(10, 0, 6e5, 0, -10, 5.65e6), "EPSG:32631"))
    )
    assert found.pixels.tolist() == [(labels == 0).sum(), (labels == 1).sum(), 0]
    assert found.hectares.tolist() == pytest.approx([(labels == 0).sum() / 100, (labels == 1).sum() / 100, 0])
    assert found.nodata == (labels == 255).sum()


def geodesic_hectares(grid: Grid, row: int, column: int) -> float:
    """Area of a pixel by the geodesics between its corners."""
    x, y = zip(*(grid.locate(row + r, column + c) for r, c in ((0, 0), (0, 1), (1, 1), (1, 0))), strict=True)
    longitude, latitude = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    return float(abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(longitude, latitude)[0]) / 1e4)


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (Affine(0.001, 0, 4, 0, -0.001, 60), "EPSG:4326"),
        (Affine(0.001, 0, 4, 0, 0.001, -60), "EPSG:4326"),
        (Affine(0.0001, 0, 4, 0, -0.01, 60), "EPSG:4326"),
        (Affine(0.001, 0, 4, 0, -0.001, 60) @ Affine.rotation(30), "EPSG:4326"),
        (Affine(30, 0, 600_000, 0, -30, 6_500_000), "EPSG:3857"),
        (Affine(30, 0, 4_000_000, 0, -30, 3_000_000), "EPSG:3035"),
        (Affine(100, 0, 987_000, 0, -100, 200_000), "EPSG:2263"),  # in feet
    ],
)
def test_a_pixel_has_its_area_on_the_ground(transform: Affine, crs: str) -> None:
    grid = make_grid(400, 3, transform, crs)
    found = row_hectares(grid)
    assert found.shape == (400,)
    for row in (0, 150, 399):
        assert found[row] == pytest.approx(geodesic_hectares(grid, row, 1), rel=3e-4)


def test_a_map_in_degrees_is_counted_row_by_row(tmp_path: Path) -> None:
    transform = Affine(0.01, 0, 4, 0, -0.01, 60)
    labels = np.ones((300, 20), np.uint8)
    labels[:100] = 0
    grid = make_grid(300, 20, transform, "EPSG:4326")
    each = [geodesic_hectares(grid, row, 0) * 20 for row in range(300)]
    found = measure_areas(open_map(write_map(tmp_path / "m.tif", labels, transform, "EPSG:4326")))
    assert found.hectares.tolist() == pytest.approx([sum(each[:100]), sum(each[100:]), 0], rel=1e-4)


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326"])
def test_windows_make_no_difference(crs: str) -> None:
    grid = make_grid(90, 70, Affine(0.1, 0, 4, 0, -0.1, 50), crs)
    labels = np.random.default_rng(1).integers(0, 5, (90, 70)).astype(np.uint8)
    one, several = AreaCounter(grid, 3), AreaCounter(grid, 3)
    one.add(labels, 0)
    for row in range(0, 90, 40):
        for column in range(0, 70, 32):
            several.add(labels[row : row + 40, column : column + 32], row)
    np.testing.assert_array_equal(one.result().pixels, several.result().pixels)
    np.testing.assert_allclose(one.result().hectares, several.result().hectares)
    assert one.result().nodata == several.result().nodata == (labels > 2).sum()


def test_without_a_crs_the_area_is_unknown() -> None:
    counter = AreaCounter(make_grid(4, 4, Affine(10, 0, 0, 0, -10, 0), None), 2)
    counter.add(np.zeros((4, 4), np.uint8), 0)
    assert counter.result().pixels.tolist() == [16, 0]
    assert np.isnan(counter.result().hectares).all()
