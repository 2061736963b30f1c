"""The area to map: which pixels belong to it, in any CRS and format, and what is wrong with one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from pyproj import Transformer
from rasterio import Affine
from shapely.geometry import LineString, Point, Polygon, box

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.aoi import read_aoi

CRS = "EPSG:32631"
X, Y = 500_000, 5_600_000


@pytest.fixture
def grid(make_grid):
    """70 x 90 pixels of 10 m, upper left corner at (X, Y)."""
    return make_grid(70, 90)


def whole(grid):
    return Window(0, 0, grid.height, grid.width)


def write(path: Path, *shapes, crs: str | None = CRS, to: str | None = None) -> Path:
    frame = geopandas.GeoDataFrame(geometry=list(shapes), crs=crs)
    (frame.to_crs(to) if to else frame).to_file(path)
    return path


def holds_centers(shape, grid):
    """By shapely, pixel by pixel."""
    rows, columns = np.mgrid[: grid.height, : grid.width] + 0.5
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    return shapely.contains_xy(shape, a * columns + b * rows + c, d * columns + e * rows + f)


def star(seed: int) -> Polygon:
    """A crooked polygon with a hole, over the grid and beyond it."""
    random = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    reach = random.uniform(150, 600, 40)
    points = np.stack([X + 450 + reach * np.cos(angles), Y - 350 + reach * np.sin(angles)], axis=1)
    return Polygon(points, [Point(X + 450, Y - 350).buffer(70).exterior.coords])


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb"])
def test_pixels_whose_center_it_holds(tmp_path, grid, name):
    area = read_aoi(write(tmp_path / name, star(0)))
    assert (area.mask(grid, whole(grid)) == holds_centers(star(0), grid)).all()


def test_the_mask_of_a_window_is_that_of_the_whole(tmp_path, grid):
    area = read_aoi(write(tmp_path / "a.gpkg", star(1), star(2), box(X, Y - 700, X + 50, Y - 600)))
    mask = area.mask(grid, whole(grid))
    assert 0.2 < mask.mean() < 0.9
    small = [Window(row, column, 7, min(7, 90 - column)) for row in range(0, 70, 7) for column in range(0, 90, 7)]
    for window in [*small, Window(3, 5, 41, 64)]:
        row, column, height, width = window
        assert (area.mask(grid, window) == mask[row : row + height, column : column + width]).all()


def test_another_crs(tmp_path, grid):
    area = read_aoi(write(tmp_path / "a.geojson", star(3), to="EPSG:4326"))
    differ = area.mask(grid, whole(grid)) != holds_centers(star(3), grid)
    assert differ.sum() <= 3  # GeoJSON rounds to 7 decimals, a centimeter


def test_long_edges_bend_as_they_do_on_the_ground(tmp_path, grid):
    """A box in degrees, six wide: in UTM the corners of its south edge are 5 km north of the middle of the edge."""
    wide = Grid(100, 100, Affine(100, 0, X - 5000, 0, -100, 5_543_630), grid.crs)
    area = read_aoi(write(tmp_path / "a.geojson", box(0, 50, 6, 52), crs="EPSG:4326"))
    rows, columns = np.mgrid[:100, :100] + 0.5
    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    _, latitude = to_degrees.transform(X - 5000 + 100 * columns, 5_543_630 - 100 * rows)
    assert 0.2 < (latitude > 50).mean() < 0.8
    assert (area.mask(wide, whole(wide)) != (latitude > 50)).mean() < 0.01


def test_the_window_around_it(tmp_path, grid):
    area = read_aoi(write(tmp_path / "a.gpkg", box(X + 101, Y - 405, X + 309, Y - 201)))
    assert area.window(grid) == Window(20, 10, 21, 21)
    area = read_aoi(write(tmp_path / "b.gpkg", box(X - 5000, Y - 205, X + 15, Y + 9000)))
    assert area.window(grid) == Window(0, 0, 21, 2)
    assert area.mask(grid, Window(0, 0, 21, 2))[:20, 0].all()


def test_a_finer_grid(tmp_path, grid):
    fine = Grid(140, 180, Affine(5, 0, X, 0, -5, Y), grid.crs)
    area = read_aoi(write(tmp_path / "a.gpkg", star(4)))
    assert (area.mask(fine, whole(fine)) == holds_centers(star(4), fine)).all()
    assert (area.mask(grid, whole(grid), scale=2) == holds_centers(star(4), fine)).all()


def test_overlapping_and_invalid_polygons(tmp_path, grid):
    bow = Polygon([(X + 100, Y - 100), (X + 300, Y - 300), (X + 300, Y - 100), (X + 100, Y - 300)])
    area = read_aoi(write(tmp_path / "a.gpkg", box(X, Y - 150, X + 90, Y - 2), box(X, Y - 250, X + 90, Y - 100), bow))
    expected = holds_centers(shapely.union_all([box(X, Y - 250, X + 90, Y - 2), shapely.make_valid(bow)]), grid)
    mask = area.mask(grid, whole(grid))
    inside = shapely.buffer(bow.boundary, 8)
    rows, columns = np.mgrid[:70, :90] + 0.5
    sure = ~shapely.contains_xy(inside, X + 10 * columns, Y - 10 * rows)
    assert (mask == expected)[sure].all()


def test_the_digest_tells_areas_apart(tmp_path):
    one, same, other = (
        read_aoi(write(tmp_path / f"{name}.gpkg", star(seed))) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one.digest == same.digest != other.digest
    assert read_aoi(write(tmp_path / "d.gpkg", star(1), crs="EPSG:32632")).digest != one.digest


def test_an_area_outside_the_images(tmp_path, grid):
    area = read_aoi(write(tmp_path / "far.gpkg", box(X + 900, Y - 700, X + 2000, Y)))
    for ask in (area.window, lambda grid: area.check_overlap([grid])):
        with pytest.raises(CropzooError) as raised:
            ask(grid)
        assert "far.gpkg" in str(raised.value)
        assert "it covers longitude 3.012" in str(raised.value)
        assert "the images cover longitude 3.0000 to 3.0127" in str(raised.value)
    assert not area.mask(grid, whole(grid)).any()
    neighbor = replace(grid, transform=Affine(10, 0, X + 900, 0, -10, Y))
    area.check_overlap([grid, neighbor])
    other_side = read_aoi(write(tmp_path / "pole.geojson", box(170, -80, 175, -75), crs="EPSG:4326"))
    with pytest.raises(CropzooError, match="and they do not overlap"):
        other_side.window(grid)


def test_images_without_crs(tmp_path, grid):
    area = read_aoi(write(tmp_path / "a.gpkg", star(0)))
    with pytest.raises(CropzooError, match=r"a.gpkg'; the images have no CRS"):
        area.window(replace(grid, crs=None))


def two_layers(path):
    for layer in ("a", "b"):
        geopandas.GeoDataFrame(geometry=[star(0)], crs=CRS).to_file(path, layer=layer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_text("hello"), "cannot be read as vector data"),
        (lambda path: path.write_bytes(b""), "cannot be read as vector data"),
        (lambda path: path.mkdir(), "cannot be read as vector data"),
        (lambda path: write(path, star(0), crs=None), "it has no CRS; add it to the file"),
        (lambda path: write(path, Point(X, Y), LineString([(X, Y), (X + 9, Y)])), "it contains no polygon"),
        (two_layers, r"2 layers with geometries \(a, b\)"),
    ],
    ids=["missing", "text", "empty", "folder", "no crs", "points", "layers"],
)
@pytest.mark.filterwarnings("ignore")
def test_invalid_areas_are_refused(tmp_path, make, message):
    path = tmp_path / "a.gpkg"
    make(path)
    with pytest.raises(CropzooError, match=rf"area .*a.gpkg'; .*{message}"):
        read_aoi(path)


def write_ring(path: Path, ring: list[list[float]]) -> Path:
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def test_a_ring_that_is_not_closed_is_closed(tmp_path: Path) -> None:
    area = read_aoi(write_ring(tmp_path / "a.geojson", [[0, 0], [1, 0], [1, 1]]))
    assert [shape.wkt for shape in area.geometry] == ["POLYGON ((0 0, 1 0, 1 1, 0 0))"]


@pytest.mark.parametrize("ring", [[[0, 0], [1, 0]], [[0, 0]]])
def test_a_ring_of_too_few_points_is_no_polygon(tmp_path: Path, ring: list[list[float]]) -> None:
    with pytest.raises(CropzooError, match="it contains no polygon; draw the area as polygons"):
        read_aoi(write_ring(tmp_path / "a.geojson", ring))
