"""Fixtures of the dataset tests."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def geotiff() -> ModuleType:
    """The generator of tiny GeoTIFF sites, tests/data/geotiff/make.py."""
    path = Path(__file__).parents[2] / "data" / "geotiff" / "make.py"
    spec = spec_from_file_location("make_geotiff", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # A dataclass looks its module up while it is made.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
