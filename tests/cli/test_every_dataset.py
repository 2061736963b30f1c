"""One command trains on any dataset, from files as they are or converted once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cropzoo import load_zoo

TRAIN = ("train", "--backbone", "pixelwise", "--set", "image_size=6", "-b", "4", "--epochs", "1", "--device", "cpu")
PICKLED = ("pastis24", "mtlcc", "t31tfm")


def settings(options):
    """Options as `--set` takes them."""
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}
    return [
        word
        for key, value in plain.items()
        for word in ("--set", f"dataset.{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}")
    ]


@pytest.mark.parametrize("name", load_zoo().datasets)
def test_it_trains(command, dataset_options, tmp_path, name):
    options = dataset_options(name, tmp_path)
    fine = ("--set", f"head.upsample={options.get('label_scale', 1)}")
    ended = command(*TRAIN, *fine, "--dataset", name, *settings(options), "--json", folder=tmp_path)
    assert ended.json["test"]["pixels"] > 0


@pytest.mark.parametrize("name", PICKLED)
def test_it_is_converted_and_trains(command, dataset_options, tmp_path, name):
    options = dataset_options(name, tmp_path)
    root = options.pop("root")
    ended = command("prepare", "--from", name, root, "--out", "ds", *settings(options), "-j", "1", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "cropzoo train --backbone tsvit --dataset ds/" in ended.out
    fine = ("--set", f"head.upsample={options.get('label_scale', 1)}")
    assert command(*TRAIN, *fine, "--dataset", "ds/", "--json", folder=tmp_path).json["test"]["pixels"] > 0


def test_a_conversion_of_other_files_is_not_mixed_in(command, dataset_options, tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        dataset_options("mtlcc", tmp_path / place)
    words = ("prepare", "--out", "ds", "-j", "1", "--from", "mtlcc")
    assert command(*words, "one/MTLCC", folder=tmp_path).code == 0
    assert "started with other source" in command(*words, "two/MTLCC", folder=tmp_path).error
    assert command(*words, "two/MTLCC", "--overwrite", folder=tmp_path).code == 0


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["--from", "pastis42", "x"], "did you mean 'pastis24'"),
        (["--from", "mtlcc"], "--set dataset.root=FOLDER"),
        (["--from", "mtlcc", "nowhere"], "nowhere"),
        (["--from", "mtlcc", "a", "b"], "it takes one ROOT, not a, b"),
        (["--from", "mtlcc", "a", "--set", "window=3"], "takes options as dataset.NAME=VALUE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use(command, tmp_path, words, messages):
    assert messages in command("prepare", *words, "--out", "ds", folder=tmp_path).error
    assert not list(tmp_path.iterdir())


def test_a_landscape_becomes_images_and_parcels_and_a_dataset(command, tmp_path):
    made = ("prepare", "--from", "synthetic", "--out", "field", "--set", "dataset.size=240", "--set", "dataset.dates=4")
    assert command(*made, "-j", "1", folder=tmp_path).code == 0
    words = (
        "prepare",
        "--parcels",
        "field/parcels.gpkg",
        "--images",
        "field/S2_*.tif",
        "--window",
        "40",
        "--out",
        "ds",
    )
    assert command(*words, "-j", "1", folder=tmp_path).code == 0
    assert command(*TRAIN, "--dataset", "ds/", "--json", folder=tmp_path).json["test"]["pixels"] > 5000
