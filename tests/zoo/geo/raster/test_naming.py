"""What names tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropzoo.geo.raster import naming as names


@pytest.mark.parametrize(
    ("name", "band"),
    [("B04", "B04"), ("b4", "B04"), ("B8A", "B8A"), ("B08A", "B8A"), ("B12", "B12"), ("B13", None), ("NDVI", None)],
)
def test_bands_of_sentinel_2(name: str, band: str | None) -> None:
    assert names.sentinel2_band(name) == band


@pytest.mark.parametrize(
    ("stem", "asked", "band"),
    [
        ("T31UFS_20190516T104031_B02_10m", (), "B02"),
        ("T31UFS_20190516T104031_scl_20m", (), "SCL"),
        ("S2_2019-05-16_B8A", (), "B8A"),
        ("B04", (), "B04"),
        ("S2_2019-05-16", (), None),
        ("S2_2019-05-16_red_edge", ("red", "red_edge"), "red_edge"),
        ("S1_2019-05-16_vv", ("VV", "VH"), "VV"),
        ("S2_2019-05-16_AOT", (), "AOT"),
        ("SUB04_2019", (), None),
        ("S2_2019-05-16_B04", ("B4",), "B4"),
        ("HLS.S30.T31UFS.2021100T104031.v2.0.Fmask", (), "Fmask"),
        ("LC08_L2SP_198025_20210410_20210417_02_T1_QA_PIXEL", (), "QA_PIXEL"),
        ("2019-05-16_Scene_Classification_Map", (), "SCL"),
        ("20210410_LEVEL2_SEN2A_QAI", (), "QAI"),
        ("SENTINEL2A_20210410-104031-123_L2A_T31UFS_C_V1-0_CLM_R1", (), "CLM"),
        ("T31UFS_20190516T104031_MSK_CLDPRB_20m", (), "cloud probability"),
        ("hot_2019-05-16_B04", (), "B04"),
        ("hot_2019-05-16", (), None),
    ],
)
def test_the_band_of_a_file(stem: str, asked: tuple[str, ...], band: str | None) -> None:
    assert names.find_band(stem, asked) == band


def test_files_of_one_product_have_one_name() -> None:
    stems = {"T31UFS_20190516T104031_B02_10m": "B02", "T31UFS_20190516T104031_SCL_20m": "SCL"}
    assert {names.remove_band(stem, band) for stem, band in stems.items()} == {"T31UFS_20190516T104031"}
    assert names.remove_band("S2_2019-05-16_red_edge", "red_edge") == "S2_2019_05_16"


def test_product_names() -> None:
    path = Path("/x/S2B_MSIL2A_20220516T104031_N0400_R008_T31UFS_20220516T140000.SAFE/IMG_DATA/R10m/B02.jp2")
    above = names.path_names(path)
    assert above[0] == "B02.jp2"
    assert names.find_mgrs_tile(above) == "T31UFS"
    assert names.find_baseline(above) == 400
    assert names.find_level(above) == "2A"
    for part in ("farm_N0512", "_N0400_", "S2A_MSIL2A_N0400_", "XS2A_MSIL2A_20220516T104031_N0400_R008"):
        assert names.find_baseline([part]) == -1
    assert names.find_baseline(["S2A_MSIL1C_20220516T104031_R008_T31UFS", above[3]]) == 400
    assert (names.find_mgrs_tile(["x"]), names.find_baseline(["N0400"]), names.find_level(["S2A"])) == ("", -1, "")
    assert names.find_mgrs_tile(["T31UFSX", "XT31UFS", "T31IFS"]) == ""
    assert names.is_esa_name(Path("T31UFS_20190516T104031_B02_10m.jp2"))
    assert not names.is_esa_name(Path("T31UFS_2019-05-16_B02.tif"))


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        *((text, "B04") for text in ("B04", "b4", "B4", "B04_10m", "B04-10m", "B4, central wavelength 665 nm")),
        *((text, "B04") for text in ("S2_B04", "S2A_B4", "L2A_B04_10m", "Sentinel2 B4", "S2L2A_B04")),
        *((text, "SCL") for text in ("SCL", "scl", "SCL_20m", "Scene classification", "Scene_Classification_Map")),
        *((text, "SCL") for text in ("S2_SCL", "L2A_SCL_20m", "s2_Scene_Classification_Map")),
        *(
            (text, text)
            for text in (
                "red",
                "NDVI",
                "NDVI_B08_B04",
                "B04_mean",
                "B04 B08",
                "VV",
                "B13",
                "S2",
                "L8_B4",
                "S1_VV",
                "B04_S2",
            )
        ),
    ],
)
def test_the_standard_name_of_a_band(name: str, standard: str) -> None:
    assert names.standard_name(name) == standard


def test_the_names_of_the_user_come_first() -> None:
    assert names.match_requested("B04_10m", ("B8", "b4")) == "b4"
    assert names.match_requested("B04_10m", ("B8", "B04_10m")) == "B04_10m"
    assert names.match_requested("b4", ()) == "B04"
    assert names.series_bands(("B04", "-", "scl", "alpha", "WVP", "QA60", "red")) == ("B04", "WVP", "red")
