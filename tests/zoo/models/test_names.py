"""Names of backbones and weights: `list_models`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cropzoo
from cropzoo.config.catalog import Catalog, CatalogEntry
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.names import list_models, matches
from cropzoo.plugins.registry import load_zoo

WEIGHTS = {"url": "https://example.org/a.pt", "sha256": "0" * 64, "size": 9, "license": "MIT"}
FAMILY = """
def members():
    return ["b18", "a50"]


def broken():
    raise RuntimeError("no network")


@hookimpl
def cropzoo_backbones():
    return [
        backbone("family", member="encoder", members=f"{__name__}:members"),
        backbone("lost", member="encoder", members=f"{__name__}:broken"),
    ]
"""


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("tsvit", "*", True),
        ("tsvit", "vit", True),
        ("tsvit", "TSViT", True),
        ("tsvit", "*vit*", True),
        ("tsvit", "vit*", False),
        ("tsvit-s.pastis", "tsvit*.pastis", True),
        ("unet3d", "unet[23]d", True),
        ("unet3d", "unet?d", True),
        ("unet3df", "unet?d", False),
    ],
)
def test_matches(name, pattern, fits):
    assert matches(name, pattern) is fits


@pytest.fixture
def family_zoo(make_plugin):
    return load_zoo([make_plugin("family-plugin", FAMILY)])


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["fixed", "other", "tiny", "wrong"]),
        ("t*", ["tiny"]),
        ("th", ["other"]),
        (["t*", "w*"], ["tiny", "wrong"]),
        (("tiny", "t*"), ["tiny"]),
        ("zzz", []),
    ],
)
def test_backbones_are_chosen_by_one_or_several_patterns(tiny_zoo, pattern, names):
    assert list_models(pattern, zoo=tiny_zoo) == names


def test_members_of_a_family_are_listed_by_its_name(family_zoo):
    assert list_models(zoo=family_zoo) == ["family", "lost"]
    assert list_models("family/*", zoo=family_zoo) == ["family/a50", "family/b18"]
    assert list_models(["family/a*", "lost"], zoo=family_zoo) == ["family/a50", "lost"]
    with pytest.raises(
        CropzooError, match=r"members of backbone 'lost' of plugin .* cannot be listed; RuntimeError: no"
    ):
        list_models("lost/*", zoo=family_zoo)


def test_pretrained_lists_the_entries_with_weights(tiny_zoo):
    described = {"summary": "a test", "source": "a test"}
    entries = {
        "tiny.fields": CatalogEntry.parse(described, "a test"),
        "tiny.world": CatalogEntry.parse({**described, "weights": WEIGHTS}, "a test"),
        "other.default": CatalogEntry.parse({**described, "weights": WEIGHTS}, "a test"),
    }
    catalog = Catalog(entries, dict.fromkeys(entries, "a test"))
    assert list_models(pretrained=True, zoo=tiny_zoo, catalog=catalog) == ["other.default", "tiny.world"]
    assert list_models("tiny*", pretrained=True, zoo=tiny_zoo, catalog=catalog) == ["tiny.world"]


@pytest.mark.parametrize("pattern", [3, None, ["tiny", None], ("tiny", b"t*")])
def test_a_pattern_that_is_no_text_is_refused(tiny_zoo, pattern):
    with pytest.raises(UsageError, match="list_models with the pattern"):
        list_models(pattern, zoo=tiny_zoo)


def test_the_installed_backbones_are_listed_without_importing_torch():
    code = (
        "import sys, cropzoo\nnames = cropzoo.list_models()\ncropzoo.list_models(pretrained=True)\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules, {'tsvit', 'utae'} <= set(names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]


def test_members_of_timm_are_listed():
    assert "timm/resnet18" in cropzoo.list_models("timm/*net18")
