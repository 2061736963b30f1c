"""Polygons that cross 180 degrees: cut there, with an outline that jumps, or in one piece."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import shapely
from pyproj import Transformer
from rasterio import Affine
from rasterio.crs import CRS
from shapely import MultiPolygon, Point, Polygon, box

from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.aoi import read_aoi
from cropzoo.geo.vector.layer import describe_grid_extent, find_longitude
from cropzoo.geo.vector.longitudes import align_longitudes, cut_at_180, describe_bounds, join_at_180
from cropzoo.geo.vector.rasterize import rasterize_centers
from cropzoo.geo.vector.reader import read_parcels

X, Y = (round(value) for value in Transformer.from_crs(4326, 32701, always_xy=True).transform(-180, -16.8))
UTM = Grid(64, 64, Affine(10, 0, X - 320, 0, -10, Y), CRS.from_epsg(32701))
DEGREES = 1e-4
WEST, EAST = (
    Grid(64, 64, Affine(DEGREES, 0, west, 0, -DEGREES, -16.8), CRS.from_epsg(4326)) for west in (-180.0032, 179.9968)
)
BOXES = [
    box(X - 320 + 160 * i, Y - 640 + 160 * j, X - 170 + 160 * i, Y - 490 + 160 * j) for i in range(4) for j in range(4)
]
CUT = MultiPolygon([box(179.9, 0, 180, 1), box(-180, 0, -179.9, 1)])
JUMP = Polygon([(179.9, 0), (-179.9, 0), (-179.9, 1), (179.9, 1)])


def test_both_ways_of_crossing_are_one_piece() -> None:
    for shape in (CUT, JUMP, shapely.reverse(JUMP), MultiPolygon([JUMP])):
        (joined,) = join_at_180(np.array([shape], object))
        assert joined.equals(box(179.9, 0, 180.1, 1))


@pytest.mark.parametrize(
    "shape",
    [
        box(-180, -90, 180, 90),
        box(-179, 0, 179, 1).union(box(0, 0, 1, 2)),
        MultiPolygon([box(166, -47, 179, -34), box(-177, -45, -176, -43)]),
        box(179.9, 0, 180, 1),
        box(179.9, 0, 180.1, 1),
        Polygon(),
        None,
    ],
)
def test_others_stay_as_they_are(shape: object) -> None:
    assert join_at_180(np.array([shape], object))[0] is shape


def test_polygons_are_moved_next_to_a_longitude() -> None:
    given = np.array([box(-180, 0, -179.9, 1), box(179, 0, 180, 1), box(4, 0, 5, 1), None], object)
    east = align_longitudes(given, 180.001)
    assert shapely.bounds(east)[:2, 0].tolist() == [180, 179]
    assert shapely.bounds(align_longitudes(given, -180.001))[:2, 0].tolist() == [-180, -181]
    assert align_longitudes(given[1:], 4.0) is not given
    assert align_longitudes(given[2:], 4.0)[0] is given[2]


def test_cutting_is_the_reverse_of_joining() -> None:
    for shape in (JUMP, box(179.9, 0, 180.1, 1), CUT):
        assert cut_at_180(shape).equals(CUT)
    assert cut_at_180(box(1, 0, 2, 1)).equals(box(1, 0, 2, 1))
    assert describe_bounds((179.9, 0, 180.1, 1)) == "longitude 179.9000 to -179.9000, latitude 0.0000 to 1.0000"
    assert describe_grid_extent([UTM]).startswith("longitude 179.9969 to -179.9970, latitude -16.80")


def _write_forms(folder, file: str) -> str:
    utm = geopandas.GeoDataFrame({"crop": range(1, 17)}, geometry=BOXES, crs="EPSG:32701")
    jump = utm.to_crs(4326)
    cut = jump.assign(geometry=[cut_at_180(shape) for shape in jump.geometry])
    east = jump.assign(geometry=align_longitudes(join_at_180(np.array(jump.geometry, object)), 180.0))
    forms = {"utm": utm, "jump": jump, "cut": cut, "east": east}
    path = folder / f"{file}.gpkg"
    forms[file].to_file(path)
    return path


@pytest.mark.parametrize("grid", [UTM, WEST, EAST], ids=["utm", "west", "east"])
@pytest.mark.parametrize("file", ["utm", "jump", "cut", "east"])
def test_all_parcels_are_found_and_lie_where_they_are(tmp_path, file: str, grid: Grid) -> None:
    path = _write_forms(tmp_path, file)
    table = read_parcels([path], crop_column="crop", around=[grid])
    assert sorted(table.crops) == list(range(1, 17))
    assert table.repaired == 0
    found = rasterize_centers(table, grid, Window(0, 0, 64, 64))
    there = read_parcels([_write_forms(tmp_path, "utm")], crop_column="crop", around=[UTM]).to_crs(grid.crs)
    for position in range(16):
        middle = there.geometry[position].representative_point()
        column = int(((middle.x - grid.transform.c) / grid.transform.a) % (360 / DEGREES))
        row = int((middle.y - grid.transform.f) / grid.transform.e)
        if column < 64 and row < 64:
            assert table.crops[found[row, column] - 1] == there.crops[position]
    assert len(np.unique(found)) >= 16


@pytest.mark.parametrize("grid", [UTM, WEST, EAST], ids=["utm", "west", "east"])
@pytest.mark.parametrize("file", ["utm", "jump", "cut", "east"])
def test_an_area_covers_the_same_pixels(tmp_path, file: str, grid: Grid) -> None:
    path = _write_forms(tmp_path, file)
    mask = read_aoi(path).mask(grid, Window(0, 0, 64, 64))
    same = read_aoi(_write_forms(tmp_path, "utm")).mask(grid, Window(0, 0, 64, 64))
    assert (mask != same).mean() < 0.01
    assert 0.7 < mask.mean() < 0.9
    assert mask[:, :30].any()
    assert mask[:, 34:].any()


def test_a_grid_without_coordinates_is_at_longitude_0() -> None:
    assert find_longitude(Grid(4, 4, Affine(1e30, 0, 1e30, 0, -1e30, 1e30), CRS.from_epsg(3035))) == 0
    assert find_longitude(EAST) == pytest.approx(180)
    assert abs(find_longitude(UTM)) == pytest.approx(180, abs=0.01)


def test_another_place_is_described_across_the_line(tmp_path) -> None:
    path = tmp_path / "far.geojson"
    geopandas.GeoDataFrame({"crop": [1]}, geometry=[Point(4, 50).buffer(0.1)], crs="EPSG:4326").to_file(path)
    with pytest.raises(Exception, match=r"the images cover longitude 179.9969 to -179.9970"):
        read_parcels([path], crop_column="crop", around=[UTM])
