"""Pre-training alone: on sites without labels, and on from its weights where there are labels."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

from cropzoo.models.checkpoint import read_metadata

SMALL = ("--set", "image_size=12", "-b", "4", "--epochs", "2", "--device", "cpu")
TSVIT = ("--backbone", "tsvit", *(f"--set=backbone.{each}" for each in ("patch_size=3", "dim=16", "heads=2")))
DEPTHS = ("--set=backbone.temporal_depth=1", "--set=backbone.spatial_depth=1", "--set=backbone.head_dim=8")
MTM = ("--dataset", "geotiff", "--set", "dataset.root=bare", "--set", "objective=mtm")
PLAIN = ("--set", "crops_per_tile=1", "--set", "weight_average=0")
TRAIN = ("train", *TSVIT, *DEPTHS, *SMALL, *PLAIN)


@pytest.fixture(scope="module")
def sites(geotiff, tmp_path_factory):
    """A folder with sites without labels in `bare`, and with them in `fields`."""
    folder = tmp_path_factory.mktemp("sites")
    for seed in range(2):
        geotiff.make_site(folder / f"bare/site-{seed}", labels=False, parcels=False, seed=seed)
    geotiff.make_site(folder / "fields/north", seed=9)
    return folder


@pytest.fixture(scope="module")
def pretrained(command, sites):
    """What `train` said; the run is `sites / "mtm"`."""
    ended = command(*TRAIN, *MTM, "--out", "mtm", folder=sites)
    assert ended.code == 0, ended.err
    return ended


def test_it_ends_with_a_backbone_and_says_that_there_are_no_scores(pretrained, sites):
    assert "no labels.tif and no parcel file in bare: the series have no labels" in pretrained.err
    assert pretrained.out.startswith("no scores: mtm predicts no classes; fine-tune with --weights mtm\n")
    run = sites / "mtm"
    metadata = read_metadata(run / "model.safetensors")
    assert metadata.classes == ()
    assert not metadata.head
    assert all(key.startswith("backbone.") for key in load_file(run / "model.safetensors"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["mtm", "mtm"]
    assert all(line["val_loss"] > 0 for line in lines)
    assert json.loads((run / "split.json").read_text()).keys() == {"train", "val"}
    report = (run / "report.html").read_text()
    assert "This run has no scores because mtm trains no head" in report
    assert "Overall accuracy" not in report
    assert "validation loss" in report


def test_training_goes_on_from_it(command, pretrained, sites):
    words = ("--dataset", "geotiff", "--set", "dataset.root=fields", "--weights", "mtm", "--out", "fine", "--json")
    ended = command(*TRAIN, *words, "--lr", "1e-9", "--weight-decay", "0", folder=sites)
    assert ended.json["test"]["pixels"] > 0
    stored, state = load_file(sites / "mtm/model.safetensors"), load_file(sites / "fine/model.safetensors")
    assert f"weights mtm: {len(stored) - 1} parameters loaded, 1 newly initialized" in ended.err
    assert "new: class_tokens: (1, 16) in the weights, (4, 16) here" in ended.err
    for key, value in stored.items():
        if key != "backbone.class_tokens":
            assert (state[key] - value).abs().max() < 1e-6, key


def test_resuming_a_finished_one_says_so(command, pretrained, sites):
    again = command("train", "--resume", "--out", "mtm", "--device", "cpu", "--json", folder=sites)
    assert again.json == {"run": "mtm", "val": {}, "test": {}}
    assert "is already finished" in again.err


def test_a_killed_one_resumes_to_the_same_weights(command, sites, pretrained):
    shorter = ("--set", "mtm.targets=2", "--out", "short")
    assert command(*TRAIN, *MTM, *shorter, folder=sites).code == 0
    whole = (sites / "short/model.safetensors").read_bytes()
    for name in ("model.safetensors", "report.html", "metrics.json"):
        (sites / "short" / name).unlink()
    assert command("train", "--resume", "--out", "short", "--device", "cpu", folder=sites).code == 0
    assert (sites / "short/model.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "mtm"),
        ("evaluate", "mtm", "--dataset", "geotiff", "--set", "dataset.root=fields"),
        ("evaluate", "mtm", "--until", "06-15"),
        ("calibrate", "mtm", "--out", "out.safetensors"),
        ("export", "mtm", "--out", "out.safetensors"),
        ("export", "mtm", "--out", "out.pt2"),
        ("predict", "mtm", "--images", "fields/north/S2_*.tif", "--out", "map.tif"),
    ],
    ids=" ".join,
)
def test_it_predicts_nothing_and_says_why(command, pretrained, sites, words):
    before = set(sites.iterdir())
    error = command(*words, folder=sites).error
    assert "only pre-trained, by 'mtm'; it has no head and predicts no classes" in error
    assert "cropzoo train --weights" in error
    assert set(sites.iterdir()) == before


@pytest.mark.parametrize("processes", [1, 2])
def test_every_validation_hides_the_same(command, sites, processes):
    """With weights that hardly move, two validations tell the same loss, and two trainings do not."""
    out, still = f"still-{processes}", ("--lr", "1e-12", "--weight-decay", "0")
    ended = command(*TRAIN, *MTM, *still, "--out", out, folder=sites, processes=processes)
    assert ended.codes == [0] * processes, ended.err
    lines = [json.loads(line) for line in (sites / out / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["val_loss"] == pytest.approx(lines[1]["val_loss"], rel=1e-6)
    assert lines[0]["train_loss"] != pytest.approx(lines[1]["train_loss"], rel=1e-3)


def test_a_model_is_not_scored_without_labels(command, sites):
    assert command(*TRAIN, "--dataset", "geotiff", "--set", "dataset.root=fields", "--out", "m", folder=sites).code == 0
    error = command("evaluate", "m", "--set", "dataset.root=bare", folder=sites).error
    assert "share no class" in error
    assert "the data have no labels" in error


def test_data_without_labels_are_shown_and_not_prepared(command, sites):
    shown = command("show", "geotiff", "--set", "dataset.root=bare", folder=sites)
    assert shown.code == 0, shown.err
    prepared = command("prepare", "--from", "geotiff", "bare", "--out", "ds", folder=sites)
    assert "dataset without classes" in prepared.error


def test_it_is_shown(command, pretrained, sites):
    shown = command("show", "mtm/model.safetensors", folder=sites)
    assert shown.code == 0, shown.err
    assert ["head", "False"] in [line.split() for line in shown.out.splitlines()]


def test_labeled_data_may_be_used_without_their_labels(command, sites, pretrained):
    """Classes are those of the data, so that parts of the network that depend on them are kept as well."""
    ended = command(*TRAIN, *MTM, "--set", "dataset.root=fields", "--out", "same", folder=sites)
    assert ended.code == 0, ended.err
    words = ("--dataset", "geotiff", "--set", "dataset.root=fields", "--weights", "same", "--out", "on")
    assert " 0 newly initialized" in command(*TRAIN, *words, folder=sites).err


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        ((), "training with 'segmentation' on dataset 'geotiff'; the dataset has no labels"),
        (("--pretrain", "mtm"), "training with 'segmentation' on dataset 'geotiff'; the dataset has no labels"),
        (("--pretrain", "cscl", "--set", "objective=mtm"), "training with 'cscl' on dataset 'geotiff'"),
        (("--set", "objective=mtm", "--set", "mtm.auxiliary=supcon:0.1"), "training with 'supcon' on dataset"),
        (("--set", "objective=cscl"), "training with 'cscl' on dataset 'geotiff'"),
        (("--set", "objective=cscl", "--set", "dataset.root=fields"), "'cscl', trains no head"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_labels_that_are_needed_are_asked_for_before_a_folder_is_made(command, sites, pretrained, words, messages):
    error = command(*TRAIN, *MTM[:-2], *words, "--out", "no", folder=sites).error
    assert messages in error
    assert not (sites / "no").exists()


def test_a_study_of_it_says_that_nothing_is_scored(command, sites):
    words = ("compare", "--backbones", "tsvit", *TSVIT[2:], *DEPTHS, *MTM, "--set", "image_size=12", "--epochs", "1")
    for _ in range(2):  # trained, and found
        ended = command(*words, "--device", "cpu", "--out", "study", folder=sites)
        assert ended.code == 1
        assert ended.err.splitlines()[-1].startswith(
            "error: 1 of 1 runs have no scores because mtm trains no head; end"
        )
