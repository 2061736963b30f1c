"""`cropzoo show` of everything that has a name, and of files."""

from __future__ import annotations

import hashlib
import json

import pytest


@pytest.fixture(scope="module")
def show(command, tmp_path_factory):
    """`show(*args)` in an empty folder."""
    folder = tmp_path_factory.mktemp("show")
    return lambda *args: command("show", *args, folder=folder)


@pytest.mark.parametrize("name", ["tsvit", "geotiff", "cscl", "tsvit.pastis", "pixelwise", "plots"])
def test_json_is_valid_and_names_what_is_shown(show, name):
    assert show(name, "--json").json["name"] == name


def test_backbone(show):
    facts = show("tsvit", "--json").json
    assert facts["parameters"] == "1,657,476"
    assert "60 dates, 24 x 24 px" in facts["GFLOPs"]
    assert facts["options"]["patch_size"] == 2
    assert not {"in_channels", "classes", "image_size", "length"} & set(facts["options"])
    assert facts["license"] == "Apache-2.0"
    shown = show("tsvit").out
    assert "temporal_depth: 4" in shown
    assert "1,657,476" in shown


def test_catalog_entry(show):
    shown = show("tsvit.pastis").out
    assert "PASTIS, 5 folds: OA 83.4, mIoU 65.4" in shown
    assert "none; train them with -c tsvit.synthetic" in show("tsvit.synthetic").out


def test_an_entry_whose_data_no_plugin_offers(command, tmp_path):
    entry = "{summary: a, source: b, recipe: {backbone: {name: tsvit}, dataset: {name: fields}}}"
    (tmp_path / "mine.yaml").write_text(f"version: 1\nentries:\n  tsvit.fields: {entry}\n")
    shown = command("--catalog", "mine.yaml", "show", "tsvit.fields", folder=tmp_path).out
    assert "train them with -c tsvit.fields --dataset NAME (no installed plugin has 'fields')" in shown


def test_checkpoint_and_run_folder(show, run_folder):
    file = run_folder / "model.safetensors"
    facts = show(run_folder, "--json").json
    assert facts == show(file, "--json").json
    assert facts["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert facts["parameters"] == f"{3 * 8 * 9 + 8 + 8 * 3 + 3:,}"
    assert facts["bands"] == ["B02", "B04", "B08"]
    assert facts["scores"] == json.loads((run_folder / "metrics.json").read_text())["test"]
    shown = show(run_folder).out
    assert "B02, B04, B08" in shown
    assert "0.2, 0.2, 0.2" in shown
    assert "\nall pixels " in shown
    assert shown.index("\nwheat ") < shown.index("\nmaize ") < shown.index("\ngrass ")


def test_unknown_name(show):
    assert "did you mean 'tsvit'" in show("tsvitt").error


def test_a_published_size_stands_beside_the_count_where_it_differs(show):
    assert show("unet2d-clstm", "--json").json["parameters"].endswith("(published as 2.3 M)")
    assert "published" not in show("tsvit", "--json").json["parameters"]
    assert show("tsvit.t31tfm", "--json").json["parameters"].endswith("(published as 1.7 M)")


def test_a_member_of_a_family_is_shown_with_its_own_costs(show):
    facts = show("timm/resnet34", "--json").json
    assert facts["options"]["encoder"] == "resnet34"
    assert facts["parameters"] != show("timm", "--json").json["parameters"]
    assert "'tsvit' is one network, not a family; use tsvit" in show("tsvit/small").error
