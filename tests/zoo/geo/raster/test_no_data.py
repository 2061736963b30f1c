"""Pixels without data: declared or not, masked, NaN; they are 0 and not clear."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from cropzoo import CropzooError, UsageError
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
@pytest.mark.parametrize("nodata", [None, np.nan])
def test_nan(make: ModuleType, tmp_path: Path, pixel: int, nodata: float | None) -> None:
    values = make.pixels("B04", pixel=pixel).astype(np.float32)
    values[3, 4] = np.nan
    path = make.write_raster(tmp_path / "2019-05-16_B04.tif", values, pixel=pixel, nodata=nodata)
    make.write_raster(tmp_path / "2019-05-16_B08.tif", make.pixels("B08").astype(np.float32))
    series, clear = StackReader(find_images(tmp_path)[0]).read(ALL)
    assert np.isfinite(series).all()
    assert (~clear).sum() == (pixel // 10) ** 2
    values[3, 5] = np.inf
    make.write_raster(path, values, pixel=pixel, nodata=nodata)
    with pytest.raises(CropzooError, match=r"2019-05-16_B04.tif'; it contains infinity that is not declared"):
        StackReader(find_images(tmp_path)[0]).read(ALL)


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


FILLS = [
    *(("uint8", 0), ("uint16", 0), ("int16", 0), ("int32", 0), ("float32", 0), ("float64", 0)),
    *(("int16", -9999), ("int16", -10_000), ("int16", -32_768), ("int16", -999), ("int8", -128), ("int32", -(2**31))),
    *(("float32", -9999), ("float32", -1), ("float32", float(np.finfo(np.float32).min)), ("float64", -1e34)),
]
"""Types and the numbers that they hold where there is no data."""


@pytest.mark.parametrize("layout", ["one file", "a file a band", "one file, turned"])
@pytest.mark.parametrize(("dtype", "fill"), FILLS)
def test_fill_that_no_file_declares(make: ModuleType, tmp_path: Path, dtype: str, fill: float, layout: str) -> None:
    names = ("B04", "B08")
    values = np.stack([make.pixels(name) % 100 + 1 for name in names]).astype(dtype)
    values[:, :20] = fill
    values[0, 30:35] = fill  # not in all bands: data
    if layout == "a file a band":
        for name, band in zip(names, values, strict=True):
            make.write_raster(tmp_path / f"2019-05-16_{name}.tif", band)
    else:
        make.write_raster(tmp_path / "2019-05-16.tif", values, names)
    order = names[::-1] if layout == "one file, turned" else names
    series, clear = StackReader(find_images(tmp_path)[0], bands=order).read(ALL)
    assert not clear[0, :20].any()
    assert clear[0, 20:].all()
    assert not series[0, :, :20].any()
    expected = values[[names.index(name) for name in order]]
    np.testing.assert_array_equal(series[0, :, 20:], expected[:, 20:])


def test_declared_nodata_does_not_hide_other_fill(make: ModuleType, tmp_path: Path) -> None:
    values = np.full((2, 1, 4), 500, np.int16)
    values[:, 0, 0], values[:, 0, 1], values[0, 0, 2] = -9999, 0, 0
    make.write_raster(tmp_path / "2019-05-16.tif", values, ("B04", "B08"), nodata=-9999)
    assert StackReader(find_images(tmp_path)[0]).read(Window(0, 0, 1, 4))[1].tolist() == [[[False, False, True, True]]]


@pytest.mark.parametrize(
    ("dtype", "numbers", "nodata", "clear"),
    [
        ("uint16", (0, 5), None, (False, True)),
        ("int16", (0, -5, -9999, -32_768), None, (True, True, False, False)),
        ("float32", (0, -12.5, -9999, -3.4e38), None, (True, True, False, False)),
        ("int16", (0, -9999), -32_768, (True, True)),
    ],
)
def test_a_single_band_may_hold_nought_and_negative_numbers(
    make: ModuleType, tmp_path: Path, dtype: str, numbers: tuple[float, ...], nodata: float | None, clear: Any
) -> None:
    values = np.array(numbers, dtype)[None]
    make.write_raster(tmp_path / "2019-05-16_ndvi.tif", values, ("ndvi",), nodata=nodata)
    [tile] = find_images(tmp_path)
    found = StackReader(tile).read(Window(0, 0, 1, len(numbers)))[1]
    assert found[0, 0].tolist() == list(clear)


@pytest.mark.parametrize("other", ["uint16", "with an offset"])
def test_fill_does_not_depend_on_other_files(make: ModuleType, tmp_path: Path, other: str) -> None:
    values = np.array([[[0, 0, 5]], [[0, 7, 0]]], np.uint16)
    make.write_raster(tmp_path / "2019-05-16.tif", values, ("B04", "B08"))
    tags = {"PROCESSING_BASELINE": "04.00"} if other == "with an offset" else {}
    make.write_raster(tmp_path / "2022-05-16.tif", np.full_like(values, 2000), ("B04", "B08"), tags=tags)
    [tile] = find_images(tmp_path)
    reader = StackReader(tile)
    assert reader.dtype == (np.int16 if tags else np.uint16)
    series, clear = reader.read(Window(0, 0, 1, 3))
    assert clear[:, 0].tolist() == [[False, True, True], [True, True, True]]
    np.testing.assert_array_equal(series[0], values)


@pytest.mark.parametrize("fill", [0, -9999])
def test_fill_is_not_mixed_into_data_at_the_border_of_a_swath(make: ModuleType, tmp_path: Path, fill: int) -> None:
    for name, pixel in (("B04", 10), ("B05", 20), ("B01", 60)):
        values = np.full((600 // pixel, 600 // pixel), 3000, np.int16)
        values[:, : 300 // pixel] = fill
        make.write_raster(tmp_path / f"2019-05-16_{name}.tif", values, pixel=pixel)
    series, clear = StackReader(find_images(tmp_path)[0]).read(ALL)
    assert not clear[0, :, :30].any()
    assert clear[0, :, 30:].all()
    assert np.unique(series[0, :, :, 30:]).tolist() == [3000]
    assert not series[0, :, :, :30].any()


def test_a_coarse_band_that_is_nought_where_others_are_not_keeps_its_number(make: ModuleType, tmp_path: Path) -> None:
    coarse = np.full((30, 30), 3000, np.uint16)
    coarse[10, 10] = 0
    make.write_raster(tmp_path / "2019-05-16_B05.tif", coarse, pixel=20)
    make.write_raster(tmp_path / "2019-05-16_B04.tif", make.pixels("B04"))
    series, clear = StackReader(find_images(tmp_path)[0]).read(ALL)
    assert clear.all()
    np.testing.assert_array_equal(series[0, 1], coarse.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("name", ["", "alpha", "dataMask", "Data_Mask"])
@pytest.mark.parametrize("nodata", [None, 0])
def test_alpha_and_data_mask_bands(make: ModuleType, tmp_path: Path, name: str, nodata: int | None) -> None:
    values = np.stack([make.pixels("B04"), make.pixels("B08"), np.full((60, 60), 65_535, np.uint16)])
    values[2, :7] = 0
    colors = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.undefined if name else ColorInterp.alpha]
    path = make.write_raster(tmp_path / "2019-05-16.tif", values, ("B04", "B08", name), nodata=nodata)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = colors
    [tile] = find_images(tmp_path)
    assert tile.bands == ("B04", "B08")
    series, clear = StackReader(tile).read(ALL)
    assert not clear[0, :7].any()
    assert clear[0, 7:].all()
    assert not series[0, :, :7].any()
    np.testing.assert_array_equal(series[0, :, 7:], values[:2, 7:])


def test_an_alpha_band_that_has_the_name_of_a_band_is_that_band(make: ModuleType, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 255, (4, 60, 60)).astype(np.uint8)
    names = ("B02", "B03", "B04", "B08")
    path = make.write_raster(tmp_path / "2019-05-16.tif", values, names)
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha  # GDAL's default for four bands of bytes
    [tile] = find_images(tmp_path)
    assert tile.bands == names
    np.testing.assert_array_equal(StackReader(tile).read(ALL)[0][0], values)


def test_alpha_bands_need_no_name_and_bands_are_left_out_by_position(make: ModuleType, tmp_path: Path) -> None:
    values = np.stack([make.pixels(name) for name in ("B04", "flag", "B08", "alpha")])
    path = make.write_raster(tmp_path / "2019-05-16.tif", values)
    message = "4 bands without descriptions and option 'bands' names 2; .*'-' for one to leave out"
    with pytest.raises(CropzooError, match=message):
        find_images(tmp_path, ("B04", "B08"))
    for bands in (("B04", "-", "B08", "-"), ("B04", "-", "B08", "alpha")):
        [tile] = find_images(tmp_path, bands)
        assert tile.bands == ("B04", "B08")
        np.testing.assert_array_equal(StackReader(tile).read(ALL)[0][0], values[[0, 2]])
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * 2, ColorInterp.alpha]
    [tile] = find_images(tmp_path, ("B04", "-", "B08"))
    np.testing.assert_array_equal(StackReader(tile).read(ALL)[0][0], values[[0, 2]])
    with pytest.raises(UsageError, match="names only the left out mask"):
        find_images(tmp_path, ("-", "-", "-"))
