"""Chunks cover an image once, stay small, and follow how images are stored."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo.geo.raster.grid import Window
from cropzoo.inference.mapping.tiling import MOST_BYTES, chunk_size, split_window


@pytest.mark.parametrize("inside", [Window(0, 0, 100, 75), Window(3, 40, 50, 35), Window(90, 70, 10, 5)])
def test_chunks_cover_a_part_once(inside: Window) -> None:
    seen = np.zeros((100, 75), int)
    for row, column, height, width in split_window(inside, 18, 24, 8):
        seen[row : row + height, column : column + width] += 1
    part = np.s_[inside.row : inside.row + inside.height, inside.column : inside.column + inside.width]
    assert (seen[part] == 1).all()
    assert seen.sum() == inside.height * inside.width


def test_edges_do_not_move_with_the_part() -> None:
    whole = {chunk.row for chunk in split_window(Window(0, 0, 200, 8), 18, 8, 8)}
    later = {chunk.row for chunk in split_window(Window(50, 0, 150, 8), 18, 8, 8)} - {50}
    assert later
    assert later < whole
    assert {row % 18 for row in whole - {0}} == {4}, "in the middle of a window"


def test_no_chunk_is_a_sliver() -> None:
    for length in range(30, 80):
        assert min(chunk.height for chunk in split_window(Window(0, 0, length, 8), 18, 8, 8)) > 4


@pytest.mark.parametrize("pixel_bytes", [100, 500, 2500])
def test_the_series_of_a_chunk_stays_small(pixel_bytes: int) -> None:
    rows, columns = chunk_size((10980, 10980), block=(512, 512), size=24, stride=18, pixel_bytes=pixel_bytes)
    assert rows == columns
    assert rows % 18 == 0
    assert MOST_BYTES / 2 < (rows + 24) * (columns + 24) * pixel_bytes <= MOST_BYTES


def test_images_stored_in_rows_get_wide_chunks() -> None:
    rows, columns = chunk_size((10980, 10980), block=(1, 10980), size=24, stride=18, pixel_bytes=1000)
    assert columns > 4 * rows
    assert (rows + 24) * (columns + 24) * 1000 <= MOST_BYTES


def test_a_small_image_is_one_chunk() -> None:
    assert chunk_size((100, 90), block=(100, 90), size=24, stride=18, pixel_bytes=500) == (100, 90)


def test_a_chunk_holds_a_window_whatever_its_series_takes() -> None:
    assert chunk_size((5000, 5000), block=(512, 512), size=128, stride=96, pixel_bytes=10**7) == (96, 96)
