"""Interpretation sheets: which images they show of a point, its outline and its time series, in files of their own."""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import transform as transform_places

from cropzoo.errors import UsageError
from cropzoo.evaluation.area.design import SamplingDesign
from cropzoo.evaluation.area.points import Points
from cropzoo.evaluation.area.sheets import check_sheets, locate_sheets, write_sheets

DAYS = ("20200401", "20200515", "20200701", "20200820")
SIZE = 60, 70
CRS_32632 = "EPSG:32632"
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_500_000)


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[..., str]:
    """`write_images(transform=..., dtype="uint16", cloudy=())`: images of four dates."""

    def write(transform: Affine = NORTH_UP, dtype: str = "uint16", cloudy: tuple[int, ...] = ()) -> str:
        height, width = SIZE
        for number, day in enumerate(DAYS):
            bands = np.full((4, height, width), 1000.0)
            bands[1] = np.arange(height)[:, None] * 40  # green by row of the file
            # NDVI (3 - 1) / (3 + 1) = 0.5 in the right half; 0 in the left one, and 0.6 on the last date.
            bands[3, :, width // 2 :] = 3000
            if number == len(DAYS) - 1:
                bands[3, :, : width // 2] = 4000
            if number in cloudy:
                bands[:] = 0
            values = bands * 1e-4 if dtype == "float32" else bands
            profile = {"driver": "GTiff", "count": 4, "height": height, "width": width, "dtype": dtype, "nodata": 0}
            path = tmp_path / f"S2_{day}.tif"
            with rasterio.open(path, "w", crs=CRS_32632, transform=transform, **profile) as file:
                file.write(values.astype(dtype))
                file.descriptions = ("B02", "B03", "B04", "B08")
        return str(tmp_path / "S2_*.tif")

    return write


@pytest.fixture
def write(tmp_path: Path, make_design: Callable[..., SamplingDesign]) -> Callable[..., dict[str, str]]:
    """`write(places, images)`: the pages of points at columns and rows of the map, by file name."""

    def make(places: Any, images: str, show: bool = False, **changed: Any) -> dict[str, str]:
        design = make_design(crs=CRS_32632, shape=SIZE, transform=tuple(NORTH_UP)[:6], **changed)
        shapes = [
            shapely.Point(500_005 + 10 * each[0], 5_499_995 - 10 * each[1]) if isinstance(each, tuple) else each
            for each in places
        ]
        count = len(shapes)
        points = Points(
            ids=np.arange(1, count + 1),
            geometry=np.array(shapes, object),
            strata=np.ones(count, np.int64),
            probabilities=np.full(count, 0.1),
            areas=np.full(count, 100.0),
            map_classes=("maize",) * count if show else None,
        )
        lacking = write_sheets(tmp_path / "points.gpkg", points, design, [images])
        pages = {each.name: each.read_text() for each in locate_sheets(tmp_path / "points.gpkg").glob("*.html")}
        return {**pages, "lacking": str(lacking)}

    return make


def _curve(page: str) -> list[str]:
    return re.findall(r"<title>([\d-]+: [\d.-]+)</title>", page)


def test_a_page_for_each_point_and_one_that_lists_them(
    write: Callable[..., dict[str, str]], write_images: Callable[..., str]
) -> None:
    pages = write([(5, 5), (60, 30), (30, 59)], write_images())
    assert set(pages) == {"00001.html", "00002.html", "00003.html", "index.html", "lacking"}
    assert pages["lacking"] == "0"
    assert re.findall(r'href="(\d+\.html)"', pages["index.html"]) == ["00001.html", "00002.html", "00003.html"]
    assert re.findall(r'href="(\d+\.html)"', pages["00002.html"]) == ["00001.html", "00003.html"]
    for name in ("00001.html", "00002.html", "00003.html"):
        assert re.findall(r"<figcaption>(.*?)</figcaption>", pages[name]) == [
            "2020-04-01",
            "2020-05-15",
            "2020-07-01",
            "2020-08-20",
        ]
        assert "The classes are none, maize, wheat." in pages[name]
        assert "default-src 'none'" in pages[name]
        assert not re.findall(r"(src|href)=\"(?!data:|\d+\.html|index\.html)", pages[name])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_the_time_series_is_that_of_the_pixel(
    write: Callable[..., dict[str, str]], write_images: Callable[..., str], dtype: str
) -> None:
    pages = write([(34, 20), (35, 20)], write_images(dtype=dtype))
    assert _curve(pages["00001.html"]) == [
        "2020-04-01: 0.00",
        "2020-05-15: 0.00",
        "2020-07-01: 0.00",
        "2020-08-20: 0.60",
    ]
    assert _curve(pages["00002.html"])[0] == "2020-04-01: 0.50"
    assert ">NDVI<" in pages["00001.html"]


def test_dates_without_data_at_the_point_are_left_out(
    write: Callable[..., dict[str, str]], write_images: Callable[..., str]
) -> None:
    page = write([(35, 20)], write_images(cloudy=(0, 2)))["00001.html"]
    assert [each[:10] for each in _curve(page)] == ["2020-05-15", "2020-08-20"]
    assert page.count("<figure>") == 2


def test_the_class_in_the_map_is_hidden_unless_asked_for(
    write: Callable[..., dict[str, str]], write_images: Callable[..., str]
) -> None:
    images = write_images()
    assert "Class in the map" not in write([(35, 20)], images)["00001.html"]
    assert "Class in the map</th><td>maize<" in write([(35, 20)], images, show=True)["00001.html"]


def test_parcels_have_the_mean_of_their_pixels_and_their_outline(
    write: Callable[..., dict[str, str]], write_images: Callable[..., str]
) -> None:
    # Columns 33 to 36: two of NDVI 0, and two of 0.5.
    parcel = shapely.box(500_330, 5_499_700, 500_370, 5_499_800)
    page = write([parcel], write_images(), unit="parcel")["00001.html"]
    assert _curve(page)[0] == "2020-04-01: 0.25"
    path = re.findall(r'<path d="M(.*?)Z"', page)[0]
    corners = {tuple(map(float, each.split())) for each in path.split(" L")}
    columns, rows = zip(*corners, strict=True)
    assert (max(columns) - min(columns), max(rows) - min(rows)) == pytest.approx((4, 10))


def test_a_point_outside_the_images_has_a_page_without_them(
    write: Callable[..., dict[str, str]], write_images: Callable[..., str]
) -> None:
    pages = write([(35, 20), (200, 20)], write_images())
    assert pages["lacking"] == "1"
    assert "No image shows this point" in pages["00002.html"]
    assert "NDVI" not in pages["00002.html"]


def test_pictures_have_north_at_the_top(write: Callable[..., dict[str, str]], write_images: Callable[..., str]) -> None:
    south_up = Affine(10, 0, 500_000, 0, 10, 5_499_400)
    for transform, downward in ((NORTH_UP, True), (south_up, False)):
        page = write([(2, 3)], write_images(transform))["00001.html"]
        path = re.findall(r'<path d="M(.*?)Z"', page)[0]
        assert set(path.split(" L")) == {"2.00 3.00", "3.00 3.00", "3.00 4.00", "2.00 4.00"}
        picture = base64.b64decode(re.findall(r"base64,([^\"]+)", page)[0])
        with warnings.catch_warnings(), rasterio.MemoryFile(picture) as memory, memory.open() as file:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            green = file.read(2).astype(int)
        assert green.shape == (48, 48)
        assert (green[40].mean() > green[5].mean() + 20) == downward


def test_images_in_another_crs(
    write: Callable[..., dict[str, str]],
    write_images: Callable[..., str],
    make_design: Callable[..., Any],
    tmp_path: Path,
) -> None:
    images = write_images()
    (x,), (y,) = transform_places(CRS.from_string(CRS_32632), CRS.from_epsg(4326), [500_355.0], [5_499_795.0])
    design = make_design(crs="EPSG:4326", shape=(100, 100), transform=(1e-4, 0, x - 1e-3, 0, -1e-4, y + 1e-3))
    ones = np.ones(1)
    points = Points(ones.astype(int), np.array([shapely.Point(x, y)]), ones.astype(int), ones / 10, 100 * ones)
    assert write_sheets(tmp_path / "p.gpkg", points, design, [images]) == 0
    assert _curve((tmp_path / "p_sheets" / "00001.html").read_text())[0] == "2020-04-01: 0.50"


def test_pages_of_before_are_replaced_on_request(
    write: Callable[..., dict[str, str]], write_images: Callable[..., str], tmp_path: Path
) -> None:
    images = write_images()
    write([(35, 20), (36, 20)], images)
    with pytest.raises(UsageError, match="exists already; pass --overwrite"):
        check_sheets(tmp_path / "points.gpkg", overwrite=False)
    check_sheets(tmp_path / "points.gpkg", overwrite=True)
    assert "00002.html" not in write([(35, 20)], images)
