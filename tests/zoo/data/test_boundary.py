from __future__ import annotations

import numpy as np
import pytest

from cropzoo.data.boundary import (
    CLASS_BOUNDARY,
    DISTANCE_SHIFT,
    MAX_DISTANCE,
    OF_PARCELS,
    PARCEL_BOUNDARY,
    boundary_bits,
)


def by_window(values: np.ndarray, ignore: int | None) -> np.ndarray:
    """The definition, written out: more than one value in the clipped 3 x 3 window."""
    out = np.zeros(values.shape, bool)
    for row, column in np.ndindex(*values.shape):
        window = values[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        out[row, column] = len(set(window.ravel().tolist()) - {ignore}) > 1
    return out


def edges(labels: np.ndarray, parcels: np.ndarray | None = None) -> np.ndarray:
    return boundary_bits(labels, parcels) & (CLASS_BOUNDARY | PARCEL_BOUNDARY)


def distances(labels: np.ndarray, parcels: np.ndarray | None = None) -> np.ndarray:
    return boundary_bits(labels, parcels) >> DISTANCE_SHIFT


def by_pairs(edge: np.ndarray) -> np.ndarray:
    """The definition, written out: one more than the chessboard distance to the nearest pixel of the edge."""
    out = np.full(edge.shape, MAX_DISTANCE)
    places = np.argwhere(edge)
    for place in np.ndindex(*edge.shape) if len(places) else ():
        out[place] = min(MAX_DISTANCE, 1 + np.abs(places - place).max(axis=1).min())
    return out


def test_classes_side_by_side() -> None:
    labels = np.array([[1, 1, 1, 2, 2]] * 3, np.uint8)
    assert edges(labels).tolist() == [[0, 0, 1, 1, 0]] * 3


def test_corner_neighbors_count() -> None:
    labels = np.zeros((4, 4), np.int64)
    labels[3, 3] = 5
    assert edges(labels).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]


def test_ignored_neighbors_make_no_boundary() -> None:
    labels = np.array([[1, 255, 2]], np.uint8)
    assert edges(labels).tolist() == [[0, 1, 0]]
    assert not edges(np.full((3, 3), 255, np.uint8)).any()


def test_parcels_of_one_crop_have_a_parcel_boundary_only() -> None:
    labels = np.ones((1, 4), np.uint8)
    parcels = np.array([[7, 7, 9, 9]], np.int32)
    assert edges(labels, parcels).tolist() == [[0, PARCEL_BOUNDARY, PARCEL_BOUNDARY, 0]]


def test_no_parcel_counts_as_one_parcel() -> None:
    labels = np.array([[3, 3, 3, 4]], np.uint8)
    parcels = np.array([[0, 0, 8, 8]], np.int32)
    both = CLASS_BOUNDARY | PARCEL_BOUNDARY
    assert edges(labels, parcels).tolist() == [[0, PARCEL_BOUNDARY, both, CLASS_BOUNDARY]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (2, 2), (17, 23)])
def test_equals_the_definition_on_random_maps(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(3)
    labels = generator.choice([0, 0, 0, 0, 4, 254, 255], shape).astype(np.uint8)
    parcels = generator.choice([0, 0, 0, 0, 1, 2**31 - 1], shape).astype(np.int32)
    before = labels.copy(), parcels.copy()
    bits = boundary_bits(labels, parcels)
    assert bits.dtype == np.uint8
    np.testing.assert_array_equal(bits & CLASS_BOUNDARY != 0, by_window(labels, 255))
    np.testing.assert_array_equal(bits & PARCEL_BOUNDARY != 0, by_window(parcels, None))
    np.testing.assert_array_equal(labels, before[0])
    np.testing.assert_array_equal(parcels, before[1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (40, 2), (33, 41)])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.05])
def test_distance_equals_the_definition_on_random_maps(shape: tuple[int, int], share: float) -> None:
    generator = np.random.default_rng(5)
    labels = np.where(generator.random(shape) < share, 2, 0).astype(np.uint8)
    labels[generator.random(shape) < 0.02] = 255
    parcels = np.where(generator.random(shape) < share, 9, 0).astype(np.int32)
    np.testing.assert_array_equal(distances(labels), by_pairs(by_window(labels, 255)))
    np.testing.assert_array_equal(distances(labels, parcels), by_pairs(by_window(parcels, None)))


def test_distance_is_to_parcels_where_there_are_some() -> None:
    labels = np.array([[0, 0, 0, 0, 1, 1]], np.uint8)
    parcels = np.array([[5, 6, 6, 6, 6, 6]], np.int32)
    assert distances(labels).tolist() == [[4, 3, 2, 1, 1, 2]]
    assert not (boundary_bits(labels) & OF_PARCELS).any()
    assert distances(labels, parcels).tolist() == [[1, 1, 2, 3, 4, 5]]
    assert (boundary_bits(labels, parcels) & OF_PARCELS).all()


def test_distance_ends_at_the_most() -> None:
    labels = np.zeros((1, 12), np.uint8)
    labels[0, 0] = 1
    assert distances(labels).tolist() == [[1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8]]
    assert (distances(np.zeros((9, 9), np.uint8)) == MAX_DISTANCE).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        boundary_bits(np.zeros((2, 2)), np.zeros((3, 3)))
