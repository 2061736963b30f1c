"""Sampling designs: what is stored comes back, and contradictions are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cropzoo.errors import CropzooError
from cropzoo.evaluation.area.design import SamplingDesign, Stratum

ONE = Stratum(1, units=600, sampled=5, area=60_000.0)
BLOCKS = Stratum(1, units=600, sampled=5, area=60_000.0, region="north", blocks=6, sampled_blocks=2)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"kind": "simple", "strata": (ONE,)},
        {"kind": "two-stage", "strata": (BLOCKS,), "block_side": 10, "regions": "regions.gpkg"},
        {"unit": "parcel", "parcels": "parcels.gpkg"},
    ],
)
def test_design_survives_json(make_design: Callable[..., SamplingDesign], changed: dict[str, Any]) -> None:
    design = make_design(**changed)
    assert SamplingDesign.from_json(json.loads(json.dumps(design.to_json())), "points 'a'") == design


def test_totals_are_sums_over_strata(design: SamplingDesign) -> None:
    assert (design.units, design.sampled, design.area) == (600, 5, 60_000.0)
    assert design.stratum(2).map_class == 1
    with pytest.raises(KeyError):
        design.stratum(3)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"kind": "convenience"}, "its kind is 'convenience'"),
        ({"unit": "window"}, "its unit is 'window'"),
        ({"map_sha256": "12"}, "no SHA-256"),
        ({"classes": ()}, "no names of classes"),
        ({"strata": ()}, "no strata"),
        ({"strata": (Stratum(1, 9, 3, 1.0, 1), Stratum(1, 9, 3, 1.0, 2))}, "two of its strata"),
        ({"strata": (Stratum(1, 9, 10, 1.0, 1),)}, "10 drawn of 9 units"),
        ({"strata": (Stratum(1, 9, 3, float("nan"), 1),)}, "an area of nan"),
        ({"strata": (Stratum(1, 9, 3, 1.0, 3),)}, "the class 3, of 3 classes"),
        ({"strata": (ONE,)}, "has no class"),
        ({"kind": "simple"}, "has a class in a simple design"),
        ({"kind": "two-stage", "strata": (ONE,)}, "None drawn of None blocks"),
    ],
)
def test_contradictions_are_refused(
    make_design: Callable[..., SamplingDesign], changed: dict[str, Any], problem: str
) -> None:
    with pytest.raises(CropzooError, match=problem):
        make_design(**changed)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"format": 2}, "update cropzoo"),
        ({"format": None}, "the format None"),
        ({"strata": None}, "cannot be read"),
        ({"strata": [{"number": 1}]}, "cannot be read"),
        ({"strata": [{"number": "1", "units": 3, "sampled": 1, "area": 1, "map_class": 0}]}, "no integer"),
        ({"shape": 7}, "cannot be read"),
        ({"kind": ["simple"]}, "its kind is"),
        ({"classes": [1, 2]}, "no names of classes"),
    ],
)
def test_broken_files_are_refused(design: SamplingDesign, changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(CropzooError, match=problem):
        SamplingDesign.from_json({**design.to_json(), **changed}, "points 'a.gpkg'")
