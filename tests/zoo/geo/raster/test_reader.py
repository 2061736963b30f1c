"""Reading windows of image stacks through time."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio

from cropzoo import CropzooError, UnknownName, UsageError
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.file_pool import FilePool, default_open_limit
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.reader import StackReader, reading_environment

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


def test_windows_have_no_seams(product: Path) -> None:
    [tile] = find_images(product)
    reader = StackReader(tile)
    series, clear = reader.read(ALL)
    for row, column, height, width in (
        (0, 0, 1, 1),
        (7, 11, 13, 17),
        (59, 59, 1, 1),
        (0, 31, 60, 29),
        (10, 10, 12, 12),
    ):
        part, part_clear = reader.read(Window(row, column, height, width))
        inside = np.s_[..., row : row + height, column : column + width]
        np.testing.assert_array_equal(part, series[inside])
        np.testing.assert_array_equal(part_clear, clear[inside])


def test_numbers_are_clipped_to_the_signed_type(make: ModuleType, tmp_path: Path) -> None:
    values = np.array([[1, 999, 1000, 1001], [32767, 33767, 33768, 65535], [0, 5, 0, 5], [0, 1, 2, 3]], np.uint16)
    tags = {"BOA_ADD_OFFSET": -1000}
    make.write_raster(tmp_path / "2022-05-16.tif", np.stack([values, values[::-1]]), ("a", "b"), tags=tags, nodata=0)
    make.write_raster(tmp_path / "2019-05-16.tif", np.stack([values, values]), ("a", "b"), nodata=0)
    [tile] = find_images(tmp_path)
    series, clear = StackReader(tile).read(Window(0, 0, 4, 4))
    assert series.dtype == np.int16
    expected = [[-999, -1, 0, 1], [31767, 32767, 32767, 32767], [0, -995, 0, -995], [0, -999, -998, -997]]
    np.testing.assert_array_equal(series[1, 0], expected)
    np.testing.assert_array_equal(series[1, 1], expected[::-1])
    np.testing.assert_array_equal(series[0, 0], np.minimum(values, 32767))
    np.testing.assert_array_equal(clear[0], values > 0)
    # Channels out of the file's order go through a copy.
    turned, _ = StackReader(tile, bands=("b", "a")).read(Window(0, 0, 4, 4))
    np.testing.assert_array_equal(turned, series[:, ::-1])


@pytest.mark.parametrize(
    ("dtype", "offset", "read"),
    [("uint8", 20, "int16"), ("int16", 1000, "int16"), ("uint32", 1000, "int32"), ("float32", 1000, "float32")],
)
def test_other_types(make: ModuleType, tmp_path: Path, dtype: str, offset: int, read: str) -> None:
    values = np.array([[0, 1], [100, 127]], dtype)
    make.write_raster(tmp_path / "2022-05-16_a.tif", values[None], ("a",), tags={"BOA_ADD_OFFSET": -offset}, nodata=0)
    [tile] = find_images(tmp_path, ("a",))
    series, _ = StackReader(tile).read(Window(0, 0, 2, 2))
    assert series.dtype == read
    np.testing.assert_array_equal(series[0, 0], [[0, 1 - offset], [100 - offset, 127 - offset]])


def test_the_reader_s_offset_counts_for_all(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path / "a", tags={"BOA_ADD_OFFSET": -1000})
    [tile] = find_images(tmp_path)
    stored = StackReader(tile, offset=0)
    assert stored.dtype == np.uint16
    values = stored.read(ALL)[0]
    np.testing.assert_array_equal(StackReader(tile, offset=500).read(ALL)[0], values.astype(int) - 500)
    with pytest.raises(UsageError, match="offset 40000; it does not fit into 16 bits"):
        StackReader(tile, offset=40_000)


def test_bands_and_masks_are_chosen(make: ModuleType, tmp_path: Path) -> None:
    values = make.make_series(tmp_path)
    [tile] = find_images(tmp_path)
    series, clear = StackReader(tile, bands=["B08"], clear_scl=(9,)).read(ALL)
    np.testing.assert_array_equal(series[1, 0], values[make.DAYS[1]][1])
    np.testing.assert_array_equal(clear[1], values[make.DAYS[1]][2] == 9)
    with pytest.raises(UnknownName, match="band 'B07'; did you mean"):
        StackReader(tile, bands=["B07"])
    with pytest.raises(UsageError, match="named twice"):
        StackReader(tile, bands=["B04", "B04"])
    with pytest.raises(UsageError, match=r"clear_scl is \(-1,\)"):
        StackReader(tile, clear_scl=(-1,))


def test_the_second_product_of_a_day_fills_the_first(make: ModuleType, tmp_path: Path) -> None:
    first, second = (np.stack([make.pixels(name, seed) for name in ("B04", "B08")]) for seed in (0, 1))
    first[0, :20] = 0
    first[:, :, :10] = 0
    second[1, :10] = 0
    names = ("B04", "B08")
    make.write_raster(tmp_path / "a_20190516T104031.tif", first, names, nodata=0)
    make.write_raster(tmp_path / "b_20190516T104031.tif", second, names, nodata=0)
    [tile] = find_images(tmp_path)
    series, clear = StackReader(tile).read(ALL)
    expected = first.copy()
    hole = (first == 0).any(axis=0) & (second != 0).all(axis=0)
    expected[:, hole] = second[:, hole]
    assert hole.any()
    np.testing.assert_array_equal(series[0], expected)
    np.testing.assert_array_equal(clear[0], (expected != 0).all(axis=0))
    make.write_raster(tmp_path / "c_20190516T104031.tif", np.full_like(first, 7), names, nodata=0)
    third, clear = StackReader(find_images(tmp_path)[0]).read(ALL)
    assert clear.all()
    expected[:, ~(expected != 0).all(axis=0)] = 7
    np.testing.assert_array_equal(third[0], expected)


def test_the_mask_goes_with_its_product(make: ModuleType, tmp_path: Path) -> None:
    values = np.stack([make.pixels("B04"), np.full((60, 60), 4, np.uint16)])
    values[1, :30] = 0
    values[0, 50:] = 65535
    other = np.stack([make.pixels("B04", 1), np.full((60, 60), 9, np.uint16)])
    other[1, 15:] = 5
    make.write_raster(tmp_path / "a_20190516T104031.tif", values, ("B04", "SCL"), nodata=65535)
    make.write_raster(tmp_path / "b_20190516T104031.tif", other, ("B04", "SCL"), nodata=65535)
    series, clear = StackReader(find_images(tmp_path)[0]).read(ALL)
    np.testing.assert_array_equal(series[0, 0], np.concatenate([other[0, :30], values[0, 30:50], other[0, 50:]]))
    np.testing.assert_array_equal(clear[0], np.arange(60)[:, None].repeat(60, 1) >= 15)


@pytest.mark.parametrize("suffix", [".tif", ".jp2"])
def test_a_truncated_file(make: ModuleType, tmp_path: Path, suffix: str) -> None:
    names = [f"2019-05-16_{band}{suffix}" for band in ("B04", "B08")]
    for name in names:
        make.write_raster(tmp_path / name, make.pixels(name))
    [tile] = find_images(tmp_path)
    content = (tmp_path / names[1]).read_bytes()
    (tmp_path / names[1]).write_bytes(content[: len(content) // 2])
    with pytest.raises(CropzooError, match=f"{names[1]}'; it cannot be read, so it is truncated"):
        StackReader(tile).read(ALL)


def test_few_files_stay_open(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path, days=[f"2019-03-{day:02}" for day in range(1, 8)])
    [tile] = find_images(tmp_path)
    reader = StackReader(tile, open_files=3)
    expected = StackReader(tile).read(ALL)
    for _ in range(2):
        for one, other in zip(reader.read(ALL), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        assert len(reader._files) == 3
    copy = pickle.loads(pickle.dumps(reader))
    assert len(copy._files) == 0
    np.testing.assert_array_equal(copy.read(ALL)[0], expected[0])
    with reader:
        pass
    assert len(reader._files) == 0


def test_the_file_that_was_used_longest_ago_is_closed(make: ModuleType, tmp_path: Path) -> None:
    paths = [make.write_raster(tmp_path / f"{name}.tif", make.pixels(name)) for name in "abc"]
    files = FilePool(2)
    for index in (0, 1, 0, 2):
        files.read(paths[index], [1], Window(0, 0, 1, 1))
    assert list(files._open) == [paths[0], paths[2]]
    assert 1 <= default_open_limit() <= 1024


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_opens_its_own_files(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path)
    [tile] = find_images(tmp_path)
    reader = StackReader(tile)
    expected, _ = reader.read(ALL)
    parents = list(reader._files._open.values())
    child = os.fork()
    if child == 0:
        same = bool((reader.read(ALL)[0] == expected).all())
        own = not any(file in parents for file in reader._files._open.values())
        os._exit(0 if same and own else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_date_into_an_array(make: ModuleType, tmp_path: Path) -> None:
    values = make.make_series(tmp_path)
    reader = StackReader(find_images(tmp_path)[0])
    canvas = np.zeros((2, 20, 30), np.uint16)
    part = canvas[:, 5:15, 10:20]
    returned, clear = reader.read_date(1, Window(20, 30, 10, 10), part)
    assert returned is part
    np.testing.assert_array_equal(part, values[make.DAYS[1]][:2, 20:30, 30:40])
    assert canvas.sum() == part.sum()
    assert clear.shape == (10, 10)
    for wrong in (canvas, part.astype(np.int16)):
        with pytest.raises(ValueError, match=r"it must be .* of uint16"):
            reader.read_date(1, Window(20, 30, 10, 10), wrong)


@pytest.mark.parametrize("window", [(-1, 0, 2, 2), (0, -1, 2, 2), (0, 0, 0, 2), (59, 0, 2, 2), (0, 59, 2, 2)])
def test_a_window_beyond_the_tile(make: ModuleType, tmp_path: Path, window: tuple[int, int, int, int]) -> None:
    make.make_series(tmp_path)
    with pytest.raises(ValueError, match="is not inside 60 x 60 pixels"):
        StackReader(find_images(tmp_path)[0]).read(Window(*window))


def test_the_cache_is_set_inside_alone() -> None:
    def cache() -> Any:
        return rasterio.env.get_gdal_config("GDAL_CACHEMAX")

    before = cache()
    with reading_environment(64):
        assert cache() == 64 * 2**20
    assert cache() == before


def test_block_size_is_in_pixels_of_the_stack(make: ModuleType, product: Path) -> None:
    assert find_images(product)[0].block == (60, 60)
    path = product / "strips" / "2019-05-16_B04.tif"
    make.write_raster(path, make.pixels("B04"), blockysize=8)
    assert find_images(path)[0].block == (8, 60)
    make.write_raster(path.with_stem("2019-05-16_B05"), make.pixels("B05", pixel=20), pixel=20, blockysize=6)
    assert find_images(path.parent)[0].block == (12, 60)
