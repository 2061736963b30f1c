"""Windows: no pixel twice, none lost, neighbors together; ground that two tiles show once."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio import Affine
from rasterio.warp import transform

from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.prepare.windows import bounding_window, find_new_windows, split_windows, window_lon_lat


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


def test_ground_of_an_earlier_tile_is_left_out() -> None:
    windows = flat(64, 32)
    kept = find_new_windows([grid(), grid(west=500_320)], [windows, windows])
    assert kept == [[True] * 4, [window.column == 32 for window in windows]]


def test_the_same_ground_in_another_zone_counts_as_seen() -> None:
    # 6 degrees east is the edge of zones 31 and 32: the same field has two grids.
    west = grid(west=712_000, north=5_600_000)
    longitude, latitude = window_lon_lat(west, Window(0, 0, 64, 64))[0]
    (x,), (y,) = transform("EPSG:4326", "EPSG:32632", [longitude], [latitude])
    east = grid(west=x, north=y, crs="EPSG:32632")
    assert find_new_windows([west, east], [flat(64, 64), flat(64, 64)]) == [[True], [False]]


def test_tiles_that_touch_keep_all_windows() -> None:
    assert find_new_windows([grid(), grid(west=500_640)], [flat(64, 32)] * 2) == [[True] * 4] * 2
