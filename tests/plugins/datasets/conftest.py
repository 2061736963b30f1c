"""Fixtures of the dataset tests."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def geotiff(generator: Callable[[str], ModuleType]) -> ModuleType:
    """The generator of tiny GeoTIFF sites."""
    return generator("geotiff")
