"""The catalog: whose entries are in it, what a file may hold, and what the built-in one says."""

from __future__ import annotations

import pytest

from cropzoo.config.catalog import builtin_catalog, load_catalog, read_catalog
from cropzoo.config.merge import resolve_recipe
from cropzoo.errors import CropzooError, UnknownName
from cropzoo.plugins.registry import load_zoo

GOOD = "version: 2\nentries:\n  net.fields: {summary: a, source: b, recipe: {backbone: net, dataset: fields}}\n"
HEAD = "version: 2\nentries:\n  net.fields: {summary: a, source: b, "
SHA = f"sha256: {'0' * 64}"


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entries: {}\n", "mine.yaml: key 'version' is missing"),
        ("version: 3\nentries: {}\n", "mine.yaml: key 'version' is 3; input should be 1 or 2"),
        ("version: 1\nentrys: {}\n", "mine.yaml: unknown key 'entrys'; did you mean 'entries'?"),
        ("version: 1\nentries:\n  a: 3\n", "mine.yaml: key 'entries.a' is 3; input should be a valid dictionary"),
        ("version: 1\nentries:\n  Net: {}\n", "mine.yaml: entry 'Net'; a name is lower-case letters and digits"),
        ("version: 1\nentries:\n  a: {source: b}\n", "mine.yaml: entry 'a': key 'summary' is missing"),
        (HEAD + "sumary: c}\n", "mine.yaml: entry 'net.fields': unknown key 'sumary'; did you mean 'summary'?"),
        (HEAD + "parameters: many}\n", "mine.yaml: entry 'net.fields': key 'parameters' is 'many'; input should be"),
        (HEAD + "size: {bands: 0, classes: 1, dates: 1, pixels: 1}}\n", "key 'size.bands' is 0; input should be"),
        (HEAD + "size: {bands: 3}}\n", "mine.yaml: entry 'net.fields': key 'size.classes' is missing"),
        (HEAD + "scores: [{data: d, source: s}]}\n", "key 'scores.0' is {'data': 'd', 'source': 's'}; a score needs"),
        (HEAD + "scores: [{data: d, oa: 101, source: s}]}\n", "key 'scores.0.oa' is 101; input should be less than"),
        (HEAD + "weights: {url: 'ftp://x', " + SHA + ", size: 1, license: MIT}}\n", "key 'weights.url' is 'ftp"),
        (HEAD + "weights: {url: 'https://x', sha256: abc, size: 1, license: MIT}}\n", "key 'weights.sha256' is 'abc'"),
        (HEAD + "weights: {url: 'https://x', " + SHA + ", size: 1}}\n", "key 'weights.license' is missing"),
        (HEAD + "weights: {url: 'https://x', " + SHA + ", size: 0, license: M}}\n", "key 'weights.size' is 0"),
        (HEAD + "recipe: {epoch: 3}}\n", "entry 'net.fields': recipe: 'epoch'; did you mean 'epochs'"),
        (HEAD + "recipe: {epochs: many}}\n", "recipe: stage 'segmentation': key 'epochs' is 'many'"),
        (HEAD + "recipe: {objectives: {cscl: {lr: -1}}}}\n", "recipe: stage 'cscl': key 'lr' is -1"),
        (HEAD + "recipe: {backbone: [net]}}\n", "recipe: backbone is ['net']; it must be a name or a mapping"),
        (HEAD + "summary: c}\n", "duplicate key 'summary'"),
        ("version: 1\nentries: !!python/name:os.system\n", "mine.yaml: invalid YAML"),
    ],
)
def test_a_mistake_is_reported_with_file_entry_field_and_what_is_allowed(write, text, message):
    path = write(text)
    with pytest.raises(CropzooError) as caught:
        read_catalog(path)
    messages = str(caught.value)
    assert messages.replace("unknown setting in ", "").startswith(str(path))
    assert message in messages


def test_a_user_s_file_adds_entries_and_takes_no_name(write):
    zoo = load_zoo([])
    catalog = load_catalog(zoo, [write(GOOD)])
    assert catalog.owners["net.fields"].endswith("mine.yaml")
    assert catalog.owners["tsvit.pastis"] == "cropzoo"
    with pytest.raises(CropzooError, match=r"other\.yaml: entry 'net\.fields' is already defined by .*mine\.yaml"):
        load_catalog(zoo, [write(GOOD), write(GOOD, "other.yaml")])
    with pytest.raises(CropzooError, match=r"entry 'tsvit\.pastis' is already defined by cropzoo"):
        load_catalog(zoo, [write(GOOD.replace("net.fields", "tsvit.pastis"))])


def test_an_unknown_entry_gets_the_close_names():
    with pytest.raises(UnknownName, match=r"unknown catalog entry 'tsvit.pasti'; did you mean .*'tsvit.pastis'"):
        load_catalog(load_zoo([]))["tsvit.pasti"]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("Path('BAD')", "key 'version' is missing"),
        ("Path('NONE')", "cannot be read"),
        ("Rude('RUDE')", "RuntimeError: no"),
    ],
)
def test_a_broken_catalog_of_a_plugin_is_reported_and_the_others_go_on(make_plugin, write, tmp_path, file, reason):
    write("entries: {}\n", "BAD")
    good, bad = write(GOOD), file.replace("('", f"('{tmp_path}/")
    zoo = load_zoo(
        [
            make_plugin(
                "broken",
                "from pathlib import Path\n\nclass Rude(type(Path())):\n"
                "    def read_text(self, encoding=None): raise RuntimeError('no')\n\n"
                f"@hookimpl\ndef cropzoo_catalogs():\n    return [{bad}]\n",
            ),
            make_plugin(
                "sound",
                f"from pathlib import Path\n\n@hookimpl\ndef cropzoo_catalogs():\n    return [Path({str(good)!r})]\n",
            ),
        ]
    )
    assert not zoo.broken
    catalog = load_catalog(zoo)
    assert catalog.owners["net.fields"] == "sound"
    assert "tsvit.pastis" in catalog.entries
    [problem] = catalog.problems
    assert problem.startswith("skipped the catalog of plugin 'broken': ")
    assert reason in problem


# Tarasiou et al. 2023, arXiv:2301.04944, tables and repository
PUBLISHED = {
    "tsvit.pastis": {
        "patch_size": 2, "dim": 128, "depths": (4, 4), "head_dim": 32, "image_size": 24, "max_dates": 60,
        "batch_size": 16, "epochs": 100, "rates": (1e-3, 5e-6), "scores": [(83.4, 65.1), (83.4, 65.4)],
        "size": (10, 19), "parameters": 1.7,
    },
    "tsvit-s.pastis": {
        "patch_size": 2, "dim": 64, "depths": (4, 4), "head_dim": 16, "image_size": 24, "max_dates": 60,
        "batch_size": 16, "epochs": 100, "rates": (1e-3, 5e-6), "scores": [(83.05, 64.3)],
        "size": (10, 19), "parameters": 0.44,
    },
    "tsvit.mtlcc": {
        "patch_size": 2, "dim": 128, "depths": (4, 4), "head_dim": 64, "image_size": 24, "max_dates": 16,
        "batch_size": 32, "epochs": 150, "rates": (1e-3, 5e-4), "scores": [(95.0, 84.8)],
        "size": (13, 17), "parameters": 1.7,
    },
    "tsvit.t31tfm": {
        "patch_size": 3, "dim": 128, "depths": (8, 4), "head_dim": 64, "image_size": 48, "max_dates": None,
        "batch_size": 14, "epochs": 100, "rates": (1e-4, 5e-6), "scores": [(90.3, 63.1)],
        "size": (13, 20), "parameters": 1.7,
    },
}  # fmt: skip

PUBLISHED_DATA = """
from cropzoo import ObjectiveSpec


@hookimpl
def cropzoo_backbones():
    return [backbone("tsvit")]


@hookimpl
def cropzoo_datasets():
    return [dataset(name) for name in ("synthetic", "geotiff", "prepared", "pastis", "mtlcc", "t31tfm")]


@hookimpl
def cropzoo_objectives():
    common = dict(build="nowhere:nothing", summary="a test", source="a test", license="MIT", needs_labels=True)
    return [ObjectiveSpec(name=name, **common) for name in ("cscl", "segmentation")]
"""


@pytest.fixture
def published_zoo(make_plugin):
    return load_zoo([make_plugin("published", PUBLISHED_DATA)])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_and_scores_are_those_of_the_paper(published_zoo, name):
    catalog = load_catalog(published_zoo)
    entry, wanted = catalog[name], PUBLISHED[name]
    recipe, _ = resolve_recipe(published_zoo, catalog, (name, entry.recipe), ("flags", {"pretrain": "cscl"}))
    options = recipe.backbone.options
    found = {
        "patch_size": options["patch_size"],
        "dim": options["dim"],
        "depths": (options["temporal_depth"], options["spatial_depth"]),
        "head_dim": options["head_dim"],
        "image_size": recipe.image_size,
        "max_dates": recipe.max_dates,
        "batch_size": recipe.batch_size,
        "epochs": recipe.stages[-1].epochs,
        "rates": (recipe.stages[-1].lr, recipe.stages[-1].lr_min),
        "scores": [(score.oa, score.miou) for score in entry.scores],
        "size": (entry.size.bands, entry.size.classes),
        "parameters": entry.parameters,
    }
    assert found == wanted
    assert options["heads"] == 4
    assert recipe.stages[-1].warmup_epochs == 10
    assert recipe.stages[0].epochs == recipe.stages[-1].epochs  # as many for pre-training as for fine-tuning
    assert (entry.size.pixels, entry.size.dates) == (recipe.image_size, recipe.max_dates or entry.size.dates)
    assert all("2301.04944" in score.source for score in entry.scores)


def test_every_built_in_recipe_resolves_and_its_pair_is_found(published_zoo):
    catalog = load_catalog(published_zoo)
    resolved = 0
    for name, entry in catalog.entries.items():
        backbone = entry.recipe["backbone"]["name"]
        if backbone not in published_zoo.backbones:
            continue
        recipe, pair = resolve_recipe(published_zoo, catalog, entry=name)
        assert pair == name
        assert recipe.backbone.name == backbone
        resolved += 1
    assert resolved >= 5


def test_built_in_weights_say_what_is_needed_to_trust_them():
    for name, entry in read_catalog(builtin_catalog()).items():
        assert entry.summary
        assert entry.source
        if entry.weights:
            assert entry.weights.url.startswith(("https://", "file://")), name


def test_the_catalog_is_read_without_the_objectives_that_its_recipes_name():
    catalog = load_catalog(load_zoo([]))
    assert "cscl" in catalog["tsvit.synthetic"].recipe["objectives"]
    assert catalog.problems == ()


def test_a_catalog_of_version_1_is_read(write):
    recipe = "{backbone: net, turns: false, epochs: 9, cscl: {lr: 0.5, window: 5}, other: {strength: 3}}"
    path = write(f"version: 1\nentries:\n  net.fields: {{summary: a, source: b, licence: MIT, recipe: {recipe}}}\n")
    [entry] = read_catalog(path, ("cscl",)).values()
    assert entry.license == "MIT"
    assert entry.recipe == {
        "version": 2,
        "backbone": "net",
        "flip_rotate": False,
        "epochs": 9,
        "objectives": {"cscl": {"lr": 0.5, "options": {"window": 5}}, "other": {"options": {"strength": 3}}},
    }
    path = write("version: 1\nentries:\n  net.fields: {summary: a, source: b, recipe: {bakbone: {dim: 3}}}\n")
    with pytest.raises(UnknownName, match=r"entry 'net.fields': recipe: 'bakbone'; did you mean 'backbone'"):
        read_catalog(path)
