"""Sampling frames: counts of pixels and parcels by class and region, whatever the windows are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine

from cropzoo.data.classified_map import open_map
from cropzoo.data.mapped_areas import measure_areas
from cropzoo.data.regions import read_regions
from cropzoo.errors import CropzooError
from cropzoo.evaluation.area.strata import count_parcels, count_pixels, make_strata
from cropzoo.geo.vector.source import open_source

LABELS = np.random.default_rng(0).choice([0, 1, 2, 255], (23, 31), p=[0.5, 0.3, 0.15, 0.05]).astype(np.uint8)
WEST_EAST = [shapely.box(0, 0, 11, 23), shapely.box(11, 0, 31, 23)]
DEGREES = Affine(0.01, 0, 5.0, 0, -0.01, 51.0)


@pytest.mark.parametrize("side", [5, 8, 512])
@pytest.mark.parametrize(("transform", "crs"), [(None, "EPSG:32631"), (DEGREES, "EPSG:4326")])
def test_pixels_and_areas_are_those_of_the_mapped_areas(
    make_map: Callable[..., Path], side: int, transform: Affine | None, crs: str
) -> None:
    source = open_map(make_map(LABELS, crs=crs, **({} if transform is None else {"transform": transform})))
    frame, areas = count_pixels(source, side=side), measure_areas(source)
    assert frame.units.tolist() == areas.pixels.tolist()
    assert frame.area / 1e4 == pytest.approx(areas.hectares)
    assert frame.skipped == areas.nodata == (LABELS == 255).sum()
    assert np.bincount(frame.cell, frame.count).tolist() == areas.pixels.tolist()
    assert frame.region_names == (None,)


@pytest.mark.parametrize("side", [5, 512])
def test_regions_cross_the_classes(make_map: Callable[..., Path], make_parcels: Callable[..., Path], side: int) -> None:
    source = open_map(make_map(LABELS))
    regions = read_regions(make_parcels(WEST_EAST, name=["west", "east"]), source.grid)
    frame = count_pixels(source, regions, side=side)
    expected = [[int((part == kind).sum()) for kind in range(3)] for part in (LABELS[:, :11], LABELS[:, 11:])]
    assert frame.units.reshape(2, 3).tolist() == expected
    assert frame.area == pytest.approx(frame.units * 100)
    assert make_strata(frame, by_class=True).labels[:2] == ["grass, west", "maize, west"]
    by_region = make_strata(frame, by_class=False)
    assert (by_region.labels, by_region.units.tolist()) == (["west", "east"], [sum(each) for each in expected])


def test_empty_cells_are_no_strata_and_empty_regions_are_named(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path]
) -> None:
    labels = np.where(np.arange(10) < 5, 2, 0)[None].repeat(4, 0)
    source = open_map(make_map(labels))
    shapes = [shapely.box(0, 0, 5, 4), shapely.box(5, 0, 10, 4), shapely.box(20, 0, 30, 4)]
    frame = count_pixels(source, read_regions(make_parcels(shapes, name=["a", "b", "far"]), source.grid))
    strata = make_strata(frame, by_class=True)
    assert strata.labels == ["winter wheat, a", "grass, b"]
    assert strata.of_cell.tolist() == [-1, -1, 0, 1, -1, -1, -1, -1, -1]
    assert frame.empty_regions == ("far",)


@pytest.mark.parametrize("unit", ["pixels", "parcels"])
def test_gaps_between_regions_are_refused_or_a_region_of_their_own(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], unit: str
) -> None:
    source = open_map(make_map(np.zeros((4, 10), np.uint8)))
    path = make_parcels([shapely.box(0, 0, 4, 4), shapely.box(6, 0, 10, 4)], file="r.gpkg", name=["a", "b"])
    regions = read_regions(path, source.grid)
    fields = make_parcels([shapely.box(x, 0, x + 1, 4) for x in range(10)], file="p.gpkg")

    def count(outside: bool) -> Any:
        if unit == "pixels":
            return count_pixels(source, regions, outside=outside)
        return count_parcels(source, open_source(fields), regions, outside=outside)

    of_all = {"pixels": "8 of 40", "parcels": "2 of 10"}[unit]
    with pytest.raises(CropzooError, match=f"{of_all} {unit} of the map .* are in no region.*--outside"):
        count(outside=False)
    frame = count(outside=True)
    assert frame.region_names == ("a", "b", "outside")
    assert frame.units.reshape(3, 3)[:, 0].tolist() == {"pixels": [16, 16, 8], "parcels": [4, 4, 2]}[unit]


def test_overlapping_regions_are_refused(make_map: Callable[..., Path], make_parcels: Callable[..., Path]) -> None:
    source = open_map(make_map(LABELS))
    regions = read_regions(make_parcels([WEST_EAST[0], shapely.box(9, 0, 31, 23)], name=["west", "east"]), source.grid)
    with pytest.raises(CropzooError, match=r"'(west|east)' and '(west|east)' overlap"):
        count_pixels(source, regions)


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", "EPSG:3035"])
def test_parcels_have_the_class_of_most_of_their_pixels(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], crs: str
) -> None:
    labels = np.array([[0, 0, 1, 1, 1, 2, 255, 255]] * 4, np.uint8)
    source = open_map(make_map(labels))
    shapes = [
        shapely.box(0, 0, 3, 4),
        shapely.box(2, 0, 6, 4),
        shapely.box(6, 0, 8, 4),
        None,
        shapely.box(50, 0, 60, 4),
    ]
    frame = count_parcels(source, open_source(make_parcels(shapes, crs=crs)))
    assert frame.cells.tolist() == [0, 1, -1, -1, -1]
    assert frame.units.tolist() == [1, 1, 0]
    assert frame.area == pytest.approx([1200, 1600, 0], rel=5e-3)
    assert frame.skipped == 3


def test_the_spread_of_parcel_sizes_is_known(make_map: Callable[..., Path], make_parcels: Callable[..., Path]) -> None:
    source = open_map(make_map(np.zeros((4, 10), np.uint8)))
    frame = count_parcels(source, open_source(make_parcels([shapely.box(0, 0, 3, 4), shapely.box(3, 0, 10, 4)])))
    assert frame.spread.tolist() == pytest.approx([(12**2 + 28**2) / 2 / 20**2, 1, 1])


@pytest.mark.parametrize("with_parcels", [False, True])
def test_a_map_without_data_has_no_frame(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], with_parcels: bool
) -> None:
    source = open_map(make_map(np.full((4, 4), 255, np.uint8)))
    fields = open_source(make_parcels([shapely.box(0, 0, 2, 2)]))
    with pytest.raises(CropzooError, match="none of"):
        _ = count_parcels(source, fields) if with_parcels else count_pixels(source)
