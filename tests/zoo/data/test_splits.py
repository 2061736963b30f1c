"""Windows of a split: inside the raster, apart by the gap, all pixels accounted for."""

from __future__ import annotations

from itertools import combinations

import pytest

from cropzoo import CropzooError, UnknownName, UsageError
from cropzoo.data.splits import Regions, split_blocks, split_halves
from cropzoo.geo.raster.grid import Window


def distance(a: Window, b: Window) -> int:
    """Pixels that lie between two windows; negative where they overlap."""
    rows = max(a.row, b.row) - min(a.row + a.height, b.row + b.height)
    columns = max(a.column, b.column) - min(a.column + a.width, b.column + b.width)
    return max(rows, columns)


def check(regions: Regions, height: int, width: int, gap: int) -> None:
    assert list(regions) == ["train", "val", "test"]
    windows = [window for split in regions.values() for window in split]
    for window in windows:
        assert min(window.row, window.column) >= 0
        assert min(window.height, window.width) >= 1
        assert window.row + window.height <= height
        assert window.column + window.width <= width
    for a, b in combinations(windows, 2):
        assert distance(a, b) >= gap


@pytest.mark.parametrize("gap", [0, 1, 2, 5])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (37, 50), (11, 20)])
def test_every_split_lies_inside_and_apart(height: int, width: int, gap: int) -> None:
    for axis in ("columns", "rows"):
        check(split_halves(height, width, axis=axis, gap=gap), height, width, gap)
    for size in (5, 9):
        check(split_blocks(3 * height, width, size=size, gap=gap, seed=3), 3 * height, width, gap)


def test_halves_are_west_with_val_in_its_south_and_east() -> None:
    regions = split_halves(64, 64)
    assert regions == {
        "train": [Window(0, 0, 46, 31)],
        "val": [Window(48, 0, 16, 31)],
        "test": [Window(0, 33, 64, 31)],
    }


def test_rows_are_columns_turned() -> None:
    columns, rows = split_halves(40, 70, axis="columns", gap=3), split_halves(70, 40, axis="rows", gap=3)
    for name in columns:
        assert [Window(w.column, w.row, w.width, w.height) for w in columns[name]] == rows[name]


def test_without_gap_and_val_halves_cover_the_raster() -> None:
    regions = split_halves(10, 21, gap=0, val_share=0)
    assert regions["val"] == []
    assert sum(w.height * w.width for split in regions.values() for w in split) == 210


def test_blocks_without_gap_cover_the_raster() -> None:
    regions = split_blocks(50, 31, size=8, gap=0)
    assert sum(w.height * w.width for split in regions.values() for w in split) == 50 * 31


def test_blocks_have_about_the_size_and_are_dealt_by_share() -> None:
    regions = split_blocks(340, 340, size=32, gap=2, seed=1)
    sides = {side for split in regions.values() for w in split for side in (w.height, w.width)}
    assert sides == {32, 33} or sides == {32}
    assert {name: len(split) for name, split in regions.items()} == {"train": 60, "val": 20, "test": 20}


def test_blocks_repeat_by_seed_alone() -> None:
    assert split_blocks(100, 100, seed=5) == split_blocks(100, 100, seed=5)
    assert split_blocks(100, 100, seed=5) != split_blocks(100, 100, seed=6)
    assert split_blocks(100, 100, seed=(5, 0)) != split_blocks(100, 100, seed=(5, 1))


def test_each_wanted_split_gets_a_block_and_no_other() -> None:
    few = split_blocks(20, 62, size=20, gap=1, shares=(0.98, 0.01, 0.01))
    assert [len(few[name]) for name in ("train", "val", "test")] == [1, 1, 1]
    none = split_blocks(64, 64, size=8, gap=0, shares=(3, 0, 1))
    assert none["val"] == []
    assert len(none["train"]) == 3 * len(none["test"])


def test_wrong_options_say_what_is_allowed() -> None:
    with pytest.raises(UnknownName, match="did you mean 'columns'"):
        split_halves(64, 64, axis="column")
    with pytest.raises(UsageError, match="val_share is 1"):
        split_halves(64, 64, val_share=1)
    with pytest.raises(UsageError, match="gap is -1"):
        split_halves(64, 64, gap=-1)
    with pytest.raises(UsageError, match="gap is -2"):
        split_blocks(64, 64, gap=-2)
    with pytest.raises(UsageError, match="block size is 0"):
        split_blocks(64, 64, size=0)
    for shares in ((1, 1), (0, 1, 1), (1, -1, 1)):
        with pytest.raises(UsageError, match="three numbers"):
            split_blocks(64, 64, shares=shares)


def test_a_raster_too_small_says_so() -> None:
    with pytest.raises(CropzooError, match="3 x 4 pixels; a gap of 3 pixels"):
        split_halves(3, 4, gap=3)
    with pytest.raises(CropzooError, match="make 1 and 3 splits need one each"):
        split_blocks(30, 30, size=32)
