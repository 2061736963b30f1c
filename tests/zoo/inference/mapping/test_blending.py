"""Windows on a lattice cover an image, and what they say is blended without a trace of where they lie."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cropzoo.geo.raster.grid import Window
from cropzoo.inference.mapping.blending import Blend, Lattice, starts

SHAPES = [
    (length, size, overlap)
    for length, size, overlap in itertools.product((3, 8, 9, 12, 29, 64), (4, 8, 9), (0, 1, 2, 4, 6, 7, 8))
    if overlap < size
]


@pytest.mark.parametrize(("length", "size", "overlap"), SHAPES)
@pytest.mark.parametrize("upsample", [1, 2])
def test_every_pixel_of_an_image_has_weight(length: int, size: int, overlap: int, upsample: int) -> None:
    lattice = Lattice(length, length, size, overlap, upsample)
    for sums in lattice.sums(Window(0, 0, length, length)):
        assert sums.shape == (upsample * length,)
        assert sums.min() > 0.4


def test_the_last_window_is_moved_inwards() -> None:
    assert starts(20, 8, 6) == (0, 6, 12)
    assert starts(21, 8, 6) == (0, 6, 12, 13)
    assert starts(5, 8, 6) == (0,)


def answer(row: int, column: int, size: int) -> np.ndarray:
    """What a network says that knows its pixels by their place alone."""
    rows, columns = np.mgrid[row : row + size, column : column + size]
    return np.stack([np.sin(rows * 0.7 + columns), np.cos(rows - columns * 0.3)]).astype(np.float32)


def blend(lattice: Lattice, inside: Window) -> np.ndarray:
    made = Blend(lattice, inside, 2)
    for row, column in lattice.windows(inside):
        made.add(row, column, answer(row, column, lattice.size))
    return made.mean()


@pytest.mark.parametrize(("size", "overlap"), [(8, 0), (8, 2), (8, 5), (9, 4), (64, 3)])
def test_windows_that_agree_leave_no_trace(size: int, overlap: int) -> None:
    lattice = Lattice(37, 30, size, overlap)
    np.testing.assert_allclose(blend(lattice, Window(0, 0, 37, 30)), answer(0, 0, 37)[:, :, :30], atol=1e-6)


@pytest.mark.parametrize(("size", "overlap"), [(8, 0), (8, 2), (8, 5), (9, 4)])
def test_a_pixel_is_the_same_to_the_last_bit_in_every_part(size: int, overlap: int) -> None:
    lattice = Lattice(37, 30, size, overlap)
    whole = blend(lattice, Window(0, 0, 37, 30))
    for part in (Window(0, 0, 10, 10), Window(7, 11, 13, 19), Window(36, 29, 1, 1), Window(20, 0, 17, 30)):
        row, column, height, width = part
        np.testing.assert_array_equal(blend(lattice, part), whole[:, row : row + height, column : column + width])


def test_what_a_window_says_at_its_rim_does_not_count_where_another_goes_on() -> None:
    lattice, inside = Lattice(40, 40, 16, 8), Window(0, 0, 40, 40)
    made = Blend(lattice, inside, 1)
    for row, column in lattice.windows(inside):
        said = np.ones((1, 16, 16), np.float32)
        for axis, first in ((1, row), (2, column)):
            if first > 0:
                said[(slice(None),) * axis + (slice(0, 2),)] = 99
            if first + 16 < 40:
                said[(slice(None),) * axis + (slice(14, 16),)] = 99
        made.add(row, column, said)
    np.testing.assert_allclose(made.mean(), 1)


def test_weights_rise_without_a_step() -> None:
    down, _ = Lattice(100, 100, 32, 16).weights(16, 16)
    assert np.abs(np.diff(down)).max() < 0.25
    assert down[3] == 0 < down[4]
    np.testing.assert_array_equal(down, down[::-1])
    edge, _ = Lattice(100, 100, 32, 16).weights(0, 0)
    assert (edge[:16] == 1).all()


def test_windows_without_weight_in_a_part_are_not_asked() -> None:
    lattice = Lattice(64, 64, 16, 8)
    assert lattice.windows(Window(0, 0, 14, 14)) == [(0, 0), (0, 8), (8, 0), (8, 8)]
    assert lattice.windows(Window(0, 0, 10, 10)) == [(0, 0)]
    assert lattice.around(Window(0, 0, 14, 10)) == Window(0, 0, 24, 16)
