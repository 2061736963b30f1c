from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine

from cropzoo.mapping.map_file import open_map
from cropzoo.zonal import measuring
from cropzoo.zonal.deciding import decide
from cropzoo.zonal.measuring import measure

from .conftest import NORTH, WEST

LABELS = [[0, 0, 1, 1], [0, 2, 1, 1], [255, 2, 2, 1]]


def _ground(polygon: Any) -> Any:
    return shapely.transform(polygon, lambda points: points * (10, -10) + (WEST, NORTH))


def _polygons(*shapes: Any) -> Any:
    return np.array([None if shape is None else _ground(shape) for shape in shapes], object)


def test_majority_second_and_nodata_by_shares(make_map: Callable[..., Path]) -> None:
    source = open_map(make_map(LABELS))
    # Rows 0 to 3, columns 0 to 1.5: grass 3 + .5, wheat 1 ( two halves), nodata 1.
    found = decide(measure(source, _polygons(shapely.box(0, 0, 1.5, 3))))
    assert (found.crop[0], found.second[0]) == (0, 2)
    assert found.share[0] == pytest.approx(2.5 / 3.5)
    assert found.second_share[0] == pytest.approx(1 / 3.5)
    assert found.pixels[0] == pytest.approx(3.5)
    assert found.inside[0] == 2
    assert found.nodata[0] == pytest.approx(1 / 4.5)
    assert found.likely is None
    assert found.confidence is None


def test_ground_outside_the_map_is_nodata_and_a_parcel_there_has_none(make_map: Callable[..., Path]) -> None:
    source = open_map(make_map(LABELS))
    found = decide(measure(source, _polygons(shapely.box(3, 0, 5, 1), shapely.box(40, 40, 41, 41), None)))
    assert found.crop.tolist() == [1, -1, -1]
    assert found.nodata.tolist() == pytest.approx([0.5, 1, 1])
    assert np.isnan(found.share[1:]).all()
    assert found.second.tolist() == [-1, -1, -1]


def test_mean_probability_may_tell_another_crop_than_the_majority(make_map: Callable[..., Path]) -> None:
    labels = [[1, 1, 2]]
    chances = [[[0.0, 0.0, 0.0]], [[0.52, 0.52, 0.0]], [[0.48, 0.48, 1.0]]]
    found = decide(measure(open_map(make_map(labels, chances)), _polygons(shapely.box(0, 0, 3, 1))))
    assert found.crop[0] == 1
    assert found.likely is not None
    assert found.likely_chance is not None
    assert found.likely[0] == 2
    assert found.likely_chance[0] == pytest.approx((0.48 * 2 + 1) / 3)
    assert found.confidence is not None
    assert found.confidence[0] == pytest.approx((0.52 * 2 + 1) / 3)  # of the largest probability, without its file


def test_confidence_comes_from_its_file_and_nodata_does_not_enter(make_map: Callable[..., Path]) -> None:
    source = open_map(make_map([[0, 0, 255]], confidence=[[0.5, 0.9, 0.0]]))
    found = decide(measure(source, _polygons(shapely.box(0, 0, 3, 1))))
    assert found.confidence is not None
    assert found.confidence[0] == pytest.approx(0.7)


def test_interior_leaves_the_edge_out_but_decides_a_narrow_parcel_by_it(make_map: Callable[..., Path]) -> None:
    labels = [[1] * 5, [1, 0, 0, 0, 1], [1] * 5]
    wide, narrow = shapely.box(0.5, 0.05, 4.5, 2.95), shapely.box(0.2, 0.2, 0.8, 2.8)
    measured = measure(open_map(make_map(labels)), _polygons(wide, narrow))
    assert decide(measured).crop.tolist() == [1, 1]
    inner = decide(measured, interior=True)
    assert inner.crop.tolist() == [0, 1]
    assert inner.interior.tolist() == [True, False]
    assert inner.pixels.tolist() == pytest.approx([3, 1.56])


def test_blocks_change_nothing(make_map: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (40, 50))
    chances = rng.dirichlet([1, 1, 1], (40, 50)).transpose(2, 0, 1)
    source = open_map(make_map(labels, chances))
    polygons = _polygons(*(shapely.Point(x, y).buffer(6) for x, y in rng.uniform(0, 40, (20, 2))))
    whole = measure(source, polygons)
    monkeypatch.setattr(measuring, "_SIDE", 16)
    pieces = measure(source, polygons)
    np.testing.assert_allclose(pieces.all.by_class, whole.all.by_class, atol=1e-5)
    np.testing.assert_allclose(pieces.all.chance, whole.all.chance, atol=1e-5)
    np.testing.assert_array_equal(pieces.inside.by_class, whole.inside.by_class)
    assert whole.all.pixels.max() > 50


def test_a_map_that_is_turned_has_its_pixels_where_they_are(make_map: Callable[..., Path]) -> None:
    turned = Affine(0, 10, WEST, 10, 0, NORTH)  # rows run east, columns run north
    source = open_map(make_map([[0, 0, 1], [2, 2, 2]], transform=turned))
    east = shapely.box(WEST + 10, NORTH, WEST + 20, NORTH + 30)
    north = shapely.box(WEST, NORTH + 20, WEST + 10, NORTH + 30)
    assert decide(measure(source, np.array([east, north]))).crop.tolist() == [2, 1]
