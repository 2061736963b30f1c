"""docs/backbones.md is what the specs, the catalog and the committed scores say."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from cropzoo import load_zoo

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return import_module("make_backbones")


def test_the_page_is_up_to_date(maker: ModuleType) -> None:
    assert (DOCS / "backbones.md").read_text(encoding="utf-8") == maker.render_page(), "run `make docs`"


@pytest.mark.parametrize("name", load_zoo().backbones)
def test_every_backbone_says_what_it_is_for(name: str) -> None:
    spec = load_zoo().backbones[name].spec
    assert spec.use.endswith(".")
    assert f"\n## {name}\n" in (DOCS / "backbones.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_backbone() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| backbones \| (.+) \|$", readme, re.MULTILINE)
    assert {name.partition("/")[0] for name in re.findall(r"`([^`]+)`", row)} == set(load_zoo().backbones)


def test_every_published_network_says_how_it_differs() -> None:
    published = [entry.spec for entry in load_zoo().backbones.values() if entry.spec.convert]
    assert len(published) >= 8
    assert all(spec.deviations for spec in published)
