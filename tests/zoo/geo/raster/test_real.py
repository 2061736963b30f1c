"""Real images, pixel by pixel against their files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cropzoo import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.reader import StackReader

DATA = Path(os.environ.get("CROPZOO_TEST_DATA", ""))
pytestmark = pytest.mark.skipif(Path() == DATA, reason="CROPZOO_TEST_DATA names no folder of real data")


def test_two_patches_with_masks() -> None:
    tiles = find_images(DATA / "flanders")
    assert [(tile.name, len(tile.acquisitions)) for tile in tiles] == [
        ("00002806639B424A", 118),
        ("0000280849BAC91C", 72),
    ]
    for tile in tiles:
        assert tile.bands == ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
        series, clear = StackReader(tile).read(Window(8, 0, 32, 64))
        for index in (0, len(series) - 1):
            with rasterio.open(tile.acquisitions[index].files["B02"][0].path) as source:
                image = source.read()[:, 8:40]
            np.testing.assert_array_equal(series[index], image[:10])
            np.testing.assert_array_equal(clear[index], (image[10] >= 4) & (image[10] <= 6))


def test_months_without_an_image() -> None:
    [tile] = find_images(DATA / "hesbaye" / "*.tif")
    assert (tile.name, len(tile.acquisitions), len(tile.bands)) == ("hesbaye", 12, 9)
    series, clear = StackReader(tile).read(Window(0, 0, 100, 100))
    assert not clear[1:3].any()
    assert not series[1:3].any()
    assert clear[5:11].mean() > 0.9


def test_images_without_a_day() -> None:
    with pytest.raises(CropzooError, match=r"window_a.tif'; neither its name nor its tags hold a date; name it like"):
        find_images(DATA / "inn")
