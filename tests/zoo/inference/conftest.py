"""Fixtures of the tests of maps."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    """A module next to this file."""
    spec = spec_from_file_location(f"map_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def scenes() -> ModuleType:
    """The generator of tiny images and networks, scenes.py next to this file."""
    return _load("scenes")


@pytest.fixture(scope="session")
def made_parts() -> ModuleType:
    """Orders of small maps and their parts, made_parts.py next to this file."""
    return _load("made_parts")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few hundred pixels, so that tiny images have several."""
    monkeypatch.setattr("cropzoo.inference.mapping.tiling.MOST_BYTES", 16_000)
