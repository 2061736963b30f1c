"""docs/catalog.md shows files that work, and every key of the schema."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cropzoo.config.catalog import CatalogEntry, Score, Size, TrainingCoverage, Weights, load_catalog, read_catalog
from cropzoo.config.merge import resolve_recipe
from cropzoo.config.recipe import Recipe, Stage
from cropzoo.plugins.registry import load_zoo

PAGE = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(version.*?)```", PAGE, re.DOTALL)


def written(tmp_path, number):
    path = tmp_path / f"{number}.yaml"
    path.write_text(EXAMPLES[number])
    return path


@pytest.mark.parametrize("number", range(3))
def test_every_example_is_a_catalog(tmp_path, number):
    zoo = load_zoo()
    entries = read_catalog(written(tmp_path, number), zoo.objectives)
    catalog = load_catalog(zoo, [written(tmp_path, number)])
    assert entries
    assert all(catalog[name] == entry for name, entry in entries.items())


def test_there_are_no_other_examples():
    assert len(EXAMPLES) == 3


def test_the_first_example_is_the_recipe_that_its_command_runs(tmp_path):
    zoo = load_zoo()
    catalog = load_catalog(zoo, [written(tmp_path, 0)])
    entry = catalog["tsvit.fields"]
    recipe, _ = resolve_recipe(zoo, catalog, ("--config", entry.recipe), ("--set", {"dataset": {"root": "a"}}))
    assert [(stage.objective, stage.epochs, stage.lr) for stage in recipe.stages] == [
        ("cscl", 5, 1e-4),
        ("segmentation", 30, 1e-3),
    ]
    assert (recipe.min_clear, recipe.dataset.options, recipe.backbone.options["dim"]) == (0.2, {"root": "a"}, 64)


@pytest.mark.parametrize("schema", [CatalogEntry, Size, Score, Weights, TrainingCoverage, Recipe, Stage])
def test_every_key_is_on_the_page(schema):
    keys = set(schema.model_fields)
    assert [key for key in sorted(keys) if not re.search(rf"`[^`\n]*\b{key}\b[^`\n]*`", PAGE)] == []
