"""Searching files by patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropzoo import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.file_search import find_date_folders, find_files


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*patterns: str | Path, bands: tuple[str, ...] = ()) -> list[str]:
    return [candidate.path.name for candidate in find_files(patterns, bands)[0]]


def test_globs_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(
        tmp_path, "a/1.tif", "a/b/2.JP2", "a/b/3.vrt", "a/b/3.tif.aux.xml", "c/4.tiff", "c/[x]5.tif", "a/.hidden/6.tif"
    )
    assert found(tmp_path) == ["1.tif", "2.JP2", "3.vrt", "4.tiff", "[x]5.tif"]
    assert found(tmp_path / "a") == ["1.tif", "2.JP2", "3.vrt"]
    assert found(tmp_path / "*/*.tif*") == ["1.tif", "4.tiff", "[x]5.tif"]
    assert found(f"{tmp_path}/**/3.*") == ["3.vrt"]
    assert found(tmp_path / "c/[x]5.tif") == ["[x]5.tif"]
    assert found(tmp_path / "a/1.tif", tmp_path / "*/1.tif", f"{tmp_path}/a/../a/1.tif") == ["1.tif"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert found("~/c/4.*") == ["4.tiff"]
    monkeypatch.chdir(tmp_path)
    assert found("a/*") == ["1.tif", "2.JP2", "3.vrt"]


def test_what_is_no_band_is_passed_over(tmp_path: Path) -> None:
    names = ("labels.tif", "T31UFS_20190516T104031_TCI_10m.jp2", "MSK_CLDPRB_20m.jp2", "QI_DATA/MSK_B04.jp2")
    touch(tmp_path, "2019-05-16_B04.tif", "2019-05-16_AOT.tif", "QI_DATA/T31UFS_20190516T104031_B04.jp2", *names)
    assert found(tmp_path) == ["2019-05-16_B04.tif"]
    assert found(tmp_path / "*") == ["2019-05-16_B04.tif"]
    assert found(tmp_path, bands=("B04", "AOT")) == ["2019-05-16_AOT.tif", "2019-05-16_B04.tif"]


def test_item_collections(tmp_path: Path) -> None:
    touch(tmp_path, "items.json", "more.geojson", "a.tif")
    rasters, items = find_files([tmp_path / "*.json", f"{tmp_path}/more.geojson", tmp_path])
    assert [path.name for path in items] == ["items.json", "more.geojson"]
    assert [candidate.path.name for candidate in rasters] == ["a.tif"]


@pytest.mark.parametrize("name", ["nowhere", "nowhere/*.tif", "notes.txt", "empty", "nowhere.json", "product.zip"])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "notes.txt", "product.zip")
    with pytest.raises(CropzooError, match=r"no image \(.tif, .tiff, .jp2, .vrt\) was found; check the path, quote"):
        find_files([tmp_path / name])


@pytest.mark.parametrize(
    "address", ["https://example.org/a.tif", "s3://bucket/*.tif", "/vsicurl/https://a/b.tif", "gs://a/items.json"]
)
def test_the_network_is_never_used(address: str) -> None:
    with pytest.raises(
        CropzooError, match=f"{address.replace('*', '.')}' is not on this disk; download the images first"
    ):
        find_files([address])


@pytest.mark.parametrize(
    ("path", "root", "folders"),
    [
        ("/data/2024-01-01/site/img.tif", "/data/2024-01-01", ("site",)),
        ("/data/2019-05-16/R10m/B02.tif", "/data", ("R10m", "2019-05-16")),
        ("/data/2019-05-16/R10m/B02.tif", "/data/2019-05-16/R10m", ("R10m", "2019-05-16")),
        ("/data/2019-05-16/site/x/img.tif", "/data", ("x", "site", "2019-05-16")),
        ("/data/2019-05-16/B02.tif", "/data/2019-05-16", ("2019-05-16",)),
    ],
)
def test_folders_that_may_hold_the_date(path: str, root: str, folders: tuple[str, ...]) -> None:
    assert find_date_folders(Path(path), Path(root)) == folders


@pytest.mark.parametrize("source", ["/vsicurl/http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a.tif"])
def test_a_virtual_raster_of_the_network_is_refused(tmp_path: Path, source: str) -> None:
    text = f"<VRTDataset><VRTRasterBand><SourceFilename relativeToVRT='0'>{source}</SourceFilename></VRTRasterBand>"
    (tmp_path / "2019-05-16.vrt").write_text(f"{text}</VRTDataset>")
    with pytest.raises(CropzooError, match=r"it reads .* which is not on this disk"):
        find_images(tmp_path)


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(CropzooError, match="a name in it is longer than 255 bytes"):
        find_images("a" * 5000)
