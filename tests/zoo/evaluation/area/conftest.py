"""Small sampling designs and their points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely

from cropzoo.evaluation.area.design import SamplingDesign, Stratum
from cropzoo.evaluation.area.points import Points

from .assessed import study as study

DESIGN: dict[str, Any] = {
    "kind": "stratified",
    "unit": "pixel",
    "seed": 3,
    "map_name": "map.tif",
    "map_sha256": "0" * 64,
    "classes": ("none", "maize", "wheat"),
    "crs": "EPSG:32632",
    "shape": (20, 30),
    "transform": (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_500_000.0),
    "strata": (
        Stratum(1, units=400, sampled=3, area=40_000.0, map_class=2),
        Stratum(2, units=200, sampled=2, area=20_000.0, map_class=1),
    ),
    "allocation": "neyman",
    "targets": {"overall": 0.015},
    "version": "0.3.0",
}


@pytest.fixture
def make_design() -> Callable[..., SamplingDesign]:
    """`make_design(**changed)` is a stratified design of two strata of a map of 20 x 30 pixels."""
    return lambda **changed: SamplingDesign(**{**DESIGN, **changed})


@pytest.fixture
def design(make_design: Callable[..., SamplingDesign]) -> SamplingDesign:
    """A stratified design of two strata."""
    return make_design()


@pytest.fixture
def points(design: SamplingDesign) -> Points:
    """Five points of that design: 3 of stratum 1 and 2 of stratum 2."""
    a, _, c, _, e, f = design.transform
    rows, columns = np.array([1, 4, 7, 2, 9]), np.array([3, 8, 2, 20, 29])
    strata = np.array([1, 2, 1, 1, 2])
    units, sampled = np.array([0, 400, 200]), np.array([1, 3, 2])
    return Points(
        ids=np.arange(1, 6),
        geometry=shapely.points(c + (columns + 0.5) * a, f + (rows + 0.5) * e),
        strata=strata,
        probabilities=sampled[strata] / np.maximum(units[strata], 1),
        areas=np.full(5, 100.0),
        reference=("wheat", "maize", "", "barley", "maize"),
    )
