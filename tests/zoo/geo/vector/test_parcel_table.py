"""A table of parcels: parts of it, in another CRS, on a piece of ground."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from rasterio.crs import CRS
from shapely import box

from cropzoo.geo.vector.parcel_table import ParcelTable


@pytest.fixture
def table(make_table: Callable[..., ParcelTable]) -> ParcelTable:
    made = make_table([box(0, 0, 2, 2), box(2, 0, 4, 2), box(0, 2, 2, 4), box(6, 6, 7, 7)], ["a", None, "b", "a"])
    return replace(made, years=(2018, 2019, 2018, 2019), splits=("x", "", "y", "x"), names=tuple("stuv"))


def test_a_part_keeps_its_ids(table: ParcelTable) -> None:
    for some in (table.subset(np.array([False, True, True, False])), table.subset(np.array([1, 2]))):
        assert len(some) == 2
        assert some.ids.tolist() == [2, 3]
        assert (some.crops, some.names, some.years, some.splits) == ((None, "b"), ("t", "u"), (2019, 2018), ("", "y"))
        assert some.geometry[0].equals(table.geometry[1])
    assert replace(table, years=None, splits=None).subset(np.array([0])).years is None


def test_another_crs_is_made_once(table: ParcelTable) -> None:
    far = table.to_crs("EPSG:4326")
    assert far is table.to_crs("EPSG:4326")
    assert table.to_crs(CRS.from_epsg(32631)) is table
    assert far.crops == table.crops
    west, south, east, north = shapely.total_bounds(far.geometry)
    assert 2.999 < west < east < 3.01
    assert 50 < south < north < 51
    assert table.subset(np.array([3])).to_crs("EPSG:4326").geometry[0].equals(far.geometry[3])


def test_what_touches_an_area(table: ParcelTable, on_ground: Callable[[Any], Any]) -> None:
    area = on_ground(box(0.5, 0.5, 3, 1))
    corners = [(x, y) for x, y in area.exterior.coords]
    for given in (area, area.bounds, corners):
        assert table.within(given).tolist() == [0, 1]
        assert table.areas_within(given) == [(0, pytest.approx(75)), (1, pytest.approx(50))]
    assert table.within(on_ground(box(9, 9, 10, 10))).tolist() == []
    assert table.areas_within(on_ground(box(9, 9, 10, 10))) == []


def test_it_goes_to_another_process(table: ParcelTable) -> None:
    table.to_crs("EPSG:4326")
    table.within((0, 0, 1, 1))
    copy = pickle.loads(pickle.dumps(table))
    assert copy.within((500_000, 5_599_990, 500_001, 5_600_000)).tolist() == [0]
    assert copy.crs == table.crs
    assert copy.crops == table.crops
