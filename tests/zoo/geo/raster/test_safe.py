"""Products of ESA in their own tree of folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cropzoo import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.reader import StackReader

ALL = Window(0, 0, 60, 60)


def test_every_band_at_its_finest(make: ModuleType, tmp_path: Path) -> None:
    values = make.make_product(tmp_path)
    [tile] = find_images(tmp_path)
    assert tile.name == "T31UFS"
    assert tile.bands == ("B01", "B02", "B04", "B05", "B08", "B8A")
    [acquisition] = tile.acquisitions
    assert {name: 600 // layers[0].grid.height for name, layers in acquisition.files.items()} == make.NATIVE
    assert all(layer.nodata == 0 and layer.offset == 0 for layers in acquisition.files.values() for layer in layers)
    series, clear = StackReader(tile, bands=("B08", "B02", "B05")).read(ALL)
    np.testing.assert_array_equal(series[0, :2], np.stack([values["B08"], values["B02"]]))
    np.testing.assert_array_equal(clear[0], np.isin(values["SCL"], (4, 5, 6)).repeat(2, 0).repeat(2, 1))


def test_coarse_bands_alone_stay_on_their_own_grid(make: ModuleType, tmp_path: Path) -> None:
    values = make.make_product(tmp_path)
    [tile] = find_images(tmp_path, ("B8A", "B05"))
    assert (tile.grid.height, tile.grid.width) == (30, 30)
    series, _ = StackReader(tile).read(Window(0, 0, 30, 30))
    np.testing.assert_array_equal(series[0], np.stack([values["B8A"], values["B05"]]))
    [coarse] = find_images(tmp_path, ("B01",))
    _, clear = StackReader(coarse).read(Window(0, 0, 10, 10))
    np.testing.assert_array_equal(clear[0], np.isin(values["SCL"], (4, 5, 6))[1::3, 1::3])


def test_previews_and_water_vapor_can_be_requested(make: ModuleType, tmp_path: Path) -> None:
    make.make_product(tmp_path)
    assert find_images(tmp_path, ("B04", "WVP"))[0].bands == ("B04", "WVP")


@pytest.mark.parametrize("level", ["2A", "1C"])
@pytest.mark.parametrize("metadata", [True, False])
def test_the_offset_of_new_baselines_is_taken_off(make: ModuleType, tmp_path: Path, metadata: bool, level: str) -> None:
    old = make.make_product(tmp_path, "20190516T104031", level=level, metadata=metadata)
    new = make.make_product(tmp_path, "20220520T104031", baseline="0400", seed=1, level=level, metadata=metadata)
    [tile] = find_images(tmp_path)
    assert (tile.dtype, tile.read_dtype) == ("uint16", "int16")
    reader = StackReader(tile, bands=("B04", "B08"))
    series, _ = reader.read(ALL)
    assert series.dtype == reader.dtype == np.int16
    np.testing.assert_array_equal(series[0], np.stack([old["B04"], old["B08"]]))
    np.testing.assert_array_equal(series[1], np.stack([new["B04"], new["B08"]]).astype(int) - 1000)
    assert all(each.files["SCL"][0].offset == 0 for each in tile.acquisitions)


@pytest.mark.parametrize("digits", ["9" * 5000, "99999999999"])
def test_an_offset_that_no_product_has_is_passed_over(make: ModuleType, tmp_path: Path, digits: str) -> None:
    make.make_product(tmp_path, "20220520T104031", baseline="0400")
    [notes] = tmp_path.rglob("MTD_*.xml")
    text = notes.read_text()
    assert 'band_id="3">-1000<' in text
    more = f'<BOA_ADD_OFFSET band_id="{digits}">-1000</BOA_ADD_OFFSET><BOA_ADD_OFFSET band_id="3">-{digits}<'
    notes.write_text(text.replace("</", f"{more}/BOA_ADD_OFFSET></", 1))
    [tile] = find_images(tmp_path, ("B04",))
    assert [layer.offset for layer in tile.acquisitions[0].files["B04"]] == [1000]


def test_levels_do_not_mix(make: ModuleType, tmp_path: Path) -> None:
    make.make_product(tmp_path)
    make.make_product(tmp_path, "20190519T104031", level="1C")
    with pytest.raises(
        CropzooError, match="their processing levels are Level-1C and Level-2A; use images of one level"
    ):
        find_images(tmp_path)


def test_files_out_of_their_product_warn_of_an_offset(
    make: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make.make_product(tmp_path / "a", "20220520T104031", baseline="0400")
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (tmp_path / "a").rglob("*_B0[48]_10m.jp2"):
        shutil.copy(path, flat / path.name)
    [tile] = find_images(flat)
    assert (tile.read_dtype, tile.name) == ("uint16", "T31UFS")
    assert "2 file(s) such as" in caplog.text
    assert "an offset of 1000 remains in" in caplog.text
    caplog.clear()
    shutil.copy(next((tmp_path / "a").rglob("MTD*.xml")), flat)
    assert find_images(flat)[0].read_dtype == "int16"
    assert not caplog.records


def test_a_newer_product_of_the_day_comes_first(make: ModuleType, tmp_path: Path) -> None:
    make.make_product(tmp_path, "20190516T104031")
    new = make.make_product(tmp_path, "20190516T104029", baseline="0500", seed=1)
    [tile] = find_images(tmp_path, ("B04", "B8A"))
    [acquisition] = tile.acquisitions
    assert [layer.offset for layer in acquisition.files["B04"]] == [1000, 0]
    series, _ = StackReader(tile, bands=("B04",)).read(ALL)
    np.testing.assert_array_equal(series[0, 0], new["B04"].astype(int) - 1000)
