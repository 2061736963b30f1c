"""Which source tells the offset of a file's numbers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio

from cropzoo import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.metadata import declared_offset, parse_baseline

PRODUCT = "S2A_MSIL2A_20220516T104031_N0400_R008_T31UFS_20220516T140000"


def offset_of(folder: Path, band: str = "B04") -> int:
    [tile] = find_images(folder)
    offset: int = tile.acquisitions[0].files[band][0].offset
    return offset


@pytest.mark.parametrize(
    ("name", "tags", "offset"),
    [
        ("S2_2022-05-16", {}, 0),
        ("S2A_MSIL2A_20220516T104031_N0400_R008_T31UFS_20220516T140000", {}, 1000),
        ("S2A_MSIL2A_20220516T104031_N0511_R008_T31UFS_20220516T140000", {}, 1000),
        ("S2A_MSIL2A_20190516T104031_N0212_R008_T31UFS_20190516T140000", {}, 0),
        ("S2A_MSIL2A_20220516T104031_N0400_R008_T31UFS_20220516T140000", {"PROCESSING_BASELINE": "03.01"}, 0),
        ("S2_2022-05-16", {"PROCESSING_BASELINE": "04.00"}, 1000),
        ("S2_2022-05-16", {"BOA_ADD_OFFSET": "-1000"}, 1000),
        ("S2_2022-05-16", {"RADIO_ADD_OFFSET": "-1000.0"}, 1000),
        ("S2A_MSIL2A_20220516T104031_N0400_R008_T31UFS_20220516T140000", {"BOA_ADD_OFFSET": "0"}, 0),
        ("S2_2022-05-16_N0400", {}, 0),
        ("farm_N0512_2022-05-16", {}, 0),
        ("S2A_MSIL2A_20220516T104031_R008_T31UFS_20220516T140000_N0400", {}, 0),
    ],
)
def test_names_and_tags(make: ModuleType, tmp_path: Path, name: str, tags: dict[str, str], offset: int) -> None:
    values = np.stack([make.pixels("B04"), make.pixels("NDVI"), make.pixels("SCL")])
    make.write_raster(tmp_path / f"{name}.tif", values, ("B04", "NDVI", "SCL"), tags=tags)
    assert offset_of(tmp_path) == offset
    assert offset_of(tmp_path, "SCL") == 0
    # A baseline says nothing of what is no band of Sentinel-2; a tag of the file is about all of it.
    assert offset_of(tmp_path, "NDVI") == (offset if "BOA_ADD_OFFSET" in tags or "RADIO_ADD_OFFSET" in tags else 0)


@pytest.mark.parametrize(
    ("folder", "offset"),
    [
        ("farm_N0512", 0),
        ("N0400", 0),
        ("plots_N0511_2022/field", 0),
        ("S2A_MSIL2A_N0400_", 0),
        (f"{PRODUCT}.SAFE/GRANULE/IMG_DATA", 1000),
        (PRODUCT, 1000),
        (PRODUCT.replace("N0400", "N0301"), 0),
    ],
)
def test_only_the_name_of_a_product_gives_a_baseline(
    make: ModuleType, tmp_path: Path, folder: str, offset: int
) -> None:
    make.write_raster(tmp_path / folder / "S2_2022-05-16_B04.tif", make.pixels("B04"))
    assert offset_of(tmp_path) == offset


def test_scale_and_offset_of_the_band_count_before_names(make: ModuleType, tmp_path: Path) -> None:
    path = make.write_raster(tmp_path / f"{PRODUCT}_B04.tif", make.pixels("B04"))
    for scale, offset, expected in ((1e-4, -0.1, 1000), (1e-4, 0.0, 0), (2.75e-5, -0.2, 7273), (1.0, 0.0, 1000)):
        with rasterio.open(path, "r+") as file:
            file.scales, file.offsets = (scale,), (offset,)
        assert offset_of(tmp_path) == expected
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-6,), (-0.1,)
    with pytest.raises(
        CropzooError, match=r"B04.tif'; its metadata declare an offset of 100000 for band 'B04'; correct"
    ):
        find_images(tmp_path)


def test_the_metadata_file_has_precedence_over_names(make: ModuleType, tmp_path: Path) -> None:
    name = "S2A_MSIL2A_20220516T104031_N0400_R008_T31UFS_20220516T140000_B04.tif"
    make.write_raster(tmp_path / "a" / "b" / name, make.pixels("B04"))
    line = '<BOA_ADD_OFFSET band_id="{}">-{}</BOA_ADD_OFFSET>'
    (tmp_path / "MTD_MSIL2A.xml").write_text(line.format(3, 900) + line.format(2, 800) + line.format(99, 1))
    assert offset_of(tmp_path) == 900
    (tmp_path / "MTD_MSIL2A.xml").write_text("<PROCESSING_BASELINE>02.12</PROCESSING_BASELINE>")
    assert offset_of(tmp_path) == 0


def test_a_baseline_says_nothing_of_fractions(
    make: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"{PRODUCT}_B04.tif"
    make.write_raster(path, make.pixels("B04").astype(np.float32) / 10_000)
    assert offset_of(tmp_path) == 0
    assert (
        "have processing baseline 04.00 or later and store floats; their offset is assumed to be subtracted already"
        in caplog.text
    )
    make.write_raster(path, make.pixels("B04").astype(np.float32), tags={"BOA_ADD_OFFSET": -1000})
    assert offset_of(tmp_path) == 1000


@pytest.mark.parametrize(
    ("scale", "offset", "expected"),
    [
        (1, 0, None),
        (1e-4, -0.1, 1000),
        (1e-4, 0, 0),
        (0, -0.1, None),
        (None, None, None),
        ("a", float("nan"), None),
        (1e-320, 1, None),
        pytest.param("1e-4", 10**400, 0, id="offset-of-400-digits"),
    ],
)
def test_declared(scale: Any, offset: Any, expected: int | None) -> None:
    assert declared_offset(scale, offset) == expected


def test_baselines() -> None:
    assert [parse_baseline(text) for text in ("04.00", "N0511", "5.1", "", None)] == [400, 511, -1, -1, -1]
