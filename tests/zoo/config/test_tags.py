"""Weights of the catalog in a recipe: BACKBONE.TAG, and the options of the network that weights belong to."""

from __future__ import annotations

import pytest

from cropzoo.config.catalog import Catalog, CatalogEntry, load_catalog, read_catalog
from cropzoo.config.merge import resolve_recipe
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.plugins.registry import load_zoo

WEIGHTS = {"url": "https://example.org/a", "sha256": "0" * 64, "size": 1, "license": "MIT"}
SEEN = {"regions": "r", "years": "y", "level": "l"}
PUBLISHED = {**WEIGHTS, "format": "published", "citation": "c", "trained_on": SEEN}
SIZE = {"bands": 3, "classes": 2, "dates": 4, "pixels": 8}


@pytest.fixture(scope="module")
def zoo():
    return load_zoo()


@pytest.fixture
def catalog():
    def entry(recipe, weights=None):
        return CatalogEntry.parse(
            {"summary": "a", "source": "b", "recipe": recipe, "size": SIZE, "weights": weights}, ""
        )

    entries = {
        "tsvit.synthetic": entry({"backbone": {"name": "tsvit", "dim": 64, "heads": 2}, "epochs": 7}),
        "tsvit.wide": entry({"backbone": {"name": "tsvit", "dim": 256}}, PUBLISHED),
        "tsvit.ours": entry({"backbone": {"name": "tsvit", "dim": 32}, "epochs": 9}, WEIGHTS),
        "tsvit.bare": entry({}, WEIGHTS),
    }
    return Catalog(entries, dict.fromkeys(entries, "test"))


def resolve(zoo, catalog, **flags):
    return resolve_recipe(zoo, catalog, ("the command line", flags))[0]


@pytest.mark.parametrize(
    "flags",
    [
        {"backbone": "tsvit.wide"},
        {"backbone": {"name": "tsvit.wide"}},
        {"backbone.name": "tsvit.wide"},
        {"backbone": "tsvit", "weights": "tsvit.wide"},
        {"backbone": "tsvit.wide", "weights": "tsvit.wide"},
        {"weights": "tsvit.wide"},
    ],
)
def test_a_tag_names_the_backbone_its_options_and_the_weights(zoo, catalog, flags):
    recipe = resolve(zoo, catalog, **flags)
    assert (recipe.backbone.name, recipe.weights) == ("tsvit", "tsvit.wide")
    # Those of the published network, not those of the defaults for the dataset.
    assert recipe.backbone.options == {"dim": 256, "output_order": "published"}
    assert recipe.stages[-1].epochs == 7


def test_options_of_the_user_win(zoo, catalog):
    recipe = resolve(zoo, catalog, **{"backbone": "tsvit.wide", "backbone.dim": 128})
    assert recipe.backbone.options["dim"] == 128


def test_a_checkpoint_brings_the_options_of_its_entry_and_no_other_setting(zoo, catalog):
    recipe = resolve(zoo, catalog, weights="tsvit.ours")
    assert (recipe.backbone.options, recipe.stages[-1].epochs) == ({"dim": 32}, 7)
    recipe = resolve(zoo, catalog, weights="tsvit.bare", backbone="tsvit")
    assert recipe.backbone.options == {"dim": 64, "heads": 2}


def test_weights_of_another_backbone_change_no_options(zoo, catalog):
    recipe = resolve(zoo, catalog, weights="tsvit.wide", backbone="utae")
    assert (recipe.backbone.name, recipe.backbone.options) == ("utae", {})


@pytest.mark.parametrize(
    ("flags", "kind", "message"),
    [
        ({"backbone": "tsvit.wdie"}, UnknownName, "unknown weights of backbone 'tsvit': 'wdie'; did you mean 'wide'?"),
        ({"backbone": "tsvit.synthetic"}, UnknownName, "unknown weights of backbone 'tsvit': 'synthetic'; known: bare"),
        ({"backbone": "utae.wide"}, UnknownName, "unknown weights of backbone 'utae': 'wide'; known: none"),
        ({"backbone": "nothing.wide"}, UnknownName, "unknown backbone 'nothing.wide'"),
        ({"backbone": "tsvit.wide", "weights": "tsvit.ours"}, UsageError, "which names its weights, and weights is"),
        ({"weights": "tsvit.bare"}, UsageError, "no backbone is named"),
        ({"weights": "runs/a"}, UsageError, "no backbone is named"),
    ],
)
def test_what_does_not_fit_is_reported(zoo, catalog, flags, kind, message):
    with pytest.raises(kind) as caught:
        resolve(zoo, catalog, **flags)
    assert message in str(caught.value)


HEAD = f"version: 2\nentries:\n  tsvit.first:\n    summary: a\n    source: b\n    size: {SIZE}\n"
RECIPE = "    recipe: {backbone: tsvit}\n"
FILE = {**WEIGHTS, "format": "published", "citation": "c", "trained_on": SEEN}


def without(*keys):
    return f"    weights: { {key: value for key, value in FILE.items() if key not in keys} }\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + RECIPE + without("license"), "key 'weights.license' is missing"),
        (HEAD + RECIPE + without("sha256"), "key 'weights.sha256' is missing"),
        (HEAD + RECIPE + without("citation"), "a published file needs citation"),
        (HEAD + RECIPE + without("citation", "trained_on"), "a published file needs citation and trained_on"),
        (HEAD + without(), "its weights are a published file, so recipe must name the backbone"),
        (HEAD.replace("tsvit", "utae") + RECIPE + without(), "weights of backbone 'tsvit' have the name tsvit.TAG"),
        (HEAD + RECIPE + without().replace("published", "pickled"), "key 'weights.format' is 'pickled'"),
        (HEAD + RECIPE + without().replace("'years': 'y', ", ""), "key 'weights.trained_on.years' is missing"),
        (HEAD.replace(".first", ".pastis24") + RECIPE + without(), "'pastis24' is a dataset, whose entries hold"),
    ],
)
def test_a_mistake_in_an_entry_with_published_weights_is_reported(zoo, tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(CropzooError) as caught:
        load_catalog(zoo, [tmp_path / "mine.yaml"])
    assert message in str(caught.value)


def test_entries_of_before_with_a_checkpoint_may_be_named_after_a_dataset(tmp_path):
    text = HEAD.replace("tsvit.first", "net.geotiff") + without("format", "citation", "trained_on")
    (tmp_path / "mine.yaml").write_text(text)
    weights = read_catalog(tmp_path / "mine.yaml")["net.geotiff"].weights
    assert (weights.format, weights.citation, weights.trained_on) == ("cropzoo", "", None)
