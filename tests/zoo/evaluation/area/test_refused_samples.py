"""Points that are no probability sample of the map are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from cropzoo.errors import CropzooError
from cropzoo.evaluation.area.assessment import assess
from cropzoo.evaluation.area.design import Stratum
from cropzoo.evaluation.area.points import write_points

from .assessed import PLACE, Study


def find_first_of_stratum(study: Study) -> Any:
    """Position of the first point in the stratum of each point."""
    _, first, inverse = np.unique(study.drawn.strata, return_index=True, return_inverse=True)
    return first[inverse]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda study: {"geometry": shapely.transform(study.drawn.geometry, lambda xy: xy + np.array([4, 0]))},
            "were moved",
        ),
        (
            lambda study: {"geometry": shapely.transform(study.drawn.geometry, lambda xy: xy + np.array([1000, 0]))},
            "were moved",
        ),
        (
            lambda study: {"geometry": shapely.transform(study.drawn.geometry, lambda xy: xy + np.array([10, 0]))},
            "moved|another class",
        ),
        (
            lambda study: {"geometry": study.drawn.geometry[find_first_of_stratum(study)]},
            "two of them are in one pixel",
        ),
        (lambda study: {"geometry": shapely.buffer(study.drawn.geometry, 5)}, "their geometry is no point"),
        (lambda study: {"probabilities": np.full(120, 0.5)}, "inclusion probabilities"),
        (lambda study: {"areas": np.zeros(120)}, "inclusion probabilities or areas"),
        (lambda study: {"reference": ()}, "none of the points has one"),
        (lambda study: {"reference": ("forest",) * 120}, "none of them is a class of the map"),
    ],
)
def test_edited_points_are_refused(study: Study, change: Callable[[Study], dict[str, Any]], problem: str) -> None:
    study.write(**change(study))
    with pytest.raises(CropzooError, match=problem):
        assess(study.map, study.points)


def test_points_of_another_stratum_are_refused(study: Study) -> None:
    """Numbers of two strata exchanged: counts and probabilities are right, the map's classes are not."""
    strata = study.drawn.strata
    study.write(strata=np.where(strata == 1, 2, np.where(strata == 2, 1, strata)), probabilities=_swapped(study))
    with pytest.raises(CropzooError, match=r"the map .* has another class there than their strata"):
        assess(study.map, study.points)


def _swapped(study: Study) -> Any:
    units = {each.number: each.sampled / each.units for each in study.design.strata}
    other = {1: 2, 2: 1}
    return np.array([units[other.get(each, each)] for each in study.drawn.strata.tolist()])


def test_the_test_split_is_no_sample(study: Study) -> None:
    frame = geopandas.GeoDataFrame(
        {"reference": study.drawn.reference}, geometry=list(study.drawn.geometry), crs="EPSG:32631"
    )
    frame.to_file(study.folder / "test_split.gpkg")
    with pytest.raises(CropzooError, match="no sampling design"):
        assess(study.map, study.folder / "test_split.gpkg")


def test_a_stratum_with_one_answer_is_refused(study: Study) -> None:
    first = study.drawn.strata == 1
    keep = int(np.flatnonzero(first)[0])
    study.relabel({position: "" for position in np.flatnonzero(first).tolist() if position != keep})
    with pytest.raises(CropzooError, match="stratum 1 has 1 points with a label, of 40"):
        assess(study.map, study.points)


def test_a_stratum_without_points_is_refused(study: Study) -> None:
    strata = (*study.design.strata, Stratum(9, 100, 0, 10_000.0, 1))
    study.write(replace(study.design, strata=strata))
    with pytest.raises(CropzooError, match="no unit was drawn from 1 of its 4 strata"):
        assess(study.map, study.points)


def test_points_moved_to_a_like_pixel_are_refused(study: Study) -> None:
    """The class of the map is the same there, so that only the pixels in the design tell."""
    places = study.drawn.geometry
    columns, rows = (shapely.get_x(places) - PLACE.c) // 10, (PLACE.f - shapely.get_y(places)) // 10
    pixels = tuple((rows * study.design.shape[1] + columns).astype(int).tolist())
    write_points(study.points, study.drawn, replace(study.design, pixels=pixels))
    assess(study.map, study.points)
    moved = places.copy()
    moved[[0, 1]] = places[[1, 0]]
    write_points(study.points, replace(study.drawn, geometry=moved), replace(study.design, pixels=pixels))
    with pytest.raises(CropzooError, match="points 1, 2; they are in other pixels"):
        assess(study.map, study.points)
