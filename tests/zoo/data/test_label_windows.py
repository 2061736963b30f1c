"""Random parcels: against a slow count with shapely, in windows, in strips, by centers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from cropzoo.data.labels import LabelOptions, rasterize_labels
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector import rasterize as burning
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.geo.vector.rasterize import rasterize_centers

HEIGHT, WIDTH = 23, 31
WHOLE = Window(0, 0, HEIGHT, WIDTH)
INDEX = np.array([1, 2, 3, 3, 255, 4, 0, 2])


@pytest.fixture(params=[0, 1])
def parcels(request: pytest.FixtureRequest, make_table: Callable[..., ParcelTable]) -> ParcelTable:
    """Eight parcels of triangles and quarters with holes that overlap, on no line of the grid."""
    generator = np.random.default_rng(request.param)
    made = []
    for _ in INDEX:
        middle = generator.uniform((0, 0), (WIDTH, HEIGHT))
        turn = np.sort(generator.uniform(0, 2 * np.pi, 7))
        corners = middle + generator.uniform(4, 14, (7, 1)) * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        hole = shapely.Point(middle).buffer(generator.uniform(0.5, 3), quad_segs=3)
        made.append(shapely.Polygon(corners).buffer(0).difference(hole))
    return make_table(made, crops=["a", "b", "c", "d", "e", "f", "g", "b"])


def count_slowly(table: ParcelTable, grid: Grid, oversample: int, conflict: float) -> NDArray[np.int64]:
    """Labels, pixel by pixel and cell by cell, by what contains the cell's center."""
    labels = np.zeros((HEIGHT, WIDTH), np.int64)
    steps = (np.arange(oversample) + 0.5) / oversample
    for row, column in np.ndindex(HEIGHT, WIDTH):
        xs, ys = (axis.ravel() for axis in grid.locate(*np.meshgrid(row + steps, column + steps)))
        inside = np.stack([shapely.contains_xy(shape, xs, ys) for shape in table.geometry])
        shares: dict[tuple[str, int], int] = {}
        for cell in inside.T:
            for end in np.flatnonzero(cell)[[0, -1]] if cell.any() else (None, None):
                key = ("ground", 0) if end is None or INDEX[end] == 0 else ("crop", int(INDEX[end]))
                shares[key] = shares.get(key, 0) + 1
        crops = sorted((count for (kind, _), count in shares.items() if kind == "crop"), reverse=True)
        torn = len(crops) > 1 and crops[1] > conflict * 2 * oversample**2
        labels[row, column] = 255 if torn else min(shares, key=lambda key: (-shares[key], key[1]))[1]
    return labels


@pytest.mark.parametrize(("oversample", "conflict"), [(1, 0.4), (3, 0.2), (4, 0.4)])
def test_labels_are_those_of_a_slow_count(
    parcels: ParcelTable, make_grid: Callable[..., Grid], oversample: int, conflict: float
) -> None:
    grid = make_grid(HEIGHT, WIDTH)
    found = rasterize_labels(parcels, INDEX, grid, WHOLE, LabelOptions(oversample=oversample, conflict=conflict))
    np.testing.assert_array_equal(found.labels, count_slowly(parcels, grid, oversample, conflict))
    assert set(np.unique(found.labels)) >= {0, 255}


def test_a_turned_grid(parcels: ParcelTable, make_grid: Callable[..., Grid]) -> None:
    straight = make_grid(HEIGHT, WIDTH)
    _, _, c, _, _, f = tuple(straight.transform)[:6]
    grid = replace(straight, transform=Affine(9.1, 3.8, c - 30, 4.2, -8.7, f - 20))
    found = rasterize_labels(parcels, INDEX, grid, WHOLE)
    np.testing.assert_array_equal(found.labels, count_slowly(parcels, grid, 4, 0.4))


@pytest.mark.parametrize("scale", [1, 2])
def test_a_pixel_is_the_same_in_every_window(
    parcels: ParcelTable, make_grid: Callable[..., Grid], make_table: Callable[..., ParcelTable], scale: int
) -> None:
    # Edges through the centers of cells are the hard case.
    slanted = [shapely.Polygon([(0, i), (WIDTH, i + 5), (WIDTH, i + 8.125), (0, i + 3.125)]) for i in range(0, 24, 3)]
    grid = make_grid(HEIGHT, WIDTH)
    for table in (parcels, make_table(slanted)):
        whole = rasterize_labels(table, INDEX, grid, WHOLE, LabelOptions(label_scale=scale))
        generator = np.random.default_rng(0)
        for _ in range(40):
            row, column = generator.integers(0, HEIGHT), generator.integers(0, WIDTH)
            window = Window(
                int(row),
                int(column),
                int(generator.integers(1, HEIGHT - row + 1)),
                int(generator.integers(1, WIDTH - column + 1)),
            )
            part = rasterize_labels(table, INDEX, grid, window, LabelOptions(label_scale=scale))
            here = np.s_[scale * row : scale * (row + window.height), scale * column : scale * (column + window.width)]
            np.testing.assert_array_equal(part.labels, whole.labels[here])
            np.testing.assert_array_equal(part.parcels, whole.parcels[here])


def test_strips_change_nothing(
    parcels: ParcelTable, make_grid: Callable[..., Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = make_grid(HEIGHT, WIDTH)
    whole = rasterize_labels(parcels, INDEX, grid, WHOLE)
    burnt = []
    monkeypatch.setattr(burning, "_CELLS", 4000)
    monkeypatch.setattr("cropzoo.data.labels._PIXELS", 7)
    monkeypatch.setattr(
        "cropzoo.data.labels.rasterize_shapes", lambda *args: burnt.append(args[1]) or burning.rasterize_shapes(*args)
    )
    again = rasterize_labels(parcels, INDEX, grid, WHOLE)
    assert set(burnt) == {8 * 4, 7 * 4}
    np.testing.assert_array_equal(again.labels, whole.labels)
    np.testing.assert_array_equal(again.parcels, whole.parcels)
    assert again.conflicts == whole.conflicts > 0


@pytest.mark.parametrize("scale", [1, 3])
def test_centers_are_those_of_rasterio(parcels: ParcelTable, make_grid: Callable[..., Grid], scale: int) -> None:
    grid = make_grid(HEIGHT, WIDTH)
    found = rasterize_centers(parcels, grid, WHOLE, label_scale=scale)
    shapes = list(zip(parcels.geometry, range(1, 9), strict=True))
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    transform = Affine(a / scale, b / scale, c, d / scale, e / scale, f)
    np.testing.assert_array_equal(found, rasterize(shapes, (HEIGHT * scale, WIDTH * scale), transform=transform))


def test_another_crs_gives_the_same_labels(parcels: ParcelTable, make_grid: Callable[..., Grid]) -> None:
    grid = make_grid(HEIGHT, WIDTH)
    far = replace(parcels.to_crs("EPSG:3035"))
    np.testing.assert_array_equal(
        rasterize_labels(far, INDEX, grid, WHOLE).labels, rasterize_labels(parcels, INDEX, grid, WHOLE).labels
    )
