"""Fixtures for the whole suite: plugins made on the spot, with fake entry points."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

HEADER = """
from cropzoo import BackboneSpec, DatasetSpec, ObjectiveSpec, hookimpl


def backbone(name, build="nowhere:nothing", **fields):
    common = {"summary": "a test", "source": "a test", "licence": "MIT", "dates": "doy"}
    return BackboneSpec(name=name, build=build, **{**common, **fields})


def dataset(name, build="nowhere:nothing", **fields):
    return DatasetSpec(name=name, build=build, **{"summary": "a test", "source": "a test", "licence": "MIT", **fields})

"""
"""What every made plugin starts with, so that tests show only what they are about."""


@pytest.fixture
def module_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on the path; what was imported from it is forgotten afterwards."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def write_plugin() -> Callable[[Path, str], Path]:
    """`write_plugin(path, body)` writes a plugin's file, helpers first; returns the path."""

    def write(path: Path, body: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + body)
        return path

    return write


@pytest.fixture
def make_plugin(module_folder: Path, write_plugin: Callable[[Path, str], Path]) -> Callable[[str, str], EntryPoint]:
    """`make_plugin(name, body)` writes a module; returns the entry point that offers it."""

    def make(name: str, body: str) -> EntryPoint:
        module = f"made_{name.replace('-', '_')}"
        write_plugin(module_folder / f"{module}.py", body)
        return EntryPoint(name=name, value=module, group="cropzoo")

    return make


@pytest.fixture
def good_plugin(make_plugin: Callable[[str, str], EntryPoint]) -> EntryPoint:
    """A plugin that offers backbone `good`."""
    return make_plugin("good-plugin", '@hookimpl\ndef cropzoo_backbones():\n    return [backbone("good")]\n')
