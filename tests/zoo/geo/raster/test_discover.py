"""Stacks, dates and bands of images, and images that cannot be used together."""

from __future__ import annotations

import re
import struct
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


@pytest.mark.parametrize("place", [32, -1])
def test_a_file_whose_next_image_is_damaged_is_refused(make: ModuleType, tmp_path: Path, place: int) -> None:
    make.make_series(tmp_path)
    path = tmp_path / "S2_2019-05-16.tif"
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", content, start + 2 + 12 * entries, place % len(content))
    path.write_bytes(content)
    check_refused("05-16.tif'; it cannot be read, so it is truncated or not a GeoTIFF", tmp_path)


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


def test_two_products_of_a_day(make: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    names = [
        f"{letter}_S2A_MSIL2A_20190516T104031{baseline}_R008_T31UFS_20190517T000000.tif"
        for letter, baseline in (("b", "_N0500"), ("c", ""), ("a", "_N0212"))
    ]
    for name in names:
        make.write_raster(tmp_path / name, make.pixels("NDVI"), ("NDVI",))
    [tile] = find_images(tmp_path)
    [acquisition] = tile.acquisitions
    assert [layer.path.name for layer in acquisition.files["NDVI"]] == [names[0], names[2], names[1]]
    [note] = caplog.messages
    assert "several products of one place on 1 date, such as" in note
    assert note.index(names[0]) < note.index(names[2]) < note.index("on 2019-05-16: the newest processing baseline")


COLLAPSED = [
    ("download_2024-01-31/{}.tif", ("a", "b"), {}, "the folder name 'download_2024-01-31'"),
    ("2024-01-31_{}.tif", ("a", "b"), {}, "the file name"),
    ("2024-01-31_S2_{}.tif", ("2021-04-10", "2021-05-15"), {}, "the first of several dates in the file name"),
    ("20240131{}.tif", ("104031", "104036"), {}, "the file name"),
    ("{}.tif", ("a", "b"), {"TIFFTAG_DATETIME": "2024:01:31 10:00:00"}, "the tag TIFFTAG_DATETIME"),
]


@pytest.mark.parametrize(("form", "names", "tags", "source"), COLLAPSED)
def test_images_whose_common_date_may_be_that_of_the_download(
    make: ModuleType, tmp_path: Path, form: str, names: tuple[str, str], tags: dict[str, str], source: str
) -> None:
    one, other = (str(tmp_path / form.format(name)) for name in names)
    for path in (one, other):
        make.write_raster(Path(path), np.stack([make.pixels("B04")] * 2), ("B04", "B08"), tags=tags)
    message = f"images '{one}' and '{other}'; both have all bands of the same ground and the date 2024-01-31, from "
    check_refused(re.escape(f"{message}{source}; if they are of different days, start their names with"), tmp_path)
    # With a band each, they are parts of one image.
    for path, band in ((one, "B04"), (other, "B08")):
        make.write_raster(Path(path), make.pixels(band), (band,), tags=tags)
    assert days(find_images(tmp_path)[0]) == ["2024-01-31"]


@pytest.mark.parametrize("other", ["S2_2019-05-16_b4.tif", "S2_2019-05-16_B04.jp2", "R10m/S2_2019-05-16_B04_10m.tif"])
def test_a_band_that_exists_twice(make: ModuleType, tmp_path: Path, other: str) -> None:
    for name in ("S2_2019-05-16_B04.tif", other):
        make.write_raster(tmp_path / name, make.pixels("B04"))
    check_refused(r"S2_2019-05-16_B04.*' and '.*'; both are band 'B04' of one image; remove one of them", tmp_path)


def test_equal_times_are_of_one_acquisition(make: ModuleType, tmp_path: Path) -> None:
    for name in ("west_20210410T104031", "east_20210410104031"):
        make.write_raster(tmp_path / f"{name}.tif", make.pixels("B04"), ("B04",))
    [tile] = find_images(tmp_path)
    assert [len(each.products) for each in tile.acquisitions] == [2]


def test_names_of_one_band_in_all_spellings(make: ModuleType, tmp_path: Path) -> None:
    spellings = (("B4", "B8A"), ("b04", "b8a"), ("B04_10m", "B8A_20m"), ("B4, central wavelength 665 nm", "B08A"))
    for number, names in enumerate(spellings):
        values = np.stack([make.pixels(name, number) for name in ("B04", "B8A")])
        make.write_raster(tmp_path / f"2019-05-{number + 10}.tif", values, names)
    [tile] = find_images(tmp_path)
    assert tile.bands == ("B04", "B8A")
    assert len(tile.acquisitions) == 4
    [tile] = find_images(tmp_path, ("b8a", "B4"))  # as a network names them
    assert tile.bands == ("b8a", "B4")
    np.testing.assert_array_equal(whole(tile)[0][3, 1], make.pixels("B04", 3))


def test_one_band_at_two_resolutions_in_a_file(make: ModuleType, tmp_path: Path) -> None:
    make.write_raster(tmp_path / "2019-05-16.tif", np.stack([make.pixels("B04")] * 2), ("B04_10m", "B04_20m"))
    assert find_images(tmp_path)[0].bands == ("B04_10m", "B04_20m")


@pytest.mark.parametrize("name", ["scl", "SCL_20m", "Scene classification", "Scene_Classification_Map", "SCL 20 m"])
@pytest.mark.parametrize("layout", ["description", "file name", "folder name"])
def test_a_scene_classification_in_all_spellings(make: ModuleType, tmp_path: Path, name: str, layout: str) -> None:
    if name == "SCL 20 m":
        name = "scl-20m"
    values = np.stack([make.pixels("B04"), make.pixels("SCL").astype(np.uint16)])
    if layout == "description":
        make.write_raster(tmp_path / "2019-05-16.tif", values, ("B04", name))
    else:
        file = f"2019-05-16_{name}.tif" if layout == "file name" else f"{name}/2019-05-16.tif"
        make.write_raster(tmp_path / "2019-05-16_B04.tif", values[0])
        make.write_raster(tmp_path / file, values[1])
    [tile] = find_images(tmp_path)
    assert tile.bands == ("B04",)
    np.testing.assert_array_equal(whole(tile)[1][0], np.isin(values[1], (4, 5, 6)))


@pytest.mark.parametrize(
    "name", ["QA60", "MSK_CLDPRB", "cloud probability", "CLDPRB_20m", "AOT", "wvp", "TCI", "sunZenithAngles", "snow"]
)
@pytest.mark.parametrize("bands", [(), ("B04", "{}")])
def test_layers_that_are_not_reflectance_are_left_out(
    make: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, bands: tuple[str, ...]
) -> None:
    caplog.set_level("INFO")
    for day in make.DAYS:
        make.write_raster(tmp_path / f"{day}.tif", np.stack([make.pixels("B04")] * 2), ("B04", name))
    requested = tuple(band.format(name) for band in bands)
    is_band = bool(bands) and name in ("AOT", "wvp", "TCI")  # these are bands if they are named
    assert find_images(tmp_path, requested)[0].bands == (requested if is_band else ("B04",))
    expected = [] if is_band else ["layers that are not reflectance are left out"]
    assert [message.partition(":")[0] for message in caplog.messages] == expected
    assert is_band or "(2 files)" in caplog.text


def test_masks_of_forms_other_than_scl(make: ModuleType, tmp_path: Path) -> None:
    flags = np.zeros((60, 60), np.int16)
    flags[:5], flags[5:10], flags[10:15], flags[15:20] = 0b10, 0b1000, 0b1_0000, 0b1
    flags[20:25] = 0b10_0000  # water
    for day in ("20210410", "20210515"):
        values = np.stack([make.pixels("B04"), make.pixels("B08")])
        make.write_raster(tmp_path / f"{day}_LEVEL2_SEN2A_BOA.tif", values, ("RED", "BROADNIR"))
        make.write_raster(tmp_path / f"{day}_LEVEL2_SEN2A_QAI.tif", flags, ("Quality assurance information",))
    [tile] = find_images(tmp_path)
    assert (tile.bands, days(tile)) == (("RED", "BROADNIR"), ["2021-04-10", "2021-05-15"])
    clear = whole(tile)[1]
    assert not clear[:, :20].any()
    assert clear[:, 20:].all()
    (tmp_path / "20210515_LEVEL2_SEN2A_QAI.tif").unlink()
    check_refused("of 2021-05-15 .*band 'QAI' is missing; .*provide an QAI band for every date or for none", tmp_path)


@pytest.mark.parametrize(
    ("product", "separator", "bands", "mask", "others"),
    [
        ("HLS.S30.T31UFS.{year_day}T104031.v2.0", ".", ("B04", "B8A"), "Fmask", ("SAA", "VZA")),
        ("LC08_L2SP_198025_{day}_20240131_02_T1", "_", ("SR_B4", "SR_B5"), "QA_PIXEL", ("QA_RADSAT", "SR_QA_AEROSOL")),
        ("T31UFS_{day}T104031", "_", ("B04_10m", "B8A_20m"), "SCL_20m", ("MSK_CLDPRB_20m", "WVP_10m")),
    ],
)
def test_products_of_a_file_a_band(
    make: ModuleType,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    product: str,
    separator: str,
    bands: tuple[str, str],
    mask: str,
    others: tuple[str, str],
) -> None:
    caplog.set_level("INFO")
    clear, cloud = (4, 9) if mask.startswith("SCL") else (0, 0b1000)
    for day, year_day in (("20210410", "2021100"), ("20210515", "2021135")):
        name = product.format(day=day, year_day=year_day)
        quality = np.full((60, 60), clear, np.uint16)
        quality[:9] = cloud
        values = {bands[0]: make.pixels("B04"), bands[1]: make.pixels("B08"), mask: quality}
        for band, pixels in {**values, **dict.fromkeys(others, quality)}.items():
            make.write_raster(tmp_path / f"{name}{separator}{band}.TIF", pixels)
    [tile] = find_images(tmp_path)
    assert days(tile) == ["2021-04-10", "2021-05-15"]
    assert len(tile.bands) == 2
    assert [len(each.products) for each in tile.acquisitions] == [1, 1]
    found = whole(tile)[1]
    assert not found[:, :9].any()
    assert found[:, 9:].all()
    assert "layers that are not reflectance are left out" in caplog.text


def test_several_masks_of_a_product(make: ModuleType, tmp_path: Path) -> None:
    product = "SENTINEL2A_20210410-104031-123_L2A_T31UFS_C_V1-0"
    for band in ("B4", "B8"):
        make.write_raster(tmp_path / product / f"{product}_FRE_{band}.tif", make.pixels(band).astype(np.int16))
    expected = np.ones((60, 60), np.bool_)
    for row, (name, number) in enumerate((("CLM", 4), ("MG2", 0b100), ("EDG", 1))):
        for pixel, suffix in ((10, "R1"), (20, "R2")):
            values = np.zeros((600 // pixel, 600 // pixel), np.uint8)
            values[row * 40 // pixel : (row + 1) * 40 // pixel] = number
            path = tmp_path / product / "MASKS" / f"{product}_{name}_{suffix}.tif"
            make.write_raster(path, values, pixel=pixel)
        expected[row * 4 : row * 4 + 4] = False
    make.write_raster(tmp_path / product / f"{product}_ATB_R1.tif", np.ones((2, 60, 60), np.uint8))
    make.write_raster(tmp_path / product / "MASKS" / f"{product}_SAT_R1.tif", np.ones((60, 60), np.uint8))
    [tile] = find_images(tmp_path)
    assert (tile.bands, days(tile), tile.name) == (("B04", "B08"), ["2021-04-10"], "T31UFS")
    [acquisition] = tile.acquisitions
    assert [sorted(each) for each in acquisition.products] == [["B04", "B08", "CLM", "EDG", "MG2"]]
    np.testing.assert_array_equal(whole(tile)[1][0], expected)
