"""Pixels without data: declared or not, masked, NaN; they are 0 and not clear."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rasterio

from cropzoo import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.reader import StackReader

ALL = Window(0, 0, 60, 60)


@pytest.fixture
def product(make: ModuleType, tmp_path: Path) -> Path:
    """One product with bands of 10, 20 and 60 m, holes in each, and offsets."""
    make.make_product(tmp_path, baseline="0400")
    for path in tmp_path.rglob("*_B0[145]_*.jp2"):
        with rasterio.open(path) as source:
            values, place = source.read(1), source.transform
        values[2:4, 5:7] = 0
        make.write_raster(path, values, pixel=place.a)
    return tmp_path


def test_no_data_is_zero_and_not_clear_and_stays_out_of_its_neighbors(make: ModuleType, product: Path) -> None:
    [tile] = find_images(product)
    series, clear = StackReader(tile, clear_scl=tuple(range(1, 12))).read(ALL)
    for band, pixel in (("B04", 10), ("B05", 20), ("B01", 60)):
        factor = pixel // 10
        hole = np.zeros((60, 60), np.bool_)
        hole[2 * factor : 4 * factor, 5 * factor : 7 * factor] = True
        values = series[0, tile.bands.index(band)]
        assert not values[hole].any()
        assert not clear[0][hole].any()
        # 1001 is the lowest number written, so less than 1 after the offset could only come from a hole.
        assert values[~hole].min() >= 1
    np.testing.assert_array_equal(series[0, 4], make.pixels("B08").astype(int) - 1000)


@pytest.mark.parametrize("pixel", [10, 20])
def test_nan(make: ModuleType, tmp_path: Path, pixel: int) -> None:
    values = make.pixels("B04", pixel=pixel).astype(np.float32)
    values[3, 4] = np.nan
    make.write_raster(tmp_path / "2019-05-16_B04.tif", values, pixel=pixel)
    make.write_raster(tmp_path / "2019-05-16_B08.tif", make.pixels("B08").astype(np.float32))
    with pytest.raises(CropzooError, match=r"2019-05-16_B04.tif'; it contains NaN or infinity that is not declared"):
        StackReader(find_images(tmp_path)[0]).read(ALL)
    make.rewrite(tmp_path / "2019-05-16_B04.tif", nodata=np.nan)
    series, clear = StackReader(find_images(tmp_path)[0]).read(ALL)
    assert np.isfinite(series).all()
    assert (~clear).sum() == (pixel // 10) ** 2


def test_masks_of_the_file_and_nodata_that_no_pixel_can_have(make: ModuleType, tmp_path: Path) -> None:
    path = make.write_raster(tmp_path / "2019-05-16_B04.tif", make.pixels("B04"))
    shown = np.ones((60, 60), np.bool_)
    shown[10:20] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(shown)
    series, clear = StackReader(find_images(tmp_path)[0]).read(ALL)
    np.testing.assert_array_equal(clear[0], shown)
    assert not series[0, 0, 10:20].any()
    path.unlink()
    vrt = tmp_path / "2019-05-16_B04.vrt"
    make.write_raster(tmp_path / "source" / "source.bin.tif", make.pixels("B04"))
    vrt.write_text(
        '<VRTDataset rasterXSize="60" rasterYSize="60"><VRTRasterBand dataType="UInt16" band="1">'
        "<NoDataValue>-9999</NoDataValue><SimpleSource><SourceFilename>"
        f"{tmp_path}/source/source.bin.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    [tile] = find_images(vrt)
    assert StackReader(tile).read(ALL)[1].all()


@pytest.mark.parametrize(("tags", "given"), [({"BOA_ADD_OFFSET": "-1000"}, None), ({}, 1000)])
def test_nought_below_an_offset_is_no_data_though_the_file_does_not_say_so(
    make: ModuleType, tmp_path: Path, tags: dict[str, str], given: int | None
) -> None:
    values = np.array([[0, 1], [1000, 1001]], np.uint16)
    make.write_raster(tmp_path / "2022-05-16_B04.tif", values[None], ("B04",), tags=tags)
    [tile] = find_images(tmp_path)
    series, clear = StackReader(tile, offset=given).read(Window(0, 0, 2, 2))
    assert series[0, 0].tolist() == [[0, -999], [0, 1]]
    assert clear[0].tolist() == [[False, True], [True, True]]


def test_nought_in_all_bands_is_no_data_though_the_file_does_not_say_so(make: ModuleType, tmp_path: Path) -> None:
    values = np.array([[[0, 0, 5]], [[0, 7, 0]]], np.uint16)
    make.write_raster(tmp_path / "2019-05-16.tif", values, ("B04", "B08"))
    [tile] = find_images(tmp_path)
    assert StackReader(tile).read(Window(0, 0, 1, 3))[1][0].tolist() == [[False, True, True]]
