"""Stacks, dates and bands of images, and images that cannot be used together."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cropzoo import CropzooError, UsageError
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.reader import StackReader
from cropzoo.geo.raster.scene import ImageStack


def days(tile: ImageStack) -> list[str]:
    return [str(date.fromordinal(day + date(1970, 1, 1).toordinal())) for day in tile.dates.tolist()]


def whole(tile: ImageStack, **options: Any) -> tuple[Any, Any]:
    return StackReader(tile, **options).read(Window(0, 0, tile.grid.height, tile.grid.width))


def check_refused(message: str, *patterns: str | Path, bands: tuple[str, ...] = ()) -> None:
    with pytest.raises(CropzooError, match=message):
        find_images(patterns, bands)


def test_a_file_a_date(make: ModuleType, tmp_path: Path) -> None:
    values = make.make_series(tmp_path / "site", days=("2019-05-16", "2019-03-01"))
    [tile] = find_images(tmp_path)
    assert (tile.name, tile.bands, tile.dtype, tile.read_dtype) == ("site", ("B04", "B08"), "uint16", "uint16")
    assert days(tile) == ["2019-03-01", "2019-05-16"]
    assert (tile.grid.height, tile.grid.width) == (60, 60)
    series, clear = whole(tile)
    np.testing.assert_array_equal(series, np.stack([values[day][:2] for day in days(tile)]))
    np.testing.assert_array_equal(clear, np.stack([np.isin(values[day][2], (4, 5, 6)) for day in days(tile)]))


def test_bands_without_descriptions_are_named_in_order(make: ModuleType, tmp_path: Path) -> None:
    values = make.make_series(tmp_path, named=False)
    [tile] = find_images(tmp_path / "*.tif", ("SCL", "red", "nir"))
    assert tile.bands == ("red", "nir")
    np.testing.assert_array_equal(whole(tile)[0][0], values["2019-03-01"][1:])
    check_refused("bands have no descriptions; name its 3 bands in order by option 'bands'", tmp_path)
    check_refused("3 bands without descriptions and option 'bands' names 1; name every", tmp_path, bands=("B04",))


def test_bands_are_chosen_by_name_and_keep_the_mask(make: ModuleType, tmp_path: Path) -> None:
    values = make.make_series(tmp_path, bands=("B02", "B04", "SCL", "B08"))
    [tile] = find_images(tmp_path, ("B08", "B02"))
    assert tile.bands == ("B08", "B02")
    assert "SCL" in tile.acquisitions[0].files
    np.testing.assert_array_equal(whole(tile)[0][1], values["2019-05-16"][[3, 0]])


@pytest.mark.parametrize(
    "form", ["S2_{day}_{band}.tif", "{day}/{band}.tif", "{band}/S2_{day}.tif", "{day}/R{pixel}m/x_{band}_{pixel}m.tif"]
)
def test_a_file_a_band(make: ModuleType, tmp_path: Path, form: str) -> None:
    for day in make.DAYS:
        for band, pixel in (("B08", 10), ("B04", 10), ("SCL", 20)):
            file = tmp_path / "site" / form.format(day=day, band=band, pixel=pixel)
            make.write_raster(file, make.pixels(band, pixel=pixel), pixel=pixel)
    [tile] = find_images(tmp_path)
    assert tile.name == "site"
    assert (tile.bands, days(tile)) == (("B04", "B08"), list(make.DAYS))
    assert all(len(each.products) == 1 for each in tile.acquisitions)
    series, clear = whole(tile)
    np.testing.assert_array_equal(series[0], np.stack([make.pixels("B04"), make.pixels("B08")]))
    mask = np.isin(make.pixels("SCL", pixel=20), (4, 5, 6))
    np.testing.assert_array_equal(clear[0], mask.repeat(2, 0).repeat(2, 1))


def test_a_mask_in_another_folder(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path, bands=("B04", "B08"))
    for day in make.DAYS:
        make.write_raster(tmp_path / "masks" / f"clouds_{day}_SCL.tif", make.pixels("SCL"))
    [tile] = find_images(tmp_path)
    np.testing.assert_array_equal(whole(tile)[1][0], np.isin(make.pixels("SCL"), (4, 5, 6)))


def test_tiles_by_name_may_overlap(make: ModuleType, tmp_path: Path) -> None:
    for number, tile in enumerate(("T31UFS", "T31UFT")):
        for day in make.DAYS:
            origin = (500_000, 5_600_000 - 100 * number)
            make.write_raster(tmp_path / f"{tile}_{day}.tif", make.pixels("B04"), ("B04",), origin=origin)
    tiles = find_images(tmp_path)
    assert [tile.name for tile in tiles] == ["T31UFS", "T31UFT"]
    assert [days(tile) for tile in tiles] == [list(make.DAYS)] * 2
    assert tiles[1].grid.locate(0, 0) == (500_000, 5_599_900)


def test_places_apart_are_tiles_of_their_own(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path / "west" / "2019")
    make.make_series(tmp_path / "east" / "fields", origin=(500_600, 5_600_000))
    make.make_series(tmp_path / "zone", crs="EPSG:32632")
    tiles = find_images(tmp_path)
    assert [tile.name for tile in tiles] == ["2019", "fields", "zone"]
    for path in (tmp_path / "east" / "fields").iterdir():
        make.rewrite(path, transform=make.Affine(10, 0, 500_599.95, 0, -10, 5_600_000))
    assert len(find_images(tmp_path)) == 3
    for path in (tmp_path / "east" / "fields").iterdir():
        path.rename(tmp_path / "west" / "2019" / f"b_{path.name}")
    assert [tile.name for tile in find_images(tmp_path)] == ["tile-1", "tile-2", "zone"]


def test_footprints_that_overlap(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path)
    message = r"S2_2019-03-01.tif' and '.*S2_2019-05-16.tif'; their footprints overlap without being equal"
    moved = tmp_path / "S2_2019-05-16.tif"
    make.rewrite(moved, transform=make.Affine(10, 0, 500_005, 0, -10, 5_600_000))
    check_refused(rf"{message} \(transform .*\); warp or clip", tmp_path)
    make.rewrite(moved, crs="EPSG:32632")
    assert len(find_images(tmp_path)) == 2
    make.rewrite(moved, crs="EPSG:4326", transform=make.Affine(1e-4, 0, 3.0001, 0, -1e-4, 50.55))
    check_refused(rf"{message} \(CRS EPSG:32631 against EPSG:4326\)", tmp_path)
    make.rewrite(moved, crs=None)
    check_refused(rf"{message} \(CRS EPSG:32631 against none\)", tmp_path)
    make.rewrite(moved, crs=make.CRS, transform=make.Affine(10, 0, 500_000, 0, -10, 5_600_000))
    make.rewrite(moved, lambda values: values[:, :-1])
    check_refused(rf"{message} \(60 x 60 pixels against 59 x 60\)", tmp_path)


def test_a_hundredth_of_a_pixel_is_no_difference(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path)
    make.rewrite(tmp_path / "S2_2019-05-16.tif", transform=make.Affine(10, 0, 500_000.05, 0, -10, 5_600_000))
    assert len(find_images(tmp_path)) == 1


def test_pixels_that_do_not_divide(make: ModuleType, tmp_path: Path) -> None:
    make.write_raster(tmp_path / "2019-05-16_B04.tif", make.pixels("B04"))
    make.write_raster(tmp_path / "2019-05-16_B05.tif", make.pixels("B05")[:40, :40], pixel=15)
    check_refused("B05.tif'; its 40 x 40 pixels do not evenly divide the 60 x 60 pixels of .*B04.tif'", tmp_path)


def test_a_band_that_a_date_lacks(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path, bands=("B04", "B08"))
    make.write_raster(tmp_path / "S2_2019-05-16.tif", make.pixels("B04"), ("B04",))
    check_refused(r"of 2019-05-16 in .*S2_2019-05-16.tif'; band 'B08' is missing; .*B04.*; add it, remove", tmp_path)
    assert find_images(tmp_path, ("B04",))[0].bands == ("B04",)
    check_refused("S2_2019-05-16.tif'; it has none of the bands B08, but 'B04'; rename", tmp_path, bands=("B08",))


def test_a_mask_that_a_date_lacks(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path)
    make.write_raster(tmp_path / "S2_2019-05-16.tif", np.stack([make.pixels("B04")] * 2), ("B04", "B08"))
    check_refused(r"of 2019-05-16 .*band 'SCL' is missing; .*provide an SCL band for every date or for none", tmp_path)


def test_images_that_cannot_be_used(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path)
    make.rewrite(tmp_path / "S2_2019-05-16.tif", lambda values: values.astype(np.float32))
    check_refused(r"05-16.tif'; it stores float32 and '.*03-01.tif' stores uint16; store all images in one", tmp_path)
    make.rewrite(tmp_path / "S2_2019-05-16.tif", lambda values: values.astype(np.complex64))
    check_refused("05-16.tif'; band 'B04' has data type complex64", tmp_path)
    make.write_raster(tmp_path / "S2_2019-05-16.tif", make.pixels("B04")[None].repeat(2, 0), ("B04", "B04"))
    check_refused(r"two bands have the same description: \('B04', 'B04'\); rename one", tmp_path)
    (tmp_path / "S2_2019-05-16.tif").write_bytes(b"II*\0")
    check_refused("05-16.tif'; it cannot be read, so it is truncated or not a GeoTIFF", tmp_path)
    (tmp_path / "S2_2019-05-16.tif").rename(tmp_path / "2019-05-16_B04.jp2")
    check_refused("05-16_B04.jp2'; it cannot be read, so it is truncated or not a raster", tmp_path)


def test_a_raster_without_a_date(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path / "2024-01-01_download" / "site")
    make.write_raster(tmp_path / "2024-01-01_download" / "site" / "dem.tif", make.pixels("B04"), ("B04",))
    check_refused("dem.tif'; neither its name nor its tags hold a date", tmp_path / "2024-01-01_download")
    tags = {"TIFFTAG_DATETIME": "2019:07:20 00:00:00"}
    make.write_raster(tmp_path / "b" / "dem.tif", make.pixels("B04"), ("B04",), tags=tags)
    assert days(find_images(tmp_path / "b")[0]) == ["2019-07-20"]
    make.write_raster(tmp_path / "2019-05-16" / "dem.tif", make.pixels("B04"), ("B04",), tags=tags)
    assert days(find_images(tmp_path / "2019-05-16")[0]) == ["2019-05-16"]


def test_requested_bands(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path)
    with pytest.raises(UsageError, match="a band is named twice"):
        find_images(tmp_path, ("B04", "B04"))
    with pytest.raises(UsageError, match="only the SCL mask"):
        find_images(tmp_path, ("SCL",))
    with pytest.raises(UsageError, match=r"names 'B09'; no image such as '.*S2_2019-03-01.tif' has it; did you mean"):
        find_images(tmp_path, ("B04", "B09"))
    make.make_series(tmp_path / "masks", bands=("SCL",))
    check_refused("only the SCL mask; add the spectral bands", tmp_path / "masks")


def test_two_products_of_a_day(make: ModuleType, tmp_path: Path) -> None:
    names = ("b_2019-05-16_N0500_x.tif", "c_2019-05-16.tif", "a_2019-05-16_N0212_x.tif")
    for name in names:
        make.write_raster(tmp_path / name, make.pixels("NDVI"), ("NDVI",))
    [tile] = find_images(tmp_path)
    [acquisition] = tile.acquisitions
    assert [layer.path.name for layer in acquisition.files["NDVI"]] == [names[0], names[2], names[1]]
