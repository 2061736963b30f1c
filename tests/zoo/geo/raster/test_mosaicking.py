"""What a file without data, with two kinds of it, or near the ends of its type gives."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import rasterio

from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.reader import StackReader

ALL = Window(0, 0, 60, 60)


def test_nodata_is_used_in_addition_to_a_mask(make: ModuleType, tmp_path: Path) -> None:
    values = make.pixels("B04")
    values[5, 5] = 0
    path = make.write_raster(tmp_path / "S2_2019-05-16.tif", values, ("B04",), nodata=0)
    seen = np.full(values.shape, 255, np.uint8)
    seen[7, 7] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(seen)
    series, clear = StackReader(find_images(tmp_path)[0]).read(ALL)
    assert np.argwhere(~clear[0]).tolist() == [[5, 5], [7, 7]]
    assert (series[0, 0, 5, 5], series[0, 0, 7, 7]) == (0, 0)


def test_numbers_at_the_ends_of_their_type_do_not_wrap(make: ModuleType, tmp_path: Path) -> None:
    values = make.pixels("B04").astype(np.int16)
    values[0, :3] = -32768, -32000, 32767
    make.write_raster(tmp_path / "S2_2019-05-16.tif", values, ("B04",), tags={"BOA_ADD_OFFSET": -1000})
    series, _ = StackReader(find_images(tmp_path)[0]).read(ALL)
    assert series[0, 0, 0, :3].tolist() == [-32768, -32768, 31767]
    np.testing.assert_array_equal(series[0, 0, 1:], values[1:] - 1000)
