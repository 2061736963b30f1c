"""Labels finer than the images, from training to the map, and coarse logits scored against them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

OPTIONS = ("dataset.size=160", "dataset.block=16", "dataset.dates=6", "dataset.years=1")
LANDSCAPE = tuple(word for option in OPTIONS for word in ("--set", option))
TRAIN = ("train", "--backbone", "pixelwise", *LANDSCAPE, "--set", "image_size=6", "-b", "4", "--epochs", "1")
FINE = ("--set", "dataset.label_scale=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("super")


@pytest.fixture(scope="module")
def cache(folder):
    return ("--set", f"dataset.cache={folder / 'cache'}")


@pytest.fixture(scope="module")
def coarse(command, folder, cache):
    """A run on labels as fine as the images."""
    command(*TRAIN, *cache, "--device", "cpu", "--out", "x1", "--json", folder=folder).json  # noqa: B018 fails where the run did
    return folder / "x1"


@pytest.fixture(scope="module")
def fine(command, folder, cache):
    """A pre-trained run on labels twice as fine."""
    words = (*FINE, "--set", "head.upsample=2", "--pretrain", "cscl", "--pretrain-epochs", "1")
    command(*TRAIN, *cache, *words, "--device", "cpu", "--out", "x2", "--json", folder=folder).json  # noqa: B018
    return folder / "x2"


@pytest.fixture(scope="module")
def evaluate(command, folder):
    return lambda *words: command("evaluate", *words, "--device", "cpu", folder=folder)


def test_coarse_logits_are_scored_at_the_grid_of_finer_labels(evaluate, coarse):
    plain, nearest, bilinear = (
        evaluate(coarse, *FINE, *words, "--json")
        for words in ((), ("--upsample", "nearest"), ("--upsample", "bilinear"))
    )
    assert nearest.json == plain.json | {"ece": pytest.approx(plain.json["ece"])}  # sums run in another order
    assert "is used for 2 x 2 labels" in plain.err
    assert "stands for" not in nearest.err + bilinear.err
    assert nearest.json["confusion"] != bilinear.json["confusion"]
    assert nearest.json["pixels"] == bilinear.json["pixels"]
    at_once = json.loads((coarse / "metrics.json").read_text())["test"]
    assert (at_once["label_scale"], nearest.json["label_scale"]) == (1, 2)


def test_it_goes_with_the_season(evaluate, coarse):
    words = (coarse, *FINE, "--until", "08-01")
    near, smooth = (evaluate(*words, "--upsample", way, "--json").json["season"] for way in ("nearest", "bilinear"))
    assert len(near) == len(smooth) == 2
    assert all(a["scores"]["confusion"] != b["scores"]["confusion"] for a, b in zip(near, smooth, strict=True))


def test_nothing_to_enlarge(evaluate, coarse, fine):
    for run in (coarse, fine):
        assert "nothing to upsample" in evaluate(run, "--upsample", "bilinear").error
    assert "labels with the resolution of the logits" in evaluate(fine, "--set", "dataset.label_scale=1").error


def test_scores_say_what_a_pixel_is(evaluate, fine):
    [line] = [line for line in evaluate(fine).out.splitlines() if line.startswith("OA by distance")]
    assert line.endswith("px of the labels, which are 2 x finer than the images, 1 = parcel boundary")
    assert "which are 2 times finer than" in (fine / "report.html").read_text()


def test_the_map_has_the_grid_of_the_labels(command, folder, fine):
    words = ("prepare", "--from", "synthetic", "--out", "area", *LANDSCAPE, *FINE, "-j", "1")
    assert command(*words, folder=folder).code == 0
    predict = ("predict", fine, "--images", "area/S2_*.tif", "--out", "map.tif", "--device", "cpu", "-j", "0")
    assert command(*predict, folder=folder).code == 0
    with rasterio.open(folder / "map.tif") as made, rasterio.open(folder / "area" / "labels.tif") as labels:
        assert made.shape == labels.shape == (320, 320)
        assert (made.transform, made.crs) == (labels.transform, labels.crs)
        assert len(np.unique(made.read(1))) > 1
