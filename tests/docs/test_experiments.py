"""docs/experiments.md is what the committed results say, and its recipe files are studies that can be run."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from cropzoo import load_zoo
from cropzoo.config.catalog import load_catalog
from cropzoo.config.schema import read_mapping
from cropzoo.evaluation.compare.config import read_study
from cropzoo.evaluation.compare.grid import make_plan

DOCS = Path(__file__).parents[2] / "docs"
RECIPES = sorted((DOCS / "experiments").glob("*.yaml"))


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return import_module("make_experiments")


def test_the_page_is_up_to_date(maker: ModuleType) -> None:
    assert (DOCS / "experiments.md").read_text(encoding="utf-8") == maker.render_page(), "run `make docs`"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_a_study_whose_results_are_on_a_page(recipe: Path, maker: ModuleType) -> None:
    zoo = load_zoo()
    plan = make_plan(read_study(read_mapping(recipe), {}, (), str(recipe)), zoo, load_catalog(zoo))
    planned = [
        (cell.backbone, cell.pretrain, f"{cell.label_fraction:g}", cell.variant, str(len(plan.of(cell))))
        for cell in plan.cells
    ]
    keys = ("backbone", "pretrain", "label_fraction", "variant", "runs")
    assert [tuple(row[key] for key in keys) for row in maker.read_rows(recipe.stem)] == planned
    if plan.study.all_scorings:
        found = [(row["scoring"], *(row[key] for key in keys)) for row in maker.read_rows(recipe.stem, "scorings")]
        assert found == [(name, *cell) for name in plan.study.all_scorings for cell in planned]
    pages = [(DOCS / page).read_text(encoding="utf-8") for page in ("experiments.md", "weights.md")]
    assert any(f"docs/experiments/{recipe.name}" in page for page in pages)


@pytest.mark.parametrize("name", ["accuracy-by-distance.svg", "differences.svg"])
def test_the_pictures_are_there(name: str) -> None:
    assert f"(figures/{name})" in (DOCS / "experiments.md").read_text(encoding="utf-8")
    assert "<svg" in (DOCS / "figures" / name).read_text(encoding="utf-8")
