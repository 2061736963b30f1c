"""Windows on the images' grid, and their assignment to splits."""

from __future__ import annotations

import pytest
from shapely.geometry import box

from cropzoo.geo.raster.grid import Window
from cropzoo_plugins.datasets.geo.windows import Frame, make_windows, split_windows

FRAME = Frame(west=300_000, north=5_000_000, xres=10, yres=10)


def square(row: int, column: int, height: int, width: int) -> object:
    """An area in pixels of the frame."""
    west, south, east, north = FRAME.bounds(Window(row, column, height, width))
    return box(west, south, east, north)


def test_windows_start_at_the_area_on_the_grid() -> None:
    frame, windows = make_windows(square(5, 7, 40, 60), FRAME, 20)
    assert frame == Frame(300_070, 4_999_950, 10, 10)
    assert windows == [Window(row, column, 20, 20) for row in (0, 20) for column in (0, 20, 40)]
    assert frame.bounds(windows[4]) == (300_270, 4_999_550, 300_470, 4_999_750)
    assert frame.transform(windows[4]) == [10, 0, 300_270, 0, -10, 4_999_750]


def test_an_area_off_the_grid_is_held_by_whole_pixels() -> None:
    frame, windows = make_windows(box(300_013, 4_999_801, 300_187, 4_999_999.999), FRAME, 50)
    assert (frame.west, frame.north) == (300_010, 5_000_000)
    assert windows == [Window(0, 0, 20, 18)]


def test_an_area_before_the_corner_is_on_the_grid_as_well() -> None:
    frame, _ = make_windows(box(299_801, 5_000_001, 299_999, 5_000_199), FRAME, 50)
    assert (frame.west, frame.north) == (299_800, 5_000_200)


def test_strips_at_the_edge_count_from_a_quarter_of_a_window() -> None:
    _, windows = make_windows(square(0, 0, 25, 24), FRAME, 20)
    assert windows == [Window(0, 0, 20, 20), Window(20, 0, 5, 20)]


def test_windows_that_no_part_of_the_area_touches_are_left_out() -> None:
    _, windows = make_windows(square(0, 0, 20, 60).union(square(40, 0, 20, 20)), FRAME, 20)  # type: ignore[attr-defined]
    assert windows == [Window(0, 0, 20, 20), Window(0, 20, 20, 20), Window(0, 40, 20, 20), Window(40, 0, 20, 20)]


def grid(rows: int, columns: int) -> list[Window]:
    return [Window(row * 8, column * 8, 8, 8) for row in range(rows) for column in range(columns)]


@pytest.mark.parametrize("gap", [0, 1])
def test_blocks_go_to_one_split_together(gap: int) -> None:
    windows = grid(20, 20)
    assigned = split_windows(windows, 8, 4, gap, (0.6, 0.2, 0.2), 0)
    owner = {(windows[i].row // 8, windows[i].column // 8): split for split, mine in assigned.items() for i in mine}
    pitch = 4 + gap
    assert len(owner) == (20 // pitch * 4) ** 2
    blocks: dict[tuple[int, int], set[str]] = {}
    for (row, column), split in owner.items():
        assert row % pitch < 4
        assert column % pitch < 4
        blocks.setdefault((row // pitch, column // pitch), set()).add(split)
    assert all(len(splits) == 1 for splits in blocks.values())
    shares = [len(assigned[split]) / len(owner) for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.05)
    assert split_windows(windows, 8, 4, gap, (0.6, 0.2, 0.2), 0) == assigned
    assert split_windows(windows, 8, 4, gap, (0.6, 0.2, 0.2), 1) != assigned


def test_blocks_are_smaller_where_they_would_be_few() -> None:
    assigned = split_windows(grid(4, 4), 8, 4, 0, (0.6, 0.2, 0.2), 0)
    assert [len(assigned[split]) for split in ("train", "val", "test")] == [10, 3, 3]


def test_missing_windows_make_no_blocks() -> None:
    windows = [window for window in grid(20, 20) if window.row >= 128 and window.column >= 64]
    assigned = split_windows(windows, 8, 2, 0, (0.5, 0.25, 0.25), 0)
    assert [len(assigned[split]) for split in ("train", "val", "test")] == [24, 12, 12]
