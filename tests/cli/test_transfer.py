"""`cropzoo train` on some sites, and by an objective that needs no labels but predicts classes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from cropzoo.models.checkpoint import read_metadata

TRAIN = ("train", "--backbone", "pixelwise", "--dataset", "plots", "--set", "image_size=12", "-b", "4", "--epochs", "1")
SITES = ("--train-sites", "field-1,field-4", "--test-sites", "field-7")

ENTROPY = '''
from cropzoo import Losses, Objective, ObjectiveSpec, hookimpl


class Entropy(Objective):
    """Makes predictions certain, whatever they are."""

    def __init__(self, backbone, classes):
        super().__init__(backbone)
        self.head = backbone.make_head(classes)

    def forward(self, batch):
        logits = self.head(self.backbone(batch.series, batch.dates, batch.valid))
        return Losses(-(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean(), {}, logits)


@hookimpl
def cropzoo_objectives():
    spec = dict(build=f"{__name__}:Entropy", summary="a test", source="a test", license="MIT", needs_labels=False)
    return [ObjectiveSpec(name="entropy", **spec)]
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("transfer")


def test_statistics_classes_and_scores_are_those_of_the_chosen_sites(command, folder):
    ended = command(*TRAIN, *SITES, "--device", "cpu", "--out", "some", "--json", folder=folder)
    split = json.loads((folder / "some/split.json").read_text())
    assert [split[name]["names"] for name in ("train", "val", "test")] == [["field-1"], ["field-4"], ["field-7"]]
    known = read_metadata(folder / "some/model.safetensors")
    whole = command(*TRAIN, "--device", "cpu", "--out", "all", "--json", folder=folder)
    assert whole.code == 0, whole.err
    everything = read_metadata(folder / "all/model.safetensors")
    assert not np.allclose(known.mean, everything.mean)
    left_out = re.search("so ignored everywhere: (.*)", ended.err)
    assert len(known.classes) == 3 - (len(left_out[1].split(", ")) if left_out else 0)
    scores = command("evaluate", "some", "--device", "cpu", "--json", folder=folder).json
    assert scores["confusion"] == ended.json["test"]["confusion"]


def test_an_objective_with_a_head_is_scored_though_it_needs_no_labels(command, folder):
    (folder / "entropy.py").write_text(ENTROPY)
    words = ("-p", "entropy.py", *TRAIN, "--set", "objective=entropy", "--device", "cpu", "--out", "sure", "--json")
    assert command(*words, folder=folder).json["test"]["pixels"] > 0
    assert (folder / "sure/model.safetensors").is_file()


def test_what_is_not_scored_needs_no_test_split(command, folder):
    words = (*TRAIN, "--set", "objective=mtm", "--test-sites", "nowhere", "--device", "cpu", "--out", "alone")
    assert command(*words, folder=folder).code == 0
    assert json.loads((folder / "alone/split.json").read_text()).keys() == {"train", "val"}


def test_a_printed_recipe_has_the_options_of_its_weights(command, folder):
    first = (*TRAIN, "--device", "cpu", "--baseline", "none", "--set", "backbone.width=6", "--out", "six")
    assert command(*first, folder=folder).code == 0
    printed = command(*TRAIN, "--weights", "six", "--print-config", folder=folder)
    assert "\n  width: 6\n" in printed.out
    changed = command(*TRAIN, "--weights", "six", "--set", "backbone.width=5", "--print-config", folder=folder)
    assert "\n  width: 5\n" in changed.out
    assert "weights six were trained with width=6, here 5; parameters of another shape are not loaded" in changed.err
