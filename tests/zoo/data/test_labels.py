"""Labels of small parcels, worked out by hand. Polygons are in columns (x) and rows (y) of pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from shapely import MultiPolygon, Polygon, box

from cropzoo import UsageError
from cropzoo.data.labels import LabelOptions, LabelRaster, bare_ground, rasterize_labels
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.aoi import AreaOfInterest
from cropzoo.geo.vector.parcel_table import ParcelTable

Lay = Callable[..., LabelRaster]


@pytest.fixture
def lay(make_grid: Callable[..., Grid], make_table: Callable[..., ParcelTable]) -> Lay:
    """`lay(*polygons, index_of=None, size=(1, 1), **options)`: their labels on a grid; parcel i is of class i."""

    def lay_on(*polygons: Any, index_of: Any = None, size: tuple[int, int] = (1, 1), **options: Any) -> LabelRaster:
        indices = range(1, len(polygons) + 1) if index_of is None else index_of
        return rasterize_labels(
            make_table(polygons), [*indices], make_grid(*size), Window(0, 0, *size), LabelOptions(**options)
        )

    return lay_on


def check(found: LabelRaster, labels: Any, parcels: Any, conflicts: int = 0) -> None:
    """Labels, parcel ids and the number of conflicts are these."""
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.parcels, parcels)
    assert found.conflicts == conflicts
    assert found.labels.dtype == np.uint8
    assert found.parcels.dtype == np.int32
    np.testing.assert_array_equal(found.counts, np.bincount(np.ravel(labels), minlength=256))


def test_a_hole_is_no_parcel(lay: Lay) -> None:
    ring = Polygon(box(0, 0, 4, 4).exterior, [box(1, 1, 3, 3).exterior])
    wanted = [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    check(lay(ring, size=(4, 4)), wanted, wanted)


def test_a_parcel_in_the_hole_of_another(lay: Lay) -> None:
    ring = Polygon(box(0, 0, 3, 3).exterior, [box(1, 1, 2, 2).exterior])
    wanted = [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    check(lay(ring, box(1, 1, 2, 2), size=(3, 3)), wanted, wanted)


def test_all_parts_of_a_multi_polygon_count(lay: Lay) -> None:
    parts = MultiPolygon([box(0, 0, 1, 1), box(2, 0, 4, 1)])
    check(lay(parts, size=(1, 4)), [[1, 0, 1, 1]], [[1, 0, 1, 1]])


def test_touching_parcels_leave_no_gap_and_no_conflict(lay: Lay) -> None:
    found = lay(box(0, 0, 2, 2), box(2, 0, 4, 2), box(0, 2, 4, 4), size=(4, 4))
    wanted = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 3, 3], [3, 3, 3, 3]]
    check(found, wanted, wanted)


@pytest.mark.parametrize("edge", [0.125, 0.375, 0.5, 0.625])
def test_an_edge_through_the_centers_of_cells_leaves_no_gap(lay: Lay, edge: float) -> None:
    found = lay(box(-1, -1, edge, 3), box(edge, -1, 3, 3), size=(2, 2), conflict=0.5)
    assert not np.any(found.labels == 0)
    np.testing.assert_array_equal(found.labels[:, 1], [2, 2])


def test_edges_that_projecting_moved_by_a_millionth_lie_on_the_grid(lay: Lay) -> None:
    apart = box(0, 0, 0.5 - 1e-7, 1), box(0.5 + 1e-7, 0, 2, 1)
    found = lay(*apart, size=(1, 2), oversample=1)
    assert found.labels[0, 0] in (1, 2)
    touching = box(0, 0, 0.5, 1), box(0.5, 0, 2, 1)
    np.testing.assert_array_equal(found.labels, lay(*touching, size=(1, 2), oversample=1).labels)


@pytest.mark.parametrize(
    ("oversample", "edge", "conflict", "label"),
    [
        (4, 0.75, 0.4, 1),  # 75/25
        (4, 0.25, 0.4, 2),  # 25/75
        (4, 0.5, 0.4, 255),  # 50/50
        (4, 0.5, 0.5, 1),  # a tie goes to the lower index
        (5, 0.6, 0.4, 1),  # 60/40 is not more than 0.4
        (5, 0.6, 0.39, 255),
        (5, 0.4, 0.4, 2),
        (1, 0.6, 0.4, 1),
    ],
)
def test_two_crops_in_a_pixel(lay: Lay, oversample: int, edge: float, conflict: float, label: int) -> None:
    found = lay(box(0, 0, edge, 1), box(edge, 0, 1, 1), oversample=oversample, conflict=conflict)
    check(found, [[label]], [[2 if edge < 0.5 else 1]], conflicts=int(label == 255))


def test_a_share_in_decimals_is_exact(lay: Lay) -> None:
    # 29 of 100 cells; 0.29 * 100 is a little less than 29.
    smaller = box(0, 0, 1, 0.2).union(box(0, 0.2, 0.9, 0.3))
    larger = box(0, 0, 1, 1).difference(smaller)
    check(lay(larger, smaller, oversample=10, conflict=0.29), [[1]], [[1]])
    check(lay(larger, smaller, oversample=10, conflict=0.28), [[255]], [[1]], conflicts=1)


def test_a_tie_goes_to_the_lower_index_and_not_to_the_first_parcel(lay: Lay) -> None:
    check(lay(box(0, 0, 0.5, 1), box(0.5, 0, 1, 1), index_of=(7, 3), conflict=0.5), [[3]], [[2]])


def test_three_crops_in_a_pixel(lay: Lay) -> None:
    left, top, bottom = box(0, 0, 0.5, 1), box(0.5, 0, 1, 0.5), box(0.5, 0.5, 1, 1)
    check(lay(left, top, bottom), [[1]], [[1]])
    # Two of one class have half of the pixel together: no longer the smaller ones.
    check(lay(left, top, bottom, index_of=(1, 2, 2)), [[255]], [[1]], conflicts=1)
    check(lay(left, top, bottom, index_of=(3, 2, 2), conflict=0.5), [[2]], [[2]])


def test_ground_without_parcel_is_in_no_conflict(lay: Lay) -> None:
    check(lay(box(0, 0, 0.5, 1)), [[0]], [[0]])
    check(lay(box(0, 0, 0.75, 1)), [[1]], [[1]])
    check(lay(box(0, 0, 0.25, 1), box(0.75, 0, 1, 1)), [[0]], [[0]])
    check(lay(box(0, 0, 0.5, 1), box(0.5, 0, 0.75, 1)), [[1]], [[1]])


def test_crops_of_one_class_are_in_no_conflict(lay: Lay) -> None:
    check(lay(box(0, 0, 0.5, 1), box(0.5, 0, 1, 1), index_of=(1, 1)), [[1]], [[1]])
    check(lay(box(0, 0, 0.25, 1), box(0.25, 0, 1, 1), index_of=(1, 1)), [[1]], [[2]])


def test_parcels_that_overlap_share_their_cells(lay: Lay) -> None:
    # The second lies on the right half of the first: 3/4 and 1/4 of the pixel.
    check(lay(box(0, 0, 1, 1), box(0.5, 0, 1, 1)), [[1]], [[1]])
    check(lay(box(0.5, 0, 1, 1), box(0, 0, 1, 1)), [[2]], [[2]])
    # Declared twice: half and half.
    check(lay(box(0, 0, 1, 1), box(0, 0, 1, 1)), [[255]], [[1]], conflicts=1)
    check(lay(box(0, 0, 1, 1), box(0, 0, 1, 1), index_of=(2, 2)), [[2]], [[1]])
    check(lay(box(0, 0, 1, 1), box(0, 0, 1, 1), oversample=1), [[255]], [[1]], conflicts=1)


def test_ignored_crops(lay: Lay) -> None:
    check(lay(box(0, 0, 1, 1), index_of=(255,)), [[255]], [[1]])
    check(lay(box(0, 0, 0.25, 1), box(0.25, 0, 1, 1), index_of=(1, 255)), [[255]], [[2]])
    check(lay(box(0, 0, 0.75, 1), box(0.75, 0, 1, 1), index_of=(1, 255)), [[1]], [[1]])
    check(lay(box(0, 0, 0.5, 1), box(0.5, 0, 1, 1), index_of=(1, 255)), [[255]], [[1]], conflicts=1)
    # Two ignored crops have most of it together.
    thirds = box(0, 0, 0.5, 1), box(0.5, 0, 1, 0.5), box(0.5, 0.5, 1, 1)
    check(lay(*thirds, index_of=(0, 255, 255), conflict=0.4), [[0]], [[1]])


def test_ground_without_parcel_can_be_ignored(lay: Lay) -> None:
    found = lay(box(0, 0, 1, 1), box(1, 0, 1.75, 1), box(2, 0, 2.25, 1), size=(1, 4), background=255)
    check(found, [[1, 2, 255, 255]], [[1, 2, 0, 0]])
    check(lay(box(0, 0, 0.5, 1), background=255), [[1]], [[1]])
    halves = box(0, 0, 0.5, 1), box(0.5, 0, 1, 1)
    check(lay(*halves, index_of=(1, 255), background=255), [[255]], [[1]], conflicts=1)
    check(lay(box(0, 0, 0.25, 1), box(0.25, 0, 0.5, 1), index_of=(1, 255), background=255), [[255]], [[0]])


@pytest.fixture
def aoi(on_ground: Callable[[Any], Any]) -> AreaOfInterest:
    """The columns up to 1.6: the centers of columns 0 and 1 are inside."""
    return AreaOfInterest(Path("aoi.gpkg"), np.array([on_ground(box(-5, -5, 1.6, 9))]), pyproj.CRS(32631))


def test_ground_outside_the_area_of_complete_parcels_is_ignored(lay: Lay, aoi: AreaOfInterest) -> None:
    parts = box(0, 0, 1, 1), box(2, 0, 3, 1), box(3, 0, 3.25, 1)
    check(lay(*parts, size=(2, 4), aoi=aoi), [[1, 0, 2, 255], [0, 0, 255, 255]], [[1, 0, 2, 0], [0, 0, 0, 0]])
    check(lay(box(2, 0, 3, 1), index_of=(0,), size=(1, 4), aoi=aoi), [[0, 0, 0, 255]], [[0, 0, 1, 0]])
    check(lay(box(0, 0, 1, 1), size=(1, 3), aoi=aoi, background=255), [[1, 255, 255]], [[1, 0, 0]])


def test_finer_labels_end_where_the_area_does(lay: Lay, aoi: AreaOfInterest) -> None:
    labels = lay(box(2, 0, 3, 1), size=(1, 3), aoi=aoi, label_scale=4).labels
    np.testing.assert_array_equal(labels[0], [*[0] * 6, *[255] * 2, *[1] * 4])


@pytest.mark.parametrize("scale", [1, 2])
def test_bare_ground_consists_of_squares_without_a_parcel(scale: int) -> None:
    parcels = np.zeros((40 * scale, 33 * scale), np.int32)
    parcels[17 * scale, 3 * scale] = 5
    expected = np.ones(parcels.shape, np.bool_)
    expected[16 * scale : 32 * scale, : 16 * scale] = False
    np.testing.assert_array_equal(bare_ground(parcels, scale), expected)


def test_crops_may_be_as_good_as_ground(lay: Lay) -> None:
    check(lay(box(0, 0, 1, 1), box(1, 0, 2, 1), index_of=(0, 1), size=(1, 3)), [[0, 1, 0]], [[1, 2, 0]])
    check(lay(box(0, 0, 0.25, 1), index_of=(0,)), [[0]], [[0]])


def test_parcels_over_the_edge_and_outside(lay: Lay) -> None:
    found = lay(box(-5, -5, 1, 1), box(1, 1, 9, 9), box(20, 20, 30, 30), size=(2, 2))
    check(found, [[1, 0], [0, 2]], [[1, 0], [0, 2]])
    check(lay(box(20, 20, 30, 30), size=(1, 2)), [[0, 0]], [[0, 0]])


def test_a_bow_tie_has_two_wings(lay: Lay) -> None:
    bow = Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])
    found = lay(bow, size=(4, 4), oversample=5)
    assert np.all(found.labels[1:3, [0, 3]] == 1)
    assert np.all(found.labels[[0, 3], 1:3] == 0)


def test_ids_are_those_of_the_table(make_grid: Callable[..., Grid], make_table: Callable[..., ParcelTable]) -> None:
    table = make_table([box(0, 0, 1, 1), box(1, 0, 2, 1), box(2, 0, 3, 1)]).subset(np.array([False, True, True]))
    found = rasterize_labels(table, [4, 5], make_grid(1, 3), Window(0, 0, 1, 3))
    check(found, [[0, 4, 5]], [[0, 2, 3]])


@pytest.mark.parametrize("scale", [2, 4])
def test_finer_labels(lay: Lay, scale: int) -> None:
    found = lay(box(0, 0, 0.5, 0.5), box(0.5, 0, 1, 1), label_scale=scale)
    half = scale // 2
    wanted = np.kron([[1, 2], [0, 2]], np.ones((half, half), int))
    check(found, wanted, wanted)


@pytest.mark.parametrize("options", [{"oversample": 0}, {"label_scale": 0}, {"conflict": 0.6}, {"conflict": -0.1}])
def test_options_that_do_not_fit(lay: Lay, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="integers >= 1 and the last a share"):
        lay(box(0, 0, 1, 1), **options)
