from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from cropzoo import CropzooError, LabelClass, Sample
from cropzoo.reports import ReportPatch, rgb_image, save_patches
from cropzoo.reports.patches import AT_CLASS, AT_PARCEL, IGNORED, WRONG, draw_panels

JULY, JANUARY = 18444, 18262  # 2020-07-01 and 2020-01-01 in days since 1970
BANDS = ("B02", "B08", "B03", "B04")


def a_sample(dates: list[int], **more: object) -> Sample:
    """Each date's B04 rises from top to bottom, at July 2020 from left to right; the other bands are flat."""
    series = np.full((len(dates), 4, 8, 8), 500, np.uint16)
    ramp = np.repeat(np.arange(8) * 300, 8).reshape(8, 8)
    for t, day in enumerate(dates):
        series[t, 3] = ramp.T if day == JULY else ramp
    return Sample(series, np.array(dates, np.int32), **more)  # type: ignore[arg-type]


def hexed(pixel: np.ndarray) -> str:
    return "#" + "".join(f"{value:02x}" for value in pixel)


def test_summer_is_shown_red_first_and_stretched() -> None:
    image = rgb_image(a_sample([JANUARY, JULY, JULY + 184]), BANDS, 1e-4)
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.float32
    assert image[:, 0, 0].max() == 0
    assert image[:, 7, 0].min() == 1
    assert np.unique(image[..., 1:]).size == 1


def test_the_southern_summer_is_in_january() -> None:
    place = {"crs": "EPSG:32735", "transform": [10, 0, 0, 0, -10, 0]}
    image = rgb_image(a_sample([JANUARY, JULY], place=place), BANDS, 1e-4)
    assert image[0, :, 0].max() == 0
    assert image[7, :, 0].min() == 1


def test_clouds_do_not_show() -> None:
    days = [JULY, JULY + 5, JULY + 10]
    plain = a_sample([JULY] * 3)
    series = plain.series.copy()
    clear = np.ones((3, 8, 8), bool)
    series[0, :, :4], clear[0, :4] = 9000, False
    series[1, :, 2:], clear[1, 2:] = 9000, False
    cloudy = replace(plain, series=series, dates=np.array(days, np.int32), clear=clear)
    np.testing.assert_array_equal(rgb_image(cloudy, BANDS, 1e-4), rgb_image(plain, BANDS, 1e-4))


def test_without_a_mask_the_hazy_and_the_empty_come_last() -> None:
    plain = a_sample([JULY] * 5)
    series = plain.series.copy()
    series[0] += 4000
    series[1] = 0
    dates = np.arange(JULY, JULY + 5, dtype=np.int32)
    hazy = replace(plain, series=series, dates=dates)
    np.testing.assert_array_equal(rgb_image(hazy, BANDS, 1e-4), rgb_image(plain, BANDS, 1e-4))


@pytest.mark.parametrize("bands", [("x", "y"), ("VV",)])
def test_other_bands_in_their_order(bands: tuple[str, ...]) -> None:
    series = np.linspace(0, 1, 2 * len(bands) * 9).reshape(2, len(bands), 3, 3).astype(np.float32)
    series[0, 0, 0, 0] = np.nan
    image = rgb_image(Sample(series, np.array([10, 20], np.int32)), bands, 1.0)
    assert image.shape == (3, 3, 3)
    assert np.isfinite(image).all()
    assert image.max() == 1


def test_panels_mark_what_they_say(classes: tuple[LabelClass, ...]) -> None:
    labels = np.array([[0, 0, 1, 255]], np.uint8)
    prediction = np.array([[0, 2, 1, 1]], np.uint8)
    boundary = np.array([[0, 2, 3, 1]], np.uint8)
    patch = ReportPatch("p", np.full((1, 4, 3), 0.5), labels, prediction, boundary, np.linspace(0, 1, 4)[None])
    shown = {title: [hexed(pixel) for pixel in picture[0]] for title, picture in draw_panels(patch, classes)}
    pale = shown["Errors"][0]
    assert list(shown) == ["Image", "Labels", "Prediction", "Errors", "Boundary", "Confidence"]
    assert shown["Labels"] == ["#44aa55", "#44aa55", "#eecc22", IGNORED]
    assert shown["Prediction"] == ["#44aa55", "#aa3366", "#eecc22", "#eecc22"]
    assert shown["Errors"] == [pale, WRONG, pale, IGNORED]
    assert shown["Boundary"] == [pale, AT_PARCEL, AT_CLASS, IGNORED]
    assert len(set(shown["Confidence"])) == 4
    assert patch.accuracy == pytest.approx(2 / 3)


def test_an_image_coarser_than_its_labels(patches: list[ReportPatch], classes: tuple[LabelClass, ...]) -> None:
    coarse = replace(patches[0], image=patches[0].image[::2, ::2])
    assert {picture.shape for _, picture in draw_panels(coarse, classes)} == {(12, 16, 3)}


def test_save_patches(tmp_path: Path, patches: list[ReportPatch], classes: tuple[LabelClass, ...]) -> None:
    path = tmp_path / "deep" / "map.png"
    save_patches(path, patches, classes)
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] > 1000
    levels = (picture[..., :3] * 255).round().astype(np.int64)
    colors = {f"#{code:06x}" for code in np.unique(levels @ [65536, 256, 1])}
    assert {"#44aa55", "#eecc22", "#aa3366", WRONG, AT_CLASS} <= colors
    with pytest.raises(ValueError, match="at least one"):
        save_patches(path, [], classes)
    with pytest.raises(CropzooError, match="cannot write"):
        save_patches(path / "inside-a-file.png", patches, classes)
