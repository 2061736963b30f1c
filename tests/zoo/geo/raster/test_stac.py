"""Images listed by STAC items."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from cropzoo import CropzooError
from cropzoo.geo.raster import stac
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.reader import StackReader

ALL = Window(0, 0, 60, 60)


@pytest.fixture
def files(make: ModuleType, tmp_path: Path) -> Path:
    """A folder with files of three bands under names that tell nothing."""
    for name, pixel in (("B04", 10), ("B08", 10), ("SCL", 20)):
        make.write_raster(tmp_path / "data" / f"{name.lower()}x.tif", make.pixels(name, pixel=pixel), pixel=pixel)
    return tmp_path / "data"


def item(make: ModuleType, assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {**make.make_item(**properties), "assets": assets}


def earth_search(**red: Any) -> dict[str, Any]:
    """Assets as Earth Search lists them, those of this disk among others."""
    return {
        "red": {"href": "data/b04x.tif", "eo:bands": [{"name": "red", "common_name": "red"}], "roles": ["data"], **red},
        "nir": {"href": "data/b08x.tif", "eo:bands": [{"name": "nir", "common_name": "nir"}]},
        "nir-jp2": {"href": "s3://bucket/b08.jp2", "eo:bands": [{"name": "nir", "common_name": "nir"}]},
        "scl": {"href": "data/sclx.tif", "raster:bands": [{"nodata": 0, "data_type": "uint8"}]},
        "visual": {
            "href": "s3://bucket/TCI.tif",
            "eo:bands": [{"name": "red"}, {"name": "green"}],
            "roles": ["visual"],
        },
        "aot": {"href": "s3://bucket/AOT.tif", "roles": ["data"]},
        "thumbnail": {"href": "https://example.org/preview.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
        "preview": {"href": "https://example.org/preview.jp2", "type": "image/jp2"},
        "metadata": {"href": "https://example.org/metadata.xml", "type": "application/xml"},
    }


def test_common_names_dates_and_tiles(make: ModuleType, files: Path) -> None:
    items = [
        item(make, earth_search(), day="2019-05-16", name="b", **{"grid:code": "MGRS-31UFS"}),
        item(make, earth_search(), day="2019-03-01", name="a", **{"s2:mgrs_tile": "31UFS"}),
    ]
    zone = {"mgrs:utm_zone": 31, "mgrs:latitude_band": "U", "mgrs:grid_square": "FS"}
    items.append(item(make, earth_search(), day="2019-07-20", name="c", **zone))
    [tile] = find_images(make.write_items(files.parent / "items.json", items))
    assert (tile.name, tile.bands) == ("T31UFS", ("B04", "B08"))
    assert len(tile.acquisitions) == 3
    series, clear = StackReader(tile).read(ALL)
    np.testing.assert_array_equal(series[0], np.stack([make.pixels("B04"), make.pixels("B08")]))
    np.testing.assert_array_equal(clear[0], np.isin(make.pixels("SCL", pixel=20), (4, 5, 6)).repeat(2, 0).repeat(2, 1))


def test_bands_of_stac_1_1_at_several_resolutions(make: ModuleType, files: Path) -> None:
    make.write_raster(files / "coarse.tif", make.pixels("B04", 7, pixel=20), pixel=20)
    assets = {
        "B04_10m": {"href": (files / "b04x.tif").as_uri(), "bands": [{"name": "B04", "eo:common_name": "red"}]},
        "10_B04_20m": {"href": str(files / "coarse.tif"), "bands": [{"name": "B04", "eo:common_name": "red"}]},
        "B08_10m": {"href": "data/b08x.tif", "bands": [{"eo:common_name": "nir"}]},
        "TCI_10m": {"href": "data/none.tif", "bands": [{"name": "B04"}, {"name": "B03"}], "roles": ["visual"]},
    }
    path = files.parent / "item.geojson"
    path.write_text(json.dumps(item(make, assets)))
    [tile] = find_images(path)
    assert tile.bands == ("B04", "B08")
    np.testing.assert_array_equal(StackReader(tile).read(ALL)[0][0, 0], make.pixels("B04"))


def test_several_bands_in_an_asset(make: ModuleType, tmp_path: Path) -> None:
    values = make.make_series(tmp_path, days=("2019-05-16",), named=False)["2019-05-16"]
    asset = {"href": "S2_2019-05-16.tif", "eo:bands": [{"name": "nir"}, {"name": "vv"}, {"name": "SCL"}]}
    path = make.write_items(tmp_path / "items.json", [item(make, {"data": asset})])
    [tile] = find_images(path)
    assert tile.bands == ("B08", "vv")
    np.testing.assert_array_equal(StackReader(tile).read(ALL)[0][0], values[:2])
    make.write_items(path, [item(make, {"data": {**asset, "eo:bands": [{"name": "a"}, {"name": "b"}]}})])
    with pytest.raises(CropzooError, match=r"asset 'data' has 2 named band.s. and '.*S2_2019-05-16.tif' 3; name"):
        find_images(path)


SCALED = {"raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]}


@pytest.mark.parametrize(
    ("asset", "properties", "offset"),
    [
        ({}, {}, 0),
        (SCALED, {}, 1000),
        ({"raster:scale": 0.0001, "raster:offset": -0.1}, {}, 1000),
        (SCALED, {"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.00"}, 0),
        (SCALED, {"earthsearch:boa_offset_applied": False}, 1000),
        ({}, {"s2:processing_baseline": "05.10"}, 1000),
        ({}, {"s2:processing_baseline": "03.01"}, 0),
        ({"raster:bands": [{"scale": 0.0001}]}, {"s2:processing_baseline": "04.00"}, 1000),
        ({"raster:bands": [{"scale": 0.0001, "offset": 0}]}, {"s2:processing_baseline": "04.00"}, 0),
        ({"raster:bands": [{"scale": "x", "offset": None}]}, {}, 0),
    ],
)
def test_offsets(make: ModuleType, files: Path, asset: dict[str, Any], properties: dict[str, Any], offset: int) -> None:
    path = make.write_items(files.parent / "i.json", [item(make, earth_search(**asset), **properties)])
    [tile] = find_images(path)
    layers = tile.acquisitions[0].files
    assert layers["B04"][0].offset == offset
    assert layers["SCL"][0].offset == 0
    if "raster:bands" in asset:
        assert layers["B04"][0].nodata == asset["raster:bands"][0].get("nodata")


@pytest.mark.parametrize(
    ("key", "classes"), [("SCL", (4,)), ("scl", (4,)), ("SCL_20m", (4,)), ("Fmask", (0,)), ("qa_pixel", (0,))]
)
def test_masks_in_all_spellings(make: ModuleType, files: Path, key: str, classes: tuple[int, ...]) -> None:
    values = np.zeros((30, 30), np.uint16)
    values[10:], values[20:] = 4, 0b10
    make.write_raster(files / "mask.tif", values, pixel=20)
    assets = {**earth_search(), key: {"href": "data/mask.tif", "roles": ["cloud", "data"]}}
    if key != "scl":
        del assets["scl"]
    [tile] = find_images(make.write_items(files.parent / "items.json", [item(make, assets)]))
    assert tile.bands == ("B04", "B08")
    expected = np.isin(values, classes).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(StackReader(tile).read(ALL)[1][0], expected)


def test_layers_that_are_left_out_are_reported(make: ModuleType, files: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    make.write_raster(files / "other.tif", make.pixels("B04"))
    keys = ("aot", "cloud", "unknown")
    more = {key: {"href": "data/other.tif", "roles": ["data", "cloud"]} for key in keys}
    find_images(make.write_items(files.parent / "items.json", [item(make, {**earth_search(), **more})]))
    # "unknown" is skipped as every other asset with the role of a cloud mask.
    assert caplog.messages == ["layers that are not reflectance are left out: AOT (1 file), cloud mask (1 file)"]


def test_an_asset_with_an_alpha_band_and_a_quality_band(make: ModuleType, tmp_path: Path) -> None:
    values = np.stack([make.pixels(name) for name in ("B04", "QA60", "B08", "alpha")])
    values[3, :5] = 0
    path = make.write_raster(tmp_path / "all.tif", values)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * 2, ColorInterp.alpha]
    asset = {"href": "all.tif", "eo:bands": [{"name": "B4"}, {"name": "QA60"}, {"common_name": "nir"}]}
    [tile] = find_images(make.write_items(tmp_path / "items.json", [item(make, {"data": asset})]))
    assert tile.bands == ("B04", "B08")
    series, clear = StackReader(tile).read(ALL)
    np.testing.assert_array_equal(series[0, :, 5:], values[[0, 2], 5:])
    np.testing.assert_array_equal(clear[0], values[3] > 0)


def test_the_reason_of_an_offset(make: ModuleType, files: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    properties = {"s2:processing_baseline": "05.10"}
    find_images(make.write_items(files.parent / "i.json", [item(make, earth_search(), **properties)]))
    assert caplog.messages == [
        "offset of 1000 subtracted from 2 of 2 files: processing baseline 04.00 or later in the STAC item"
    ]


def test_what_is_not_on_this_disk(make: ModuleType, files: Path) -> None:
    path = files.parent / "items.json"
    for href, message in (
        ("https://example.org/b04.tif", "'https://example.org/b04.tif' is not on this disk; download the images first"),
        ("s3://bucket/b04.tif", "'s3://bucket/b04.tif' is not on this disk"),
        ("data/missing.tif", "there is no file 'data/missing.tif'; hrefs are relative to the JSON file"),
    ):
        make.write_items(path, [item(make, earth_search(href=href))])
        with pytest.raises(CropzooError, match=rf"item 'item' of '.*items.json', asset 'red'; {message}"):
            find_images(path)
        assert find_images(path, ("B08",))[0].bands == ("B08",)


@pytest.mark.parametrize("text", ["[]", "{}", '{"type": "FeatureCollection"}', '{"type": "Catalog", "links": []}', "{"])
def test_no_stac(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(CropzooError, match=r"a.json'; the file (is not a STAC item|cannot be read)"):
        find_images(tmp_path / "a.json")


def test_items_that_say_too_little(make: ModuleType, files: Path) -> None:
    path = make.write_items(files.parent / "items.json", [item(make, earth_search(), datetime=None)])
    with pytest.raises(CropzooError, match=r"item 'item' of '.*items.json'; it has no datetime"):
        find_images(path)
    start = {"datetime": None, "start_datetime": "2019-05-16T00:00:00Z"}
    assert len(find_images(make.write_items(path, [item(make, earth_search(), **start)]))) == 1
    make.write_items(path, [item(make, {"thumbnail": {"href": "a.png", "roles": [{}]}})])
    with pytest.raises(CropzooError, match="none of its assets is a raster of bands; remove the item"):
        find_images(path)


def test_items_of_projection_and_other_extensions(make: ModuleType, files: Path) -> None:
    extensions = ["https://stac-extensions.github.io/projection/v2.0.0/schema.json", "https://example.org/own.json"]
    properties = {"proj:code": "EPSG:32631", "proj:shape": [60, 60], "proj:transform": [10, 0, 0, 0, -10, 0]}
    value = {**item(make, earth_search(), **properties), "stac_extensions": extensions, "bbox": [3, 50, 4, 51]}
    value["links"] = [{"rel": "self", "href": "https://example.org/item.json"}, {"rel": "root"}, 5]
    value["geometry"] = {"type": "Polygon", "coordinates": [[[3, 50], [4, 50], [4, 51], [3, 50]]]}
    [stack] = find_images(make.write_items(files.parent / "items.json", [value]))
    assert stack.bands == ("B04", "B08")


def test_folders_with_characters_that_urls_reserve(make: ModuleType, files: Path) -> None:
    folder = files.parent / "50% #1?"
    folder.mkdir()
    files.rename(folder / "data")
    [stack] = find_images(make.write_items(folder / "items.json", [item(make, earth_search())]))
    assert stack.bands == ("B04", "B08")


@pytest.mark.parametrize(
    "changes",
    [
        {"properties": 5},
        {"properties": {"datetime": {"a": 1}}},
        {"properties": {"datetime": "2019-05-16Tlater"}},
        {"properties": {"datetime": "2019-05-16T10:40:31Z", "mgrs:utm_zone": [31], "mgrs:latitude_band": {}}},
        {"id": {"name": 1}, "stac_version": [], "stac_extensions": 7, "bbox": "x", "links": {"a": 1}},
        {"assets": {"red": [], "nir": {"href": 5}, "blue": {}}},
        {"assets": {"red": {"href": "data/b04x.tif", "eo:bands": {"name": 1}, "roles": "data", "type": 5}}},
        {"assets": {"red": {"href": "data/b04x.tif", "bands": [5, {"name": []}], "raster:bands": [{"nodata": []}]}}},
        {"assets": {"red": {"href": "x" * 5000 + ".tif"}}},
        {"assets": {"red": {"href": "a\0b.tif"}}},
    ],
)
def test_items_of_wrong_types_are_read_or_refused(make: ModuleType, files: Path, changes: dict[str, Any]) -> None:
    path = make.write_items(files.parent / "items.json", [{**item(make, earth_search()), **changes}])
    with suppress(CropzooError):
        assert find_images(path)


def test_files_that_are_too_large_or_too_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "items.json"
    for text in ("[" * 100_000, '{"type": "Feature", "assets": ' + '{"a": ' * 100_000, "9" * 5000, "\udcff"):
        path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(CropzooError, match=r"items.json'; the file cannot be read \(.*\); download it again"):
            find_images(path)
    monkeypatch.setattr(stac, "_MAX_BYTES", 2**20)
    path.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(CropzooError, match=r"items.json'; the file is larger than 1 MiB; split it"):
        find_images(path)


@pytest.mark.parametrize("address", ["https://example.org/items.json", "s3://bucket/items.json", "/vsicurl/http://a"])
def test_the_network_is_never_used(address: str) -> None:
    with pytest.raises(CropzooError, match="is not on this disk; download the images first"):
        stac.LocalStacIO().read_json(address)
