"""The registry: no state between calls, owners, and errors for unknown names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cropzoo import UnknownName, UsageError, load_zoo

HEAVY = {"torch", "lightning", "torchmetrics", "torchgeo", "rasterio", "geopandas", "matplotlib", "sklearn", "pandas"}


def test_built_ins_come_through_the_entry_points():
    zoo = load_zoo()
    assert "tsvit" in zoo.backbones
    assert {"synthetic", "geotiff"} <= set(zoo.datasets)
    assert {"cscl", "segmentation"} <= set(zoo.objectives)
    assert zoo.backbones["tsvit"].owner.distribution == "cropzoo"
    assert [plugin.error for plugin in zoo.broken] == []


def test_without_entry_points_nothing_is_left():
    zoo = load_zoo([])
    assert [len(registry) for registry in zoo.registries] == [0, 0, 0]


def test_nothing_is_kept_between_calls(good_plugin):
    assert "good" in load_zoo([good_plugin]).backbones
    assert "good" not in load_zoo([]).backbones


def test_close_names_are_suggested():
    with pytest.raises(UnknownName, match=r"unknown backbone 'tsvti'; did you mean 'tsvit'\?"):
        load_zoo().backbones["tsvti"]


def test_far_names_get_the_known_ones(good_plugin):
    with pytest.raises(UnknownName, match="unknown backbone 'xyz'; known: good; `cropzoo list`"):
        load_zoo([good_plugin]).backbones["xyz"]


def test_importing_and_loading_imports_nothing_heavy():
    code = "import sys, cropzoo; cropzoo.load_zoo(); print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "cropzoo" in loaded
    assert loaded & (HEAVY | {"numpy"}) == set()


FAMILY = """
@hookimpl
def cropzoo_backbones():
    return [backbone("single"), backbone("many", member="encoder", members="nowhere:names")]
"""


def test_a_member_stands_for_its_family_with_an_option(make_plugin):
    zoo = load_zoo([make_plugin("family", FAMILY)])
    assert zoo.resolve_backbone("many/resnet18.a1_in1k") == ("many", {"encoder": "resnet18.a1_in1k"})
    assert zoo.resolve_backbone("single") == ("single", {})
    with pytest.raises(UsageError, match=r"'single' is one network, not a family; use single, or one of .* many/..."):
        zoo.resolve_backbone("single/big")
    with pytest.raises(UnknownName, match="unknown backbone 'mani'; did you mean 'many'"):
        zoo.resolve_backbone("mani/resnet18")
    with pytest.raises(UsageError, match="no network is named after '/'"):
        zoo.resolve_backbone("many/")
