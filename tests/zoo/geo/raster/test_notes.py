"""Notes on images: one line of each kind."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.notes import ImageNotes

PRODUCT = "S2A_MSIL2A_202204{day}T104031_N0400_R008_T31UFS_20220516T140000"


@pytest.fixture
def images(make: ModuleType, tmp_path: Path) -> Path:
    """Six files of the baseline 03.01 and four of 04.00, with a band that is left out."""
    values = np.stack([make.pixels(name) for name in ("B04", "B08", "AOT")])
    for day in range(10, 16):
        make.write_raster(tmp_path / f"T31UFS_2021-04-{day}.tif", values, ("B04", "B08", "AOT"))
    for day in range(10, 14):
        make.write_raster(tmp_path / f"{PRODUCT.format(day=day)}.tif", values, ("B04", "B08", "AOT"))
    return tmp_path


def test_one_line_of_each_kind(images: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    find_images(images)
    assert caplog.messages == [
        "offset of 1000 subtracted from 4 of 10 files: processing baseline 04.00 or later in the product name",
        "layers that are not reflectance are left out: AOT (10 files)",
    ]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (0, "no offset subtracted although 4 of 10 files declare one: option 'offset' is 0"),
        (500, "offset of 500 subtracted from all 10 files: option 'offset'"),
    ],
)
def test_the_offset_of_the_user(images: Path, caplog: pytest.LogCaptureFixture, given: int, line: str) -> None:
    caplog.set_level("INFO")
    notes = ImageNotes(given)
    find_images(images, notes=notes)
    assert not caplog.messages
    assert notes.lines()[0] == line


def test_several_reasons_and_several_calls(make: ModuleType, images: Path) -> None:
    tags = {"BOA_ADD_OFFSET": "-900"}
    make.write_raster(
        images / "b" / "T31UFS_2022-05-16.tif", np.stack([make.pixels("B04")] * 2), ("B04", "B08"), tags=tags
    )
    notes = ImageNotes()
    find_images(images / "b", notes=notes)
    find_images(images / "*.tif", ("B04", "B08"), notes=notes)
    assert notes.lines()[0] == (
        "offset of 900 subtracted from 1 of 11 files: tag BOA_ADD_OFFSET; 1000 subtracted from 4 of 11 files: "
        "processing baseline 04.00 or later in the product name"
    )


def test_nothing_to_say(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path)
    notes = ImageNotes()
    find_images(tmp_path, notes=notes)
    assert notes.lines() == []
    assert ImageNotes(0).lines() == []
