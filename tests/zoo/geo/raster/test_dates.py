"""Dates of images from names and tags."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from cropzoo import CropzooError
from cropzoo.geo.raster.dates import find_image_date


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
    assert find_image_date(Path(name), {"TIFFTAG_DATETIME": "2020:01:01 00:00:00"}) == date(2019, 5, 16)


def test_tags_stand_in_for_a_name_without_date() -> None:
    tags = {"TIFFTAG_DATETIME": "2019:05:16 10:50:31"}
    assert find_image_date(Path("scene.tif"), tags) == date(2019, 5, 16)
    assert find_image_date(Path("scene.tif"), {**tags, "ACQUISITION_DATE": "2019-05-14"}) == date(2019, 5, 14)
    assert find_image_date(Path("scene_2019-02-30.tif"), tags) == date(2019, 5, 16)


@pytest.mark.parametrize(
    "name", ["scene.tif", "2019-02-30.tif", "2019-0516.tif", "120190516.tif", "201905161.tif", "1019-05-16.tif"]
)
def test_a_date_that_cannot_be_read_is_an_error_with_the_form(name: str) -> None:
    with pytest.raises(
        CropzooError, match=rf"{name}'; neither its name nor its tags hold a date; name it like 'S2_2019"
    ):
        find_image_date(Path("site") / name, {"TIFFTAG_DATETIME": "yesterday"})
