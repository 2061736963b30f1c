"""Turning rasters upright: each of the eight orders of rows and columns, and rotations between them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine

from cropzoo.geo.raster.grid import Grid
from cropzoo.geo.raster.orientation import Orientation

# Change of x and y by a column and by a row: (a, d), (b, e).
STEPS = {
    "north-up": ((10, 0), (0, -10)),
    "south-up": ((10, 0), (0, 10)),
    "mirrored": ((-10, 0), (0, -10)),
    "turned by 180 degrees": ((-10, 0), (0, 10)),
    "turned right": ((0, -10), (-10, 0)),
    "turned left": ((0, 10), (10, 0)),
    "transposed": ((0, -10), (10, 0)),
    "transposed and turned": ((0, 10), (-10, 0)),
}


def make_grid(by_column: tuple[float, float], by_row: tuple[float, float]) -> Grid:
    return Grid(3, 5, Affine(by_column[0], by_row[0], 500, by_column[1], by_row[1], 900), None)


@pytest.mark.parametrize("name", STEPS)
def test_the_picture_has_x_to_the_right_and_y_upward(name: str) -> None:
    grid = make_grid(*STEPS[name])
    x, y = (
        np.array([[grid.locate(row + 0.5, column + 0.5)[axis] for column in range(5)] for row in range(3)])  # type: ignore[arg-type]
        for axis in (0, 1)
    )
    orientation = Orientation.of(grid.transform)
    turned_x, turned_y = orientation.turn(x), orientation.turn(y)
    assert (np.diff(turned_x, axis=1) == 10).all()
    assert (np.diff(turned_y, axis=0) == -10).all()
    shown = orientation.turn_grid(grid)
    assert (shown.height, shown.width) == turned_x.shape
    assert Orientation.of(shown.transform) == Orientation()
    for row, column in np.ndindex(turned_x.shape):
        assert shown.locate(row + 0.5, column + 0.5) == (turned_x[row, column], turned_y[row, column])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", STEPS)
def test_other_axes_stay(name: str) -> None:
    values = np.arange(3 * 5 * 2).reshape(3, 5, 2)
    orientation = Orientation.of(make_grid(*STEPS[name]).transform)
    for band in range(2):
        np.testing.assert_array_equal(orientation.turn(values, (0, 1))[..., band], orientation.turn(values[..., band]))


@pytest.mark.parametrize("degrees", [-44, -10, 10, 44, 46, 100, 170, 200, 300])
@pytest.mark.parametrize("south_up", [False, True])
def test_less_than_half_a_right_angle_of_a_rotation_stays(degrees: float, south_up: bool) -> None:
    transform = Affine.rotation(degrees) @ Affine.scale(10, 10 if south_up else -10)
    grid = Grid(4, 6, transform, None)
    a, b, _, d, e, _ = tuple(Orientation.of(transform).turn_grid(grid).transform)[:6]
    assert a > 0 > e
    assert abs(math.atan2(d, a)) < math.radians(45)
    assert abs(math.atan2(b, -e)) < math.radians(45)


def test_an_upright_raster_is_not_copied() -> None:
    values = np.zeros((2, 3))
    assert Orientation.of([10, 0, 0, 0, -10, 0]).turn(values) is values
