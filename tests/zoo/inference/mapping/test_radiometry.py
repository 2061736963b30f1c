"""Images whose numbers are not those that a network learnt on are remarked on, others are not."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.inference.mapping.chunks import ChunkReader
from cropzoo.inference.mapping.options import MapOptions
from cropzoo.inference.mapping.plan import make_plan
from cropzoo.inference.mapping.radiometry import check_pixel_size, check_radiometry, check_reading

FACTS = {"mean": (0.06, 0.3), "std": (0.03, 0.08)}


def messages(
    scenes: ModuleType, folder: Path, change: Any, clear: Any = None, trained: float = 1e-4, **options: Any
) -> list[str]:
    rng = np.random.default_rng(0)
    red, nir = rng.normal(600, 300, (5, 40, 40)), rng.normal(3000, 800, (5, 40, 40))
    series = change(np.stack([red, nir], axis=1).clip(1, 9000))
    images = scenes.write_images(folder, series, clear)
    plan = make_plan(find_images(images), scenes.make_facts(**FACTS, scale=trained), MapOptions((images,), **options))
    return check_radiometry(plan, ChunkReader(plan))


def numbers(series: Any) -> Any:
    return series.astype(np.uint16)


def test_numbers_as_in_training_are_fine(scenes: ModuleType, tmp_path: Path) -> None:
    assert messages(scenes, tmp_path, numbers) == []


def test_another_season_is_fine(scenes: ModuleType, tmp_path: Path) -> None:
    assert messages(scenes, tmp_path, lambda series: numbers(series + np.array([300, -900])[:, None, None])) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda series: numbers(series + 1000),
            "most in B04: median 0.1.*, training 0.06 ± 0.03.*too high by about 1000.*--offset 1000$",
        ),
        (lambda series: numbers(series * 6.5), "all bands are large: .*pass it with --scale .now 0.0001.$"),
        (lambda series: numbers(series / 8), "all bands are small: "),
        (lambda series: numbers(series[:, ::-1]), "check their unit, offset and processing level"),
    ],
)
def test_what_is_wrong_is_reported(scenes: ModuleType, tmp_path: Path, change: Any, message: str) -> None:
    (line,) = messages(scenes, tmp_path, change)
    assert re.search(message, line), line
    assert len(f"warning: {line}") <= 200
    assert line.count("training 0.") == 1  # the worst band alone


@pytest.mark.parametrize(
    ("unit", "kind", "trained", "message"),
    [
        (
            1.0,
            np.float32,
            1e-4,
            r"10000 times smaller .*median 0\.0\d+, training 600.*reflectance, pass --scale 1",
        ),
        (1e-2, np.float32, 1e-4, "about 100 times smaller .*reflectance in percent, pass --scale 0.01;"),
        (1e-4, np.uint16, 1.0, "about 10000 times larger .*digital numbers, pass --scale 0.0001;"),
        (1e-4, np.float32, 1.0, "about 10000 times larger .*digital numbers, pass --scale 0.0001;"),
    ],
)
def test_another_unit_is_refused_unless_the_scale_is_given(
    scenes: ModuleType, tmp_path: Path, unit: float, kind: Any, trained: float, message: str
) -> None:
    def change(series: Any) -> Any:
        return (series * 1e-4 / unit).astype(kind)

    with pytest.raises(CropzooError, match=message) as refused:
        messages(scenes, tmp_path / "refused", change, trained=trained)
    assert f"to map them as they are, pass --scale {trained:g}" in str(refused.value)
    assert messages(scenes, tmp_path / "right", change, trained=trained, scale=unit) == []
    (line,) = messages(scenes, tmp_path / "wrong", change, trained=trained, scale=trained)
    assert "check their unit" in line


@pytest.mark.parametrize("scale", [None, 1e-4])
@pytest.mark.parametrize("mixed", [1, 4])
def test_dates_of_two_units_are_refused(scenes: ModuleType, tmp_path: Path, scale: float | None, mixed: int) -> None:
    def change(series: Any) -> Any:
        series[mixed] *= 1e-4
        return series.astype(np.float32)

    with pytest.raises(CropzooError, match="have another unit than those of other dates; store all images in one unit"):
        messages(scenes, tmp_path, change, scale=scale)


def test_too_few_clear_pixels_refuse_nothing(scenes: ModuleType, tmp_path: Path) -> None:
    clear = np.zeros((5, 40, 40), bool)
    clear[0, 20, :30] = True
    assert messages(scenes, tmp_path, lambda series: (series * 1e-4).astype(np.float32), clear) == []


@pytest.mark.parametrize(("trained", "lines"), [(10.0, 0), (None, 0), (60.0, 1), (2.5, 1)])
def test_pixels_of_another_size(scenes: ModuleType, tmp_path: Path, trained: float | None, lines: int) -> None:
    images = scenes.write_images(tmp_path, scenes.random_series(8, 8))
    plan = make_plan(find_images(images), scenes.make_facts(pixel_size=trained), MapOptions((images,)))
    found = check_pixel_size(plan)
    assert len(found) == lines
    assert all(f"pixels of 10 m, the training data {trained:.3g} m" in line for line in found)
    assert all(len(f"warning: {line}") <= 200 for line in found)


def reading(scenes: ModuleType, folder: Path, facts: dict[str, Any], **options: Any) -> tuple[Any, list[str]]:
    images = scenes.write_images(folder, scenes.random_series(8, 8))
    plan = make_plan(find_images(images), scenes.make_facts(**facts), MapOptions((images,), **options))
    return plan, check_reading(plan)


@pytest.mark.parametrize(
    ("trained", "given", "used", "lines"),
    [
        ((4, 5, 6, 7), None, (4, 5, 6, 7), 0),
        (None, None, (4, 5, 6), 0),
        (None, (4, 11), (4, 11), 0),
        ((6, 5, 4), (4, 5, 6), (4, 5, 6), 0),
        ((4, 5, 6, 7), (4, 5, 6), (4, 5, 6), 1),
    ],
)
def test_clear_classes_are_those_of_the_training(
    scenes: ModuleType, tmp_path: Path, trained: Any, given: Any, used: tuple[int, ...], lines: int
) -> None:
    plan, messages = reading(scenes, tmp_path, {"clear_scl": trained}, clear_scl=given)
    assert plan.clear_scl == used
    assert len(messages) == lines
    assert all("--clear-scl 4,5,6 differs from the clear classes of the training, 4,5,6,7" in line for line in messages)


@pytest.mark.parametrize(
    ("trained", "given", "lines"), [(1000, None, 1), (0, None, 1), (1000, 1000, 0), (1000, 0, 0), (None, None, 0)]
)
def test_an_offset_given_to_the_training_is_missed(
    scenes: ModuleType, tmp_path: Path, trained: int | None, given: int | None, lines: int
) -> None:
    _, messages = reading(scenes, tmp_path, {"offset": trained}, offset=given)
    assert len(messages) == lines
    assert all(f"pass --offset {trained} if" in line and len(f"warning: {line}") <= 240 for line in messages)


def test_an_offset_that_is_given_is_taken_off_before(scenes: ModuleType, tmp_path: Path) -> None:
    assert messages(scenes, tmp_path, lambda series: numbers(series + 1000), offset=1000) == []


def test_clouds_and_empty_images_tell_nothing(scenes: ModuleType, tmp_path: Path) -> None:
    clear = np.zeros((5, 40, 40), bool)
    assert messages(scenes, tmp_path / "dark", lambda series: numbers(series + 1000), clear) == []
    clear[:, 10:30] = True

    def cloudy(series: Any) -> Any:
        series[:, :, :10] = series[:, :, 30:] = 9000
        return numbers(series)

    assert messages(scenes, tmp_path / "cloudy", cloudy, clear) == []


@pytest.mark.parametrize(("added", "lines"), [((1000, 1000, 1000), 1), ((0, 0, 0), 0), ((300, 900, 1300), 0)])
def test_the_offset_is_seen_where_training_was_as_varied(
    scenes: ModuleType, tmp_path: Path, added: tuple[int, ...], lines: int
) -> None:
    """A thousand is less than two standard deviations of every band here, and all bands have it."""
    facts = scenes.make_facts(bands=("B04", "B08", "B11"), mean=(0.09, 0.3, 0.22), std=(0.07, 0.2, 0.1))
    means = np.array([600, 2800, 2000]) + added
    series = np.random.default_rng(0).normal(means[:, None, None], 200, (5, 3, 40, 40)).clip(1)
    images = scenes.write_images(tmp_path, numbers(series), bands=facts.bands)
    plan = make_plan(find_images(images), facts, MapOptions((images,)))
    messages = check_radiometry(plan, ChunkReader(plan))
    assert len(messages) == lines
    assert all("too high by about 1000" in line for line in messages)
