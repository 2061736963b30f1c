"""docs/weights.md is what the catalog and the committed results say."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from cropzoo import load_zoo
from cropzoo.config.catalog import load_catalog

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return import_module("make_weights")


def test_the_page_is_up_to_date(maker: ModuleType) -> None:
    assert (DOCS / "weights.md").read_text(encoding="utf-8") == maker.render_page(), "run `make docs`"


def test_every_file_of_the_catalog_has_its_row_and_its_scores(maker: ModuleType) -> None:
    names = [name for name, entry in load_catalog(load_zoo()).entries.items() if entry.weights is not None]
    assert len(names) >= 3
    files, scores = maker.list_files(), maker.frozen()
    for name in names:
        assert f"| `{name}` |" in files
        assert f"| {name} |" in scores
