"""Windows: no pixel twice, none lost, neighbors together; ground that two tiles show once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyproj
import pytest
import shapely
from pyproj import Transformer
from rasterio import Affine
from rasterio.warp import transform
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.prepare.windows import (
    SampleWindow,
    bounding_window,
    find_covered,
    find_overlaps,
    locate_parcels,
    split_windows,
    window_lon_lat,
)


def grid(west: float = 500_000, north: float = 5_600_000, side: int = 64, crs: str = "EPSG:32631") -> Grid:
    return Grid(side, side, Affine(10, 0, west, 0, -10, north), crs)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(64, 64, 32), (70, 50, 32), (20, 30, 64), (300, 520, 32), (1, 1, 8)]
)
def test_every_pixel_is_in_one_window(height: int, width: int, size: int) -> None:
    seen = np.zeros((height, width), int)
    windows = [window for region in split_windows(height, width, size) for window in region]
    for row, column, high, wide in windows:
        seen[row : row + high, column : column + wide] += 1
        assert row % size == column % size == 0
        assert size / 4 <= high < 1.25 * size or len({window.row for window in windows}) == 1
        assert size / 4 <= wide < 1.25 * size or len({window.column for window in windows}) == 1
    assert (seen == 1).all()


def test_a_small_area_is_one_window_of_its_size() -> None:
    assert split_windows(20, 30, 64) == [[Window(0, 0, 20, 30)]]


@pytest.mark.parametrize(
    ("block", "height", "width"),
    [((1, 1), 128, 128), ((256, 256), 256, 256), ((1, 1000), 128, 1000), ((1024, 1024), 1000, 1000)],
)
def test_regions_hold_whole_pieces_of_the_files(block: tuple[int, int], height: int, width: int) -> None:
    regions = split_windows(1000, 1000, 32, block)
    assert bounding_window(regions[0]) == Window(0, 0, height, width)


def test_a_region_of_wide_strips_stays_small() -> None:
    regions = split_windows(10980, 10980, 128, (10980, 10980))
    assert {bounding_window(region).height * bounding_window(region).width <= 2**22 for region in regions} == {True}
    assert {bounding_window(region).width for region in regions} == {10980}


def flat(side: int, size: int) -> list[Window]:
    return [window for region in split_windows(side, side, size) for window in region]


def test_a_window_that_an_earlier_tile_covers_is_left_out() -> None:
    windows = flat(64, 32)
    found = find_overlaps([grid(), grid(west=500_320)], [windows, windows])
    assert found == [[()] * 4, [() if window.column == 32 else None for window in windows]]


def test_the_same_ground_in_another_zone_counts_as_covered() -> None:
    # 6 degrees east is the edge of zones 31 and 32: the same field has two grids, at an angle of 5 degrees.
    grids = [grid(west=712_000, side=128), grid_in_zone_32(712_400, 5_600_000 - 400)]
    assert find_overlaps(grids, [flat(128, 64), flat(64, 16)])[1] == [None] * 16


def test_tiles_that_touch_keep_all_windows() -> None:
    assert find_overlaps([grid(), grid(west=500_640)], [flat(64, 32)] * 2) == [[()] * 4] * 2


def grid_in_zone_32(west: float, north: float) -> Grid:
    """A grid of zone 32 with the upper left corner of one of zone 31."""
    (x,), (y,) = transform("EPSG:32631", "EPSG:32632", [west], [north])
    return grid(west=x, north=y, crs="EPSG:32632")


def make_samples(grids: list[Grid], size: int) -> list[SampleWindow]:
    windows = [flat(each.height, size) for each in grids]
    found = find_overlaps(grids, windows)
    return [
        SampleWindow("", number, window, earlier=earlier)
        for number, (mine, overlaps) in enumerate(zip(windows, found, strict=True))
        for window, earlier in zip(mine, overlaps, strict=True)
        if earlier is not None
    ]


@pytest.mark.parametrize("size", [8, 32, 64])
@pytest.mark.parametrize("east", [0, 3, 16, 37, 60])
@pytest.mark.parametrize("south", [0, 5, 32])
def test_every_pixel_of_overlapping_tiles_is_used_once(size: int, east: int, south: int) -> None:
    corners = [(0, 0), (south, east), (20, 40)]
    grids = [grid(west=500_000 + 10 * column, north=5_600_000 - 10 * row) for row, column in corners]
    used, ground = np.zeros((96, 124), int), np.zeros((96, 124), bool)
    for row, column in corners:
        ground[row : row + 64, column : column + 64] = True
    for sample in make_samples(grids, size):
        row, column = corners[sample.stack][0] + sample.window.row, corners[sample.stack][1] + sample.window.column
        used[row : row + sample.window.height, column : column + sample.window.width] += ~find_covered(sample, grids)
    assert used.max() == 1
    # A window of which less than 1 % is new is left out.
    assert (used[ground] == 0).mean() <= 0.01


def test_tiles_of_two_zones_are_cut_at_their_seam() -> None:
    grids = [grid(west=712_000), grid_in_zone_32(712_300, 5_600_000 - 100)]
    samples = make_samples(grids, 64)
    assert [sample.earlier for sample in samples] == [(), ((0, Window(0, 0, 64, 64)),)]
    covered = find_covered(samples[1], grids)
    # By hand, the overlap is about 34 x 54 of 64 x 64 pixels, turned by the angle between the zones.
    assert covered.mean() == pytest.approx(34 * 54 / 64**2, abs=0.04)
    corner = window_lon_lat(grids[1], Window(0, 0, 1, 1))[0]
    assert corner == pytest.approx(window_lon_lat(grids[0], Window(10, 30, 1, 1))[0], abs=1e-9)
    assert covered[5, 5]
    assert not covered[-1, -1]


def test_windows_across_180_degrees_are_reported_apart() -> None:
    west = Transformer.from_crs(4326, 32701, always_xy=True).transform(-180, -16.8)
    x, y = round(west[0]) - 320, round(west[1])
    tile = grid(west=x, north=y, crs="EPSG:32701")
    assert find_overlaps([tile], [flat(64, 16)]) == [[()] * 16]
    # The same ground in zone 60, whose images end on the other side of the line.
    (east,), (north,) = transform("EPSG:32701", "EPSG:32760", [x], [y])
    again = grid(west=east, north=north, crs="EPSG:32760")
    assert find_overlaps([tile, again], [flat(64, 64)] * 2)[0] == [()]
    assert find_overlaps([tile, again], [flat(64, 64)] * 2)[1][0] != ()


def test_too_many_windows_are_refused_before_they_are_listed() -> None:
    with pytest.raises(CropzooError, match=r"more than 10,000,000 windows.*crop the images.*leave out --keep-empty"):
        split_windows(16_000_000, 16_000_000, 24)
    everywhere = np.array([[0, 0, 16e6, 16e6]])
    with pytest.raises(CropzooError, match=r"more than 10,000,000 windows near parcels.*enlarge --window$"):
        split_windows(16_000_000, 16_000_000, 24, boxes=everywhere)


@pytest.mark.parametrize(("height", "width", "size"), [(300, 520, 32), (70, 50, 32), (20, 30, 64), (129, 1000, 8)])
@pytest.mark.parametrize("block", [(1, 1), (1, 1000), (256, 256)])
@pytest.mark.parametrize("count", [0, 1, 4, 60])
def test_windows_near_boxes_are_those_that_intersect_one_in_the_same_order_and_regions(
    height: int, width: int, size: int, block: tuple[int, int], count: int
) -> None:
    rng = np.random.default_rng(count)
    starts = rng.uniform(-60, (height + 60, width + 60), (count, 2))
    boxes = np.hstack([starts, starts + rng.uniform(0, 90, (count, 2))])

    def is_near(window: Window) -> bool:
        row, column, high, wide = window
        return any(
            top < row + high and bottom >= row and left < column + wide and right >= column
            for top, left, bottom, right in boxes
        )

    expected = [list(filter(is_near, region)) for region in split_windows(height, width, size, block)]
    assert split_windows(height, width, size, block, boxes) == [region for region in expected if region]


def test_windows_near_boxes_of_an_enormous_raster_take_no_memory_for_the_rest() -> None:
    boxes = np.array([[50.0, 70.0, 60.0, 90.0], [15_999_990.0, 12_000_001.0, 15_999_995.0, 12_000_002.0]])
    tracemalloc.start()
    found = split_windows(16_000_000, 16_000_000, 24, boxes=boxes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [[Window(48, 48, 24, 24), Window(48, 72, 24, 24)], [Window(15_999_984, 12_000_000, 16, 24)]]
    assert peak < 64 << 20


def parcels_of(*shapes: BaseGeometry, crs: str = "EPSG:32631") -> ParcelTable:
    numbers = np.arange(1, len(shapes) + 1, dtype=np.int32)
    names = ("",) * len(shapes)
    return ParcelTable(np.array(shapes, object), pyproj.CRS(crs), numbers, tuple(range(len(shapes))), names)


def test_parts_of_a_parcel_are_located_apart() -> None:
    far = MultiPolygon([box(500_000, 5_599_900, 500_100, 5_600_000), box(509_900, 5_590_000, 510_000, 5_590_200)])
    expected = [[-1, -1, 11, 11], [979, 989, 1001, 1001]]
    np.testing.assert_allclose(locate_parcels(parcels_of(far), grid(side=1000)), expected, atol=1e-6)


def test_parcels_are_located_on_a_rotated_grid_of_another_zone() -> None:
    turned = Grid(64, 64, Affine(8.66, 5, 712_000, 5, -8.66, 5_600_000), "EPSG:32631")
    corners = [turned.locate(row, column) for row, column in ((10, 20), (10, 30), (25, 30), (25, 20))]
    to_zone_32 = Transformer.from_crs(32631, 32632, always_xy=True).transform
    moved = shapely.transform(Polygon(corners), to_zone_32, interleaved=False)
    ((top, left, bottom, right),) = locate_parcels(parcels_of(moved, crs="EPSG:32632"), turned)
    assert top <= 9 <= 26 <= bottom
    assert left <= 19 <= 31 <= right
    assert (bottom - top) * (right - left) < 4 * 15 * 10 + 200
