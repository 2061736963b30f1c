"""Dates of images from names and tags."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest

from cropzoo import CropzooError
from cropzoo.geo.raster.dates import EPOCH, date_image, days_since_epoch, find_date


def day_of(path: Path, tags: Mapping[str, str]) -> date:
    return EPOCH + timedelta(days=date_image(path, (), tags).day)


@pytest.mark.parametrize(
    "name",
    [
        "S2_2019-05-16.tif",
        "20190516.tif",
        "2019_05_16_clip.tif",
        "S2A_MSIL2A_20190516T105031_N0212_R051_T31UES_20190601T140000.tif",
        "tile31_12345678_20190516.tif",
    ],
)
def test_the_first_date_in_the_name_counts(name: str) -> None:
    assert day_of(Path(name), {"TIFFTAG_DATETIME": "2020:01:01 00:00:00"}) == date(2019, 5, 16)


def test_tags_stand_in_for_a_name_without_date() -> None:
    tags = {"TIFFTAG_DATETIME": "2019:05:16 10:50:31"}
    assert day_of(Path("scene.tif"), tags) == date(2019, 5, 16)
    assert day_of(Path("scene.tif"), {**tags, "ACQUISITION_DATE": "2019-05-14"}) == date(2019, 5, 14)
    assert day_of(Path("scene_2019-02-30.tif"), tags) == date(2019, 5, 16)


@pytest.mark.parametrize(
    "name", ["scene.tif", "2019-02-30.tif", "2019-0516.tif", "120190516.tif", "201905161.tif", "1019-05-16.tif"]
)
def test_a_date_that_cannot_be_read_is_an_error_with_the_form(name: str) -> None:
    with pytest.raises(
        CropzooError, match=rf"{name}'; neither its name nor its tags hold a date; name it like 'S2_2019"
    ):
        day_of(Path("site") / name, {"TIFFTAG_DATETIME": "yesterday"})


@pytest.mark.parametrize(
    "name",
    [
        "20240131_S2A_MSIL2A_20210410T104031",
        "download-2024-01-31_T31UFS_20210410T104031_B02_10m",
        "L2A_T31UFS_A030279_20210410T104031",
        "S2A_31UFS_20210410_0_L2A",
        "S2A_OPER_PRD_MSIL1C_PDMC_20240131T000000_R008_V20210410T104031_20210410T104031",
        "HLS.S30.T31UFS.2021100T104031.v2.0.B04",
        "HLS.L30.T31UFS.2021100T104031.v2.0.Fmask",
        "MOD09GA.A2021100.h18v03.006.2024031071512",
        "LC08_L2SP_198025_20210410_20240131_02_T1_SR_B4",
        "LC81980252021100LGN00",
        "SENTINEL2A_20210410-104031-123_L2A_T31UFS_C_V1-0",
        "20210410_LEVEL2_SEN2A_BOA",
        "2024-01-31_20210410_LEVEL2_SEN2A_BOA",
        "S1A_IW_GRDH_1SDV_20210410T055000_20240131T055025_037386_046800_1234",
        "s2a_msil2a_20210410t104031_n0300_r008_t31ufs_20240131t000000",
    ],
)
@pytest.mark.parametrize("form", ["file", "folder"])
def test_the_date_of_acquisition_in_the_name_of_a_product(name: str, form: str) -> None:
    path, folders = (Path(f"{name}.tif"), ()) if form == "file" else (Path("B04.tif"), (name,))
    found = date_image(path, folders, {"TIFFTAG_DATETIME": "2024:01:31 00:00:00"})
    assert (found.day, found.is_product) == (days_since_epoch(date(2021, 4, 10)), True)


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("S2_20210410104031", "104031"),
        ("S2_20210410T104031", "104031"),
        ("S2_2021-04-10T104031", "104031"),
        ("S2_20210410_104031", ""),
        ("S2_2021100", ""),
        ("2021100_B04", ""),
    ],
)
def test_dates_with_times_and_days_of_the_year(name: str, time: str) -> None:
    found = date_image(Path(f"{name}.tif"), (), {})
    assert (found.day, found.time, found.is_product) == (days_since_epoch(date(2021, 4, 10)), time, False)
    assert found.source == "the file name"


@pytest.mark.parametrize("name", ["20210410256199", "2021000", "2021366", "x2021100", "2021100a"])
def test_digits_that_are_no_date(name: str) -> None:
    with pytest.raises(CropzooError, match="neither its name nor its tags hold a date"):
        date_image(Path(f"{name}.tif"), (), {})


def test_the_order_of_sources() -> None:
    tags = {"TIFFTAG_DATETIME": "2024:01:31 00:00:00"}

    def source(name: str, *folders: str) -> tuple[str, str]:
        found = date_image(Path(f"{name}.tif"), folders, tags)
        return str(EPOCH + timedelta(days=found.day)), found.source

    assert source("2021-04-10_b", "2021-05-15") == ("2021-04-10", "the file name")
    assert source("plot_2012345", "x", "2021-05-15") == ("2021-05-15", "the folder name '2021-05-15'")
    assert source("plot_2012345", "x") == ("2012-12-10", "the file name")
    assert source("a", "2021-05-15", "2021-06-01") == ("2021-05-15", "the folder name '2021-05-15'")
    assert source("20210410_20210515") == ("2021-04-10", "the first of several dates in the file name")
    assert source("20210410_2021-04-10") == ("2021-04-10", "the file name")
    assert source("a", "b") == ("2024-01-31", "the tag TIFFTAG_DATETIME")


def test_a_date_in_a_text() -> None:
    assert find_date("2019-05-16") == date(2019, 5, 16)
    assert find_date("16.05.2019") is None
