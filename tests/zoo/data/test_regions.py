"""Regions of a file on the grid of a map: pixels and points, names, and files that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from rasterio.crs import CRS

from cropzoo.data.regions import read_regions
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window

from ..small_maps import NORTH, PLACE, WEST

GRID = Grid(6, 8, PLACE, CRS.from_epsg(32631))
WHOLE = Window(0, 0, 6, 8)
HALVES = [shapely.box(0, 0, 4, 6), shapely.box(4, 0, 8, 6)]


@pytest.fixture
def write(make_parcels: Callable[..., Path]) -> Callable[..., Path]:
    """`write(polygons, crs=..., **columns)`: a file of polygons in columns and rows."""

    def make(polygons: Sequence[Any], crs: str = "EPSG:32631", **columns: Any) -> Path:
        return make_parcels(polygons, crs=crs, file="regions.gpkg", **columns)

    return make


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", "EPSG:3035"])
def test_each_pixel_is_in_the_region_of_its_center(write: Callable[..., Path], crs: str) -> None:
    regions = read_regions(write(HALVES, crs, name=["west", "east"]), GRID)
    expected = np.repeat([[0] * 4 + [1] * 4], 6, axis=0)
    assert regions.names == ("west", "east")
    assert regions.rasterize(WHOLE).tolist() == expected.tolist()
    assert regions.rasterize(Window(2, 3, 2, 3)).tolist() == expected[2:4, 3:6].tolist()


def test_a_place_outside_all_regions_has_none(write: Callable[..., Path]) -> None:
    regions = read_regions(write([shapely.box(2, 1, 4, 3)]), GRID)
    found = regions.rasterize(WHOLE)
    assert (found == 0).sum() == 4
    assert found[1:3, 2:4].tolist() == [[0, 0], [0, 0]]
    assert set(found.ravel().tolist()) == {-1, 0}


def test_polygons_with_one_name_are_one_region_also_where_they_overlap(write: Callable[..., Path]) -> None:
    shapes = [shapely.box(0, 0, 3, 6), HALVES[1], shapely.box(2, 0, 4, 6)]
    regions = read_regions(write(shapes, Kreis=["a", "b", "a"]), GRID, "Kreis")
    assert regions.names == ("a", "b")
    assert regions.rasterize(WHOLE).tolist() == [[0] * 4 + [1] * 4] * 6


@pytest.mark.parametrize(
    ("columns", "column", "names"),
    [
        ({"NAME": ["x", "y"], "code": [7, 8]}, "", ("x", "y")),
        ({"code": [7, 8]}, "", ("1", "2")),
        ({"name": ["x", "y"], "code": [7, 8]}, "code", ("7", "8")),
        ({"name": ["x", "y"], "code": ["01", "1"]}, "code", ("01", "1")),
    ],
)
def test_names_come_from_the_column(
    write: Callable[..., Path], columns: dict[str, Any], column: str, names: tuple[str, ...]
) -> None:
    assert read_regions(write(HALVES, **columns), GRID, column).names == names


@pytest.mark.parametrize("other", [shapely.box(3, 2, 8, 6), shapely.box(1, 1, 2, 2)])
def test_regions_that_share_a_pixel_are_refused(write: Callable[..., Path], other: Any) -> None:
    regions = read_regions(write([HALVES[0], other], name=["west", "east"]), GRID)
    with pytest.raises(CropzooError, match=r"'(west|east)' and '(west|east)' overlap"):
        regions.rasterize(WHOLE)


def test_slivers_without_a_pixel_center_are_no_overlap(write: Callable[..., Path]) -> None:
    regions = read_regions(write([shapely.box(0, 0, 4.2, 6), HALVES[1]], name=["west", "east"]), GRID)
    assert regions.rasterize(WHOLE).tolist() == [[0] * 4 + [1] * 4] * 6


def _points(*places: tuple[float, float] | None) -> Any:
    return np.array(
        [None if each is None else shapely.Point(WEST + 10 * each[0], NORTH - 10 * each[1]) for each in places], object
    )


def test_points_are_in_the_region_around_them(write: Callable[..., Path]) -> None:
    regions = read_regions(write(HALVES, name=["west", "east"]), GRID)
    assert regions.locate(_points((1, 1), (7, 5), (9, 1), None, (4, 2))).tolist() == [0, 1, -1, -1, 0]
    assert regions.locate(_points()).tolist() == []


def test_a_point_in_two_regions_is_refused(write: Callable[..., Path]) -> None:
    regions = read_regions(write([HALVES[0], shapely.box(3, 0, 8, 6)], name=["west", "east"]), GRID)
    assert regions.locate(_points((1, 1))).tolist() == [0]
    with pytest.raises(CropzooError, match="overlap"):
        regions.locate(_points((1, 1), (3.5, 1)))


@pytest.mark.parametrize(
    ("columns", "column", "problem"),
    [
        ({"kreis": ["a", "b"]}, "kries", "no column 'kries'; did you mean 'kreis'"),
        ({"name": ["a", None]}, "", "column 'name' has empty fields"),
    ],
)
def test_names_that_cannot_be_used_are_errors(
    write: Callable[..., Path], columns: dict[str, Any], column: str, problem: str
) -> None:
    with pytest.raises(CropzooError, match=problem):
        read_regions(write(HALVES, **columns), GRID, column)


def test_a_file_of_points_has_no_regions(tmp_path: Path) -> None:
    geopandas.GeoDataFrame(geometry=[shapely.Point(3, 50)], crs="EPSG:4326").to_file(tmp_path / "r.gpkg")
    with pytest.raises(CropzooError, match="contains no polygon"):
        read_regions(tmp_path / "r.gpkg", GRID)
