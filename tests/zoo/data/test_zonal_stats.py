from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.features import rasterize

from cropzoo.data import zonal_stats as measuring
from cropzoo.data.classified_map import open_map
from cropzoo.data.parcel_majority import find_majority
from cropzoo.data.zonal_stats import sum_over_parcels

from ..small_maps import NORTH, WEST

LABELS = [[0, 0, 1, 1], [0, 2, 1, 1], [255, 2, 2, 1]]


def _ground(polygon: Any) -> Any:
    return shapely.transform(polygon, lambda points: points * (10, -10) + (WEST, NORTH))


def _polygons(*shapes: Any) -> Any:
    return np.array([None if shape is None else _ground(shape) for shape in shapes], object)


def test_majority_second_and_nodata_by_shares(make_map: Callable[..., Path]) -> None:
    source = open_map(make_map(LABELS))
    # Rows 0 to 3, columns 0 to 1.5: grass 3 + .5, wheat 1 ( two halves), nodata 1.
    found = find_majority(sum_over_parcels(source, _polygons(shapely.box(0, 0, 1.5, 3))))
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
    found = find_majority(
        sum_over_parcels(source, _polygons(shapely.box(3, 0, 5, 1), shapely.box(40, 40, 41, 41), None))
    )
    assert found.crop.tolist() == [1, -1, -1]
    assert found.nodata.tolist() == pytest.approx([0.5, 1, 1])
    assert np.isnan(found.share[1:]).all()
    assert found.second.tolist() == [-1, -1, -1]


def test_mean_probability_may_tell_another_crop_than_the_majority(make_map: Callable[..., Path]) -> None:
    labels = [[1, 1, 2]]
    probabilities = [[[0.0, 0.0, 0.0]], [[0.52, 0.52, 0.0]], [[0.48, 0.48, 1.0]]]
    found = find_majority(
        sum_over_parcels(open_map(make_map(labels, probabilities)), _polygons(shapely.box(0, 0, 3, 1)))
    )
    assert found.crop[0] == 1
    assert found.likely is not None
    assert found.likely_probability is not None
    assert found.likely[0] == 2
    assert found.likely_probability[0] == pytest.approx((0.48 * 2 + 1) / 3)
    assert found.confidence is not None
    assert found.confidence[0] == pytest.approx((0.52 * 2 + 1) / 3)  # of the largest probability, without its file


def test_confidence_comes_from_its_file_and_nodata_does_not_enter(make_map: Callable[..., Path]) -> None:
    source = open_map(make_map([[0, 0, 255]], confidence=[[0.5, 0.9, 0.0]]))
    found = find_majority(sum_over_parcels(source, _polygons(shapely.box(0, 0, 3, 1))))
    assert found.confidence is not None
    assert found.confidence[0] == pytest.approx(0.7)


def test_interior_leaves_the_edge_out_but_decides_a_narrow_parcel_by_it(make_map: Callable[..., Path]) -> None:
    labels = [[1] * 5, [1, 0, 0, 0, 1], [1] * 5]
    wide, narrow = shapely.box(0.5, 0.05, 4.5, 2.95), shapely.box(0.2, 0.2, 0.8, 2.8)
    measured = sum_over_parcels(open_map(make_map(labels)), _polygons(wide, narrow))
    assert find_majority(measured).crop.tolist() == [1, 1]
    inner = find_majority(measured, interior=True)
    assert inner.crop.tolist() == [0, 1]
    assert inner.interior.tolist() == [True, False]
    assert inner.pixels.tolist() == pytest.approx([3, 1.56])


@pytest.mark.parametrize("labels", [[[1, 1, 0]], [[0, 0, 1]]])
def test_of_equal_shares_the_lower_class_counts(make_map: Callable[..., Path], labels: Any) -> None:
    """In single precision, as pixels are known, .1 and .2 are less than .3."""
    probabilities = [np.equal(labels, number) * 0.8 for number in range(3)]
    parts = shapely.multipolygons([shapely.box(0, 0, 0.1, 1), shapely.box(1, 0, 1.2, 1), shapely.box(2, 0, 2.3, 1)])
    more = shapely.multipolygons([shapely.box(0, 0, 0.5, 1), shapely.box(2, 0, 2.498, 1)])
    found = find_majority(sum_over_parcels(open_map(make_map(labels, probabilities)), _polygons(parts, more)))
    most = labels[0][0]  # of the second parcel, by a thousandth
    assert found.crop.tolist() == [0, most]
    assert found.second.tolist() == [1, 1 - most]
    assert found.likely is not None
    assert found.likely.tolist() == [0, most]


@pytest.mark.parametrize("side", [0.5, 0.02, 0.001])
def test_a_parcel_smaller_than_a_pixel_has_the_crop_of_its_pixel(make_map: Callable[..., Path], side: float) -> None:
    found = find_majority(
        sum_over_parcels(open_map(make_map(LABELS)), _polygons(shapely.box(1.2, 1.2, 1.2 + side, 1.2 + side)))
    )
    assert (found.crop[0], found.second[0], found.inside[0]) == (2, -1, 0)
    assert found.share[0] == 1
    assert found.nodata[0] == pytest.approx(0, abs=0.01)


def test_overlapping_parcels_each_have_all_their_pixels(make_map: Callable[..., Path]) -> None:
    same = shapely.box(0, 0, 2, 2)
    found = find_majority(sum_over_parcels(open_map(make_map(LABELS)), _polygons(same, same, shapely.box(1, 0, 3, 2))))
    assert found.pixels.tolist() == [4, 4, 4]
    assert found.crop.tolist() == [0, 0, 1]


def test_sums_agree_with_rasterio_on_a_grid_twenty_times_finer(make_map: Callable[..., Path]) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, (30, 30))
    labels[12:15, 10:20] = 255
    probabilities = np.rint(250 * rng.dirichlet([1, 1, 1], (30, 30)).transpose(2, 0, 1)) / 250
    shapes = [shapely.Point(*rng.uniform(-2, 32, 2)).buffer(rng.uniform(2, 6)) for _ in range(12)]
    measured = sum_over_parcels(open_map(make_map(labels, probabilities)), _polygons(*shapes))
    for row, shape in enumerate(shapes):
        finer = shapely.transform(shape, lambda points: points * 20)
        share = rasterize([finer], (600, 600)).reshape(30, 20, 30, 20).mean(axis=(1, 3)) * (labels < 255)
        for number in range(3):
            assert measured.all.by_class[row, number] == pytest.approx(share[labels == number].sum(), abs=0.05)
            assert measured.all.probability is not None
            assert measured.all.probability[row, number] == pytest.approx(
                (share * probabilities[number]).sum(), abs=0.05
            )


def test_blocks_change_nothing(make_map: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (40, 50))
    probabilities = rng.dirichlet([1, 1, 1], (40, 50)).transpose(2, 0, 1)
    source = open_map(make_map(labels, probabilities))
    polygons = _polygons(*(shapely.Point(x, y).buffer(6) for x, y in rng.uniform(0, 40, (20, 2))))
    whole = sum_over_parcels(source, polygons)
    monkeypatch.setattr(measuring, "_SIDE", 16)
    pieces = sum_over_parcels(source, polygons)
    np.testing.assert_allclose(pieces.all.by_class, whole.all.by_class, atol=1e-5)
    np.testing.assert_allclose(pieces.all.probability, whole.all.probability, atol=1e-5)
    np.testing.assert_array_equal(pieces.inside.by_class, whole.inside.by_class)
    assert whole.all.pixels.max() > 50


def test_a_map_that_is_turned_has_its_pixels_where_they_are(make_map: Callable[..., Path]) -> None:
    turned = Affine(0, 10, WEST, 10, 0, NORTH)  # rows run east, columns run north
    source = open_map(make_map([[0, 0, 1], [2, 2, 2]], transform=turned))
    east = shapely.box(WEST + 10, NORTH, WEST + 20, NORTH + 30)
    north = shapely.box(WEST, NORTH + 20, WEST + 10, NORTH + 30)
    assert find_majority(sum_over_parcels(source, np.array([east, north]))).crop.tolist() == [2, 1]
