"""`cropzoo show` of datasets: by name, with options, and by the folder that holds one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

SMALL = ("--set", "dataset.size=168", "--set", "dataset.block=24", "--set", "dataset.dates=4")
PASTIS = Path(__file__).parents[1] / "data" / "pastis" / "make.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("show")


@pytest.fixture(scope="module")
def show(command, folder):
    """`show(*args)` in a folder of its own."""
    return lambda *args: command("show", *args, folder=folder)


@pytest.fixture(scope="module")
def pastis(folder):
    """A small dataset in PASTIS's layout, named ds/."""
    spec = importlib.util.spec_from_file_location("make_pastis_to_show", PASTIS)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
        module.make_pastis(folder / "ds")
    return folder / "ds"


def test_what_a_dataset_holds(show):
    ended = show("plots")
    assert ended.code == 0
    assert "8 of 8 samples" in ended.err
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["train", "4", "2,304", "99.7%", "-", "6", "2016-07-18", "2016-09-06"] in rows
    [wheat] = [row for row in rows if row[1:2] == ["wheat"]]
    assert wheat[:4] == ["0", "wheat", "10", "#000000"]
    assert (
        sum(int(row[4].replace(",", "")) for row in rows if row[1:2] and row[1] in ("wheat", "maize", "grass")) == 2296
    )
    assert ["B04", "0.2000", "0.1000"] in rows


def test_json_holds_spec_and_contents(show):
    facts = show("plots", "--set", "dataset.seed=3", "--json").json
    assert facts["name"] == "plots"
    assert facts["options"]["seed"] == 3
    assert facts["classes"] == ["wheat", "maize", "grass"]
    assert [split["samples"] for split in facts["contents"]["splits"]] == [4, 2, 2]
    assert facts["contents"]["classes"][1]["code"] == 11


def test_options_are_used_and_checked(show):
    facts = show("synthetic", *SMALL, "--json").json
    assert facts["contents"]["sizes"] == [[24, 24, sum(s["samples"] for s in facts["contents"]["splits"])]]
    assert "did you mean 'size'?" in show("synthetic", "--set", "dataset.siz=120").error
    assert "only options of dataset 'plots' can be set; use dataset.KEY=VALUE" in show("plots", "--set", "seed=3").error
    assert "only options of dataset 'plots' can be set" in show("plots", "--set", "dataset=geotiff").error


def test_a_dataset_that_needs_files_shows_its_spec_and_says_what_to_give(show):
    ended = show("geotiff")
    assert ended.code == 0
    assert "crop_column: crop_code" in ended.out
    assert "--set dataset.root=FOLDER" in ended.out
    assert "not opened" in show("geotiff", "--json").json
    assert "no-such-place" in show("geotiff", "--set", "dataset.root=no-such-place").error


def test_quick_counts_samples_and_reads_none(show):
    ended = show("plots", "--quick", "--set", "dataset.flaw=nan")
    assert ended.code == 0
    assert ended.err == ""
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["train", "4"] in rows
    assert ["0", "wheat", "10", "#000000"] in rows


def test_the_picture(show, folder):
    assert show("plots", "--plot", "plots.png").code == 0
    assert matplotlib.image.imread(folder / "plots.png").shape[0] > 600
    assert "the name must end in .png" in show("plots", "--plot", "plots.jpg").error
    assert "dataset.root=FOLDER" in show("geotiff", "--plot", "g.png").error


def test_a_folder_is_the_dataset_in_it(show, pastis):
    facts = show("ds", "--set", "dataset.fold=2", "--json").json
    assert facts["name"] == "prepared"
    assert facts["options"] | {"root": "ds", "fold": 2} == facts["options"]
    assert facts["files"] == sum(path.is_file() for path in pastis.rglob("*"))
    assert facts["bytes"] == sum(path.stat().st_size for path in pastis.rglob("*") if path.is_file())
    assert show("ds/", "--json").json["contents"] != facts["contents"]


def test_check_reads_every_file(show, pastis):
    assert "all files are valid" in show("ds/", "--check").out
    assert "leave --check out" in show("plots", "--check").error
    flawed = sorted((pastis / "ANNOTATIONS").glob("ParcelIDs_*.npy"))[-1]
    whole = flawed.read_bytes()
    np.save(flawed, -1 - np.load(flawed))
    try:
        assert show("ds/").code == 0  # counting looks at no parcels
        error = show("ds/", "--check").error
        assert "has 1 problem" in error
        assert flawed.name in error
    finally:
        flawed.write_bytes(whole)


@pytest.mark.parametrize("option", [("--quick",), ("--plot", "a.png"), ("--set", "dataset.root=x"), ("--check",)])
def test_options_of_datasets_are_for_datasets(show, option):
    assert "show 'tsvit'; it is not a dataset" in show("tsvit", *option).error


def test_a_label_that_is_no_class_is_an_error_of_the_sample(show):
    assert "sample 'field-0'; label 2 is not a class" in show("plots", "--set", "dataset.classes=[a, b]").error
