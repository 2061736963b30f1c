"""Tiny files of Sentinel-2, EuroCrops and CDL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def files(generator: Callable[[str], ModuleType]) -> ModuleType:
    """The generator of tiny files."""
    return generator("torchgeo")


@pytest.fixture(scope="module")
def made(files: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Any, Any]:
    """A folder of all files, not to be changed; what images hold, the parcels' crops and the CDL's codes by pixel."""
    root = tmp_path_factory.mktemp("torchgeo")
    pixels = files.make_images(root / "images")
    return root, pixels, files.make_parcels(root / "crops"), files.make_cdl(root / "cdl")
