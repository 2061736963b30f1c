"""Every registered dataset obeys the contract; a new one is a row here, with its files if it needs some."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from cropzoo import load_zoo
from cropzoo.testing import check_dataset

DATA = Path(__file__).parents[1] / "data"


def synthetic(folder: Path) -> dict[str, Any]:
    """A small landscape with labels finer than the images."""
    return {"size": 160, "block": 16, "dates": 6, "years": 1, "label_scale": 2, "cache": folder}


def geotiff(folder: Path) -> dict[str, Any]:
    """One made site."""
    make(DATA / "geotiff" / "make.py").make_site(folder / "site")
    return {"root": folder}


OPTIONS = {"synthetic": synthetic, "geotiff": geotiff}
"""By name: a function that puts the files into a folder, and returns the options."""


def make(path: Path) -> Any:
    """The module of a generator of tiny data."""
    spec = spec_from_file_location(f"make_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up while it is made
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", load_zoo().datasets)
def test_dataset(name, tmp_path):
    check_dataset(name, **OPTIONS.get(name, lambda folder: {})(tmp_path))


def test_every_row_is_of_a_dataset():
    assert OPTIONS.keys() <= set(load_zoo().datasets)
