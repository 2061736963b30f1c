"""The page of a map: its numbers without a browser, and what a click shows in a real one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS

from cropzoo.data.classified_map import class_tags, open_map
from cropzoo.data.model_scores import read_model_scores
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Grid
from cropzoo.inference.mapping import page_images as page_pictures
from cropzoo.inference.mapping.options import MapOptions
from cropzoo.inference.mapping.page import _coordinates, collect_page_images, write_map_page
from cropzoo.inference.mapping.page_images import (
    PageImages,
    class_picture,
    picture_size,
    read_curves,
    read_picture,
)
from cropzoo.inference.mapping.plan import make_plan

from .chromium import PROGRAM, Browser

CLASSES = (
    LabelClass("grass", 60, "#33aa33"),
    LabelClass("maize </script><b>x", 201, "#ddbb22"),
    LabelClass("hops", 7, "red;}*{display:none"),
)
HEIGHT, WIDTH = 60, 90
DAYS = ("2019-04-03", "2019-06-12", "2019-08-21")
PLACE = Affine(10, 0, 600_000, 0, -10, 5_650_000)


def _write(path: Path, bands: NDArray[Any], names: tuple[str, ...] = (), **profile: Any) -> Path:
    count, height, width = bands.shape
    profile = {"crs": "EPSG:32631", "transform": PLACE, "dtype": bands.dtype, "driver": "GTiff", **profile}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as file:
        file.write(bands)
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)
        if not names:
            file.update_tags(**class_tags(CLASSES), FIRST_DATE=DAYS[0], LAST_DATE=DAYS[-1])
    return path


def _labels() -> NDArray[np.uint8]:
    """West grass, east maize, the last ten rows without data."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:, 45:], labels[50:] = 1, 255
    return labels


@pytest.fixture
def map_path(tmp_path: Path) -> Path:
    labels = _labels()
    sure = np.where(labels == 255, 255, 100 + 100 * (labels == 1)).astype(np.uint8)
    _write(tmp_path / "map_confidence.tif", sure[None], nodata=255)
    return _write(tmp_path / "map.tif", labels[None], nodata=255)


@pytest.fixture
def series(tmp_path: Path) -> str:
    """Three dates; infrared grows with the date and with the column, the second date is cloudy in the west."""
    for number, day in enumerate(DAYS):
        bands = np.full((5, HEIGHT, WIDTH), 500, np.uint16)
        bands[3] = 1500 + 1000 * number + 10 * np.arange(WIDTH)
        bands[4] = 4
        bands[4, :, :45] = 9 if number == 1 else 4
        _write(tmp_path / "images" / f"S2_{day}.tif", bands, ("B02", "B03", "B04", "B08", "SCL"))
    return str(tmp_path / "images" / "S2_*.tif")


def _shown(series: str, row: int = 0, column: int = 0) -> list[PageImages]:
    return [PageImages(tile, row, column, range(len(tile.dates)), 1e-4) for tile in find_images(series)]


def _ndvi(number: int, column: Any) -> Any:
    infrared = 1500 + 1000 * number + 10 * column
    return (infrared - 500) / (infrared + 500)


def test_a_large_map_has_a_coarser_picture(map_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_pictures, "MAX_SIDE", 30)
    source = open_map(map_path)
    assert picture_size(source.grid) == (20, 30)
    np.testing.assert_array_equal(class_picture(source)[:16], _labels()[1::3, 1::3][:16])


ORDERS = {
    "south-up": (lambda bands: bands[:, ::-1], Affine(1, 0, 0, 0, -1, HEIGHT)),
    "mirrored": (lambda bands: bands[:, :, ::-1], Affine(-1, 0, WIDTH, 0, 1, 0)),
    "turned": (lambda bands: np.rot90(bands, axes=(1, 2)), Affine(0, -1, WIDTH, 1, 0, 0)),
}
"""Other orders of the pixels of the same ground, and the transform from their columns and rows to the upright ones."""


def _reorder(folder: Path, name: str) -> None:
    """Rewrite the rasters of a folder and its subfolders in another order of rows and columns."""
    order, transform = ORDERS[name]
    for path in folder.rglob("*.tif"):
        with rasterio.open(path) as file:
            bands, tags, profile, names = file.read(), file.tags(), file.profile, file.descriptions
        bands = order(bands)
        _, height, width = bands.shape
        with rasterio.open(
            path, "w", **profile | {"height": height, "width": width, "transform": PLACE @ transform}
        ) as file:
            file.write(bands)
            file.update_tags(**tags)
            file.descriptions = names


def _page_data(path: Path) -> dict[str, Any]:
    """Everything that the page of a map draws."""
    text = path.read_text()
    pictures = re.findall(r"data:image/[^<\"]+", text)
    assert len(pictures) == 3
    return {**json.loads(text.partition('id="data">')[2].partition("</script>")[0]), "pictures": pictures}


@pytest.mark.parametrize("name", ORDERS)
def test_the_page_has_north_on_top_whatever_the_order_of_the_pixels(
    map_path: Path, series: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_pictures, "MAX_POINTS", 90)  # a time series for each pixel
    found = []
    for order in ("", name):
        if order:
            _reorder(tmp_path, order)
        write_map_page(tmp_path / "map.html", map_path, _shown(series))
        found.append(_page_data(tmp_path / "map.html"))
    upright, other = found
    assert upright.pop("orientation") != other.pop("orientation")
    assert other == upright
    assert "shown with north on top" in (tmp_path / "map.html").read_text()


def test_the_page_says_where_north_is(map_path: Path, tmp_path: Path) -> None:
    write_map_page(tmp_path / "map.html", map_path)
    assert "north" not in (tmp_path / "map.html").read_text().partition("<main>")[2].partition("<script")[0]
    with rasterio.open(map_path, "r+") as file:
        file.transform = PLACE @ Affine.rotation(20)
    (tmp_path / "map_confidence.tif").unlink()
    write_map_page(tmp_path / "map.html", map_path)
    # Columns run 20° south of east.
    assert "north is 20° left of the top" in (tmp_path / "map.html").read_text()


def test_curves_are_of_clear_pixels_on_one_lattice(series: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cropzoo.inference.mapping.page_images.MAX_POINTS", 18)
    (curves,) = read_curves(_shown(series), HEIGHT, WIDTH)
    assert (curves.step, curves.first_row, curves.first_column, curves.name) == (5, 2, 2, "NDVI")
    assert curves.values.shape == (3, 12, 18)
    columns = np.arange(2, WIDTH, 5)
    for number in (0, 2):
        values = curves.low + curves.values[number, 3] * (curves.high - curves.low) / 250
        np.testing.assert_allclose(values, _ndvi(number, columns), atol=0.0025)
    assert (curves.values[1, :, columns < 45] == 255).all()
    assert (curves.values[1, :, columns >= 45] != 255).all()


@pytest.mark.parametrize(("row", "column"), [(0, 20), (-7, -33), (13, 0)])
def test_a_tile_elsewhere_has_its_points_of_the_same_lattice(
    series: str, row: int, column: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cropzoo.inference.mapping.page_images.MAX_POINTS", 10)
    monkeypatch.setattr("cropzoo.inference.mapping.page_images._STRIP_PIXELS", 300)
    (curves,) = read_curves(_shown(series, row, column), 50, 100)
    assert (curves.first_row - 5) % 10 == (curves.first_column - 5) % 10 == 0
    values = curves.low + curves.values[2, 0] * (curves.high - curves.low) / 250
    at = curves.first_column + 10 * np.arange(len(values)) - column
    np.testing.assert_allclose(values, _ndvi(2, at), atol=0.0025)
    assert at.min() >= 0
    assert at.max() < WIDTH


def test_an_image_that_cannot_be_read_is_not_clear(series: str, tmp_path: Path) -> None:
    shown = _shown(series)
    broken = tmp_path / "images" / f"S2_{DAYS[2]}.tif"
    broken.write_bytes(broken.read_bytes()[:9000])
    (curves,) = read_curves(shown, HEIGHT, WIDTH)
    assert (curves.values[2] == 255).sum() > 0.5 * curves.values[2].size
    assert (curves.values[0] != 255).all()


def test_the_picture_is_as_large_as_the_map_and_gray_where_nothing_is_seen(series: str) -> None:
    shown = _shown(series, row=12)
    grid = Grid(2 * HEIGHT, 2 * WIDTH, PLACE, rasterio.CRS.from_epsg(32631))
    picture = read_picture(shown, read_curves(shown, HEIGHT, WIDTH), grid, upsample=2)
    assert picture is not None
    assert picture.shape == (120, 180, 3)
    assert (picture[:24] == 128).all()
    assert (picture[24:] != 128).all()
    assert read_picture([], [], grid, 1) is None


def test_names_and_colors_from_the_file_are_only_text(map_path: Path, tmp_path: Path) -> None:
    write_map_page(tmp_path / "map.html", map_path)
    text = (tmp_path / "map.html").read_text()
    assert "<b>x" not in text
    assert "display:none" not in text
    assert "maize &lt;/script&gt;" in text
    assert "hops" not in text.partition('id="data"')[0]  # it has no pixel
    for mark in ("http://", "https://"):
        assert text.count(mark) == text.count(f'{mark}www.w3.org/2000/svg"')


def test_areas_are_mapped_and_not_estimated(map_path: Path, tmp_path: Path) -> None:
    write_map_page(tmp_path / "map.html", map_path)
    text = (tmp_path / "map.html").read_text()
    assert re.search(r"[\d,]+ ha mapped in \d+ classes", text)
    assert "Mapped areas, not estimated</h3>" in text
    assert "they are counts of pixels and contain the errors of the map" in text


def test_a_failure_leaves_the_page_that_stood_there(map_path: Path, tmp_path: Path) -> None:
    (tmp_path / "map.html").write_text("mine")
    map_path.write_bytes(map_path.read_bytes()[:300])
    with pytest.raises(CropzooError, match=r"map\.tif"):
        write_map_page(tmp_path / "map.html", map_path)
    assert (tmp_path / "map.html").read_text() == "mine"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip("there is no chromium")
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def opened(browser: Browser, map_path: Path, series: str, tmp_path: Path) -> Callable[..., Browser]:
    """`opened(anchor, **view)` is a browser that shows the page of the map."""
    write_map_page(tmp_path / "map.html", map_path, _shown(series), title="My <map>")
    browser.complaints.clear()
    browser.asked.clear()

    def show(anchor: str = "", **view: Any) -> Browser:
        browser.open(tmp_path / "map.html", anchor, **view)
        return browser

    return show


STAGE_BOX = "document.getElementById('stage').getBoundingClientRect()"


def _center(browser: Browser, row: float, column: float) -> tuple[float, float]:
    """Where a pixel of the map is in the view."""
    left, top, width, height = browser.value(f"(b => [b.left, b.top, b.width, b.height])({STAGE_BOX})")
    return left + width * column / WIDTH, top + height * row / HEIGHT


def test_a_click_shows_crop_confidence_place_and_curve(opened: Callable[..., Browser]) -> None:
    browser = opened()
    assert browser.text("h1") == "My <map>"
    assert browser.value("document.getElementById('chart').hidden")
    browser.click(*_center(browser, 20.5, 70.5))
    place = browser.text("#place")
    assert "maize </script><b>x" in place
    assert "confidence 80 %" in place
    assert "row 20, column 70" in place
    assert "longitude 4.4" in place
    assert browser.text("#chart-where").startswith("this pixel, 3 of 3 dates clear, 2019-04-03 to 2019-08-21")
    titles = browser.value("[...document.querySelectorAll('#chart circle title')].map(t => t.textContent)")
    assert titles == [f"{day}: {_ndvi(number, 70):.2f}" for number, day in enumerate(DAYS)]
    browser.click(*_center(browser, 20.5, 10.5))  # cloudy there on the second date
    assert browser.text("#chart-where").startswith("this pixel, 2 of 3 dates clear")
    browser.click(*_center(browser, 55.5, 10.5))
    assert "no data" in browser.text("#place")
    assert "confidence" not in browser.text("#place")
    assert browser.value("location.hash") == "#at=55,10"
    assert not browser.complaints
    assert all(url.startswith(("file:", "data:", "about:")) for url in browser.asked)


@pytest.mark.parametrize("name", ORDERS)
def test_a_click_shows_the_row_and_column_of_the_file(
    browser: Browser, map_path: Path, series: str, tmp_path: Path, name: str
) -> None:
    _reorder(tmp_path, name)
    write_map_page(tmp_path / "map.html", map_path, _shown(series))
    browser.open(tmp_path / "map.html")
    browser.click(*_center(browser, 20.5, 70.5))  # in the upright map
    place = browser.text("#place")
    column, row = (int(value) for value in ~ORDERS[name][1] @ (70.5, 20.5))
    assert "maize" in place
    assert f"row {row}, column {column}" in place
    assert browser.value("location.hash") == f"#at={row},{column}"
    browser.open(tmp_path / "map.html", f"#at={row},{column}")
    assert browser.text("#place") == place
    titles = browser.value("[...document.querySelectorAll('#chart circle title')].map(t => t.textContent)")
    assert titles == [f"{day}: {_ndvi(number, 70):.2f}" for number, day in enumerate(DAYS)]


def test_keys_move_the_mark_and_zoom(opened: Callable[..., Browser]) -> None:
    browser = opened("#at=20,40")
    assert "grass" in browser.text("#place")
    browser.value("document.getElementById('view').focus()")
    browser.press("ArrowRight", shift=True)
    assert "row 20, column 50" in browser.text("#place")
    assert "maize" in browser.text("#place")
    browser.press("ArrowUp")
    assert "row 19, column 50" in browser.text("#place")
    width = "document.getElementById('stage').getBoundingClientRect().width"
    before = browser.value(width)
    browser.press("+")
    assert browser.value(width) == pytest.approx(1.5 * before)
    browser.press("0")
    assert browser.value(width) == pytest.approx(before)


def test_dragging_moves_the_map_and_selects_nothing(opened: Callable[..., Browser]) -> None:
    browser = opened()
    before = _center(browser, 20, 20)
    left = browser.value(f"{STAGE_BOX}.left")
    browser.click(*before, to=(before[0] + 60, before[1] + 25))
    browser.wait(f"{STAGE_BOX}.left !== {left}")  # a busy machine draws later
    after = _center(browser, 20, 20)
    assert (after[0] - before[0], after[1] - before[1]) == pytest.approx((60, 25), abs=0.1)
    assert browser.value("location.hash") == ""


def test_layers_and_classes_can_be_taken_off(opened: Callable[..., Browser]) -> None:
    browser = opened()

    def colors(name: str) -> list[list[int]]:
        read = "c.getContext('2d').getImageData({}, 20, 1, 1).data"
        both = ", ".join(f"[...{read.format(column)}]" for column in (20, 70))
        found: list[list[int]] = browser.value(f"(c => [{both}])(document.getElementById('{name}'))")
        return found

    assert colors("classes") == [[0x33, 0xAA, 0x33, 255], [0xDD, 0xBB, 0x22, 255]]
    browser.value("document.querySelector('[data-class=\"1\"]').click()")
    assert colors("classes") == [[0x33, 0xAA, 0x33, 255], [0, 0, 0, 0]]
    browser.value("document.querySelector('[value=confidence]').click()")
    assert browser.value("document.getElementById('classes').hidden")
    assert not browser.value("document.getElementById('confidence').hidden")
    assert len({tuple(color) for color in colors("confidence")}) == 2
    browser.value("document.querySelector('[value=none]').click()")
    assert browser.value("[...document.querySelectorAll('canvas.layer')].every(c => c.hidden)")


def test_a_phone_shows_it_without_scrolling_sideways(opened: Callable[..., Browser]) -> None:
    browser = opened("#at=20,40", width=360, height=720, phone=True)
    assert browser.value("document.documentElement.scrollWidth") <= 360
    assert browser.value("document.getElementById('view').clientWidth") > 300
    assert browser.value("document.querySelector('#chart svg').getBoundingClientRect().width") > 280


def test_a_plan_tells_which_images_and_where(scenes: ModuleType, tmp_path: Path) -> None:
    """Two tiles side by side, one season of them, and the page's curves are those of the images."""
    series = [scenes.random_series(16, 16, seed=seed) for seed in range(2)]
    folders = [tmp_path / name for name in ("T31UFS", "T31UFT")]
    images = [
        scenes.write_images(folder, values, corner=(0, 12 * number))
        for number, (folder, values) in enumerate(zip(folders, series, strict=True))
    ]
    options = MapOptions(tuple(images), season_start="2019-04-01", season_end="2019-07-01")
    plan = make_plan(find_images(images), scenes.make_facts(), options)
    shown = collect_page_images(plan)
    assert [(each.row, each.column, tuple(each.used)) for each in shown] == [(0, 0, (1, 2, 3)), (0, 12, (1, 2, 3))]
    curves = read_curves(shown, plan.grid.height, plan.grid.width)
    red, infrared = series[1][2].astype(float)
    expected = np.clip(np.rint(250 * ((infrared - red) / (infrared + red) + 0.2) / 1.2), 0, 250)
    assert (curves[1].first_column, curves[1].step) == (12, 1)
    np.testing.assert_array_equal(curves[1].values[1], expected)


@pytest.mark.parametrize(("miou", "below"), [(0.1, True), (0.7, False)])
def test_the_scores_of_the_model_are_on_the_page(map_path: Path, tmp_path: Path, miou: float, below: bool) -> None:
    scores = {"oa": 0.9, "miou": miou, "baseline": {"name": "<knn>", "oa": 0.8, "miou": 0.6}}
    with rasterio.open(map_path, "r+") as file:
        file.update_tags(**read_model_scores(scores, "tsvit", "fields").as_tags([each.name for each in CLASSES]))
    write_map_page(tmp_path / "map.html", map_path)
    html = (tmp_path / "map.html").read_text()
    shown = f"test OA 90.0 %, mIoU {100 * miou:.1f} % (&lt;knn&gt; baseline 80.0 %, 60.0 %), dataset fields"
    assert shown in html
    assert ("The model scores below its &lt;knn&gt; baseline in mIoU (10.0 against 60.0 %)." in html) == below


def test_longitudes_have_no_jump_at_180_degrees() -> None:
    x, y = (round(value) for value in Transformer.from_crs(4326, 32701, always_xy=True).transform(-180, -16.8))
    found = _coordinates(Grid(64, 64, Affine(10, 0, x - 320, 0, -10, y), CRS.from_epsg(32701)))
    assert np.ptp(found["longitude"]) < 0.01
    assert abs(np.mean(found["longitude"])) == pytest.approx(180, abs=0.01)
