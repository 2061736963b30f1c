from __future__ import annotations

import numpy as np
import pytest
import shapely

from cropzoo.data.zonal_stats import compute_coverage
from cropzoo.geo.raster.grid import Window


def _flip(polygon: shapely.Geometry) -> shapely.Geometry:
    return shapely.transform(polygon, lambda points: points * (1, -1))


def test_shares_are_areas_of_the_polygon_in_each_pixel() -> None:
    triangle = shapely.Polygon([(1, 1), (3, 1), (1, 3)])
    covered = compute_coverage(np.array([_flip(triangle)]), Window(0, 0, 4, 5))
    shares = dict(zip(covered.cell.tolist(), covered.share.tolist(), strict=True))
    assert shares == pytest.approx({6: 1.0, 7: 0.5, 11: 0.5})


def test_a_window_elsewhere_counts_cells_from_its_own_corner_and_only_them() -> None:
    wide = _flip(shapely.box(0, 0, 10, 10))
    covered = compute_coverage(np.array([wide]), Window(9, 8, 3, 4))
    assert covered.cell.tolist() == [0, 1]
    assert covered.share.tolist() == [1, 1]


def test_overlapping_polygons_each_have_their_pixels_and_one_elsewhere_has_none() -> None:
    polygons = [shapely.box(0, 0, 2, 1), shapely.box(50, 50, 51, 51), shapely.box(1, 0, 3, 1)]
    covered = compute_coverage(np.array([_flip(each) for each in polygons]), Window(0, 0, 4, 4))
    assert np.bincount(covered.owner, covered.share, 3).tolist() == [2, 0, 2]


def test_holes_and_parts_of_a_multipolygon_count_as_their_area() -> None:
    ring = shapely.box(0, 0, 4, 4).difference(shapely.box(1.25, 1.25, 2.5, 2.5))
    both = shapely.multipolygons([*shapely.get_parts(ring), shapely.box(5.5, 0.5, 6, 1.5)])
    covered = compute_coverage(np.array([_flip(both)]), Window(0, 0, 8, 8))
    assert covered.share.sum() == pytest.approx(both.area, abs=1e-6)


def test_edges_agree_with_exact_intersections() -> None:
    rng = np.random.default_rng(3)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 17))
    radii = rng.uniform(3, 7, 17)
    star = shapely.Polygon(np.stack([10 + radii * np.cos(angles), 9 + radii * np.sin(angles)], axis=1))
    covered = compute_coverage(np.array([_flip(star)]), Window(0, 0, 20, 20))
    found = np.zeros(400)
    found[covered.cell] = covered.share
    columns, rows = np.meshgrid(np.arange(20), np.arange(20))
    exact = shapely.area(shapely.intersection(star, shapely.box(columns, rows, columns + 1, rows + 1)))
    np.testing.assert_allclose(found.reshape(20, 20), exact, atol=1e-6)
