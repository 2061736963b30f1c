"""Images whose bands are matched to a network's by name."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import rasterio
from rasterio.enums import ColorInterp

from cropzoo.errors import CropzooError
from cropzoo.inference.mapping.inputs import find_map_images


def test_bands_come_by_name(scenes: ModuleType, tmp_path: Path) -> None:
    images = scenes.write_images(tmp_path, scenes.random_series(9, 9, bands=4), bands=("B02", "B08", "B04", "B11"))
    (tile,) = find_map_images(("B04", "B08"), [images])
    assert tile.bands == ("B04", "B08")


def test_a_band_that_a_date_lacks_does_not_matter_unless_it_is_read(scenes: ModuleType, tmp_path: Path) -> None:
    scenes.write_images(tmp_path, scenes.random_series(9, 9, bands=3), bands=("B04", "B08", "B11"), days=["2019-03-01"])
    images = scenes.write_images(tmp_path, scenes.random_series(9, 9), days=["2019-05-01"])
    assert len(find_map_images(("B04", "B08"), [images])[0].dates) == 2
    with pytest.raises(CropzooError, match="B11"):
        find_map_images(("B04", "B11"), [images])


def test_a_band_that_is_missing_is_named_with_those_that_are_there(scenes: ModuleType, tmp_path: Path) -> None:
    images = scenes.write_images(tmp_path, scenes.random_series(9, 9))
    message = (
        r"S2_2019-03-01.tif'; the network reads B04, B8A, B12, and the images lack B8A, B12 "
        r"\(they have B04, B08\)"
    )
    with pytest.raises(CropzooError, match=message):
        find_map_images(("B04", "B8A", "B12"), [images])


def test_bands_without_names_are_not_guessed(scenes: ModuleType, tmp_path: Path) -> None:
    images = scenes.write_images(tmp_path, scenes.random_series(9, 9), bands=("", ""))
    with pytest.raises(CropzooError, match=r"S2_2019-03-01.tif'; its bands have no descriptions.*--bands"):
        find_map_images(("B04", "B08"), [images])
    (tile,) = find_map_images(("B04", "B08"), [images], ("B08", "B04"))
    assert tile.bands == ("B08", "B04")
    with pytest.raises(CropzooError, match="the images lack B04"):
        find_map_images(("B04", "B08"), [images], ("B08", "B02"))


def test_the_network_s_spelling_of_a_band_is_used(scenes: ModuleType, tmp_path: Path) -> None:
    series = scenes.random_series(9, 9)
    named = scenes.write_images(tmp_path / "named", series, bands=("B04_10m", "b8a"))
    unnamed = scenes.write_images(tmp_path / "unnamed", series, bands=("", ""))
    for bands in (("B4", "B8A"), ("b04", "B08A")):
        assert find_map_images(bands, [named])[0].bands == bands
        assert find_map_images(bands, [unnamed], ("B04", "b8a"))[0].bands == bands


def test_alpha_bands_need_no_name(scenes: ModuleType, tmp_path: Path) -> None:
    images = scenes.write_images(tmp_path, scenes.random_series(9, 9, bands=3), bands=("B04", "B08", ""))
    for path in tmp_path.glob("S2_*.tif"):
        with rasterio.open(path, "r+") as file:
            file.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha]
    assert find_map_images(("B04", "B08"), [images])[0].bands == ("B04", "B08")
    assert find_map_images(("B08",), [images], ("-", "B08"))[0].bands == ("B08",)
