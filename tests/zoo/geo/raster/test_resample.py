"""Coarse pixels on a finer grid."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from cropzoo.geo.raster.resample import interpolate, make_axis_map, pick_nearest


def gdal(values: NDArray[np.float32], factor: int, nodata: float | None = None) -> NDArray[np.float32]:
    """What GDAL makes of it, bilinearly."""
    (height, width), side = values.shape, 10 * factor
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "float32", "nodata": nodata}
    with MemoryFile() as memory:
        with memory.open(**profile, crs="EPSG:32631", transform=Affine(side, 0, 5e5, 0, -side, 5e6)) as target:
            target.write(values, 1)
        fine = {"height": factor * height, "width": factor * width, "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
        with memory.open() as source, WarpedVRT(source, **fine, resampling=Resampling.bilinear) as warped:
            read: NDArray[np.float32] = warped.read(1)
            return read


def whole(values: NDArray[np.float32], factor: int, lost: NDArray[np.bool_] | None = None) -> NDArray[np.floating]:
    axes = [make_axis_map(0, factor * size, factor * size, size) for size in values.shape]
    return interpolate(values[None], None if lost is None else lost[None], *axes)[0]


@pytest.mark.parametrize("factor", [2, 3, 6])
def test_as_gdal_does_it(factor: int) -> None:
    values = np.random.default_rng(0).uniform(0, 9000, (7, 9)).astype(np.float32)
    np.testing.assert_allclose(whole(values, factor), gdal(values, factor), rtol=1e-5)


@pytest.mark.parametrize("factor", [2, 6])
def test_lost_pixels_stay_out_of_the_mean_of_their_neighbors(factor: int) -> None:
    values = np.random.default_rng(0).uniform(100, 9000, (7, 9)).astype(np.float32)
    lost = np.zeros(values.shape, np.bool_)
    lost[2, 3] = lost[5, 5:] = lost[0, 0] = True
    values[lost] = 30_000
    made = whole(values, factor, lost)
    good = ~lost.repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_allclose(made[good], gdal(values, factor, 30_000)[good], rtol=1e-4)
    assert made[good].max() <= 9000


def test_a_constant_stays() -> None:
    values = np.full((5, 5), 1234, np.uint16)
    lost = np.zeros(values.shape, np.bool_)
    lost[2] = True
    np.testing.assert_allclose(whole(values, 6, lost)[:12], 1234, rtol=1e-6)
    assert set(np.unique(whole(values, 2))) == {1234}


@pytest.mark.parametrize(("fine", "coarse"), [(60, 30), (60, 10), (30, 30), (10, 30)])
def test_axes_do_not_depend_on_where_they_start(fine: int, coarse: int) -> None:
    every = make_axis_map(0, fine, fine, coarse)
    values = np.arange(coarse)
    assert (every.start, every.stop) == (0, coarse) or coarse > fine
    for first in range(fine):
        for count in (1, 3, fine - first):
            axis = make_axis_map(first, min(count, fine - first), fine, coarse)
            part, span = slice(first, first + min(count, fine - first)), values[axis.start : axis.stop]
            np.testing.assert_array_equal(span[axis.nearest], values[every.start :][every.nearest][part])
            if coarse <= fine:
                np.testing.assert_array_equal(span[axis.lower], values[every.lower][part])
                np.testing.assert_array_equal(span[axis.upper], values[every.upper][part])
                np.testing.assert_array_equal(axis.weight, every.weight[part])


def test_the_nearest_pixel_holds_the_center() -> None:
    values = np.arange(12).reshape(3, 4)
    rows, columns = make_axis_map(1, 4, 6, 3), make_axis_map(3, 4, 8, 4)
    expected = values.repeat(2, 0).repeat(2, 1)[1:5, 3:7]
    seen = values[rows.start : rows.stop, columns.start : columns.stop]
    np.testing.assert_array_equal(pick_nearest(seen, rows, columns), expected)
