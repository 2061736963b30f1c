"""`cropzoo evaluate`: its keys, its splits, and data whose bands and classes are not quite the model's."""

from __future__ import annotations

import hashlib
import json

import pytest
import yaml

from cropzoo.models.checkpoint import read_metadata, read_state, save_checkpoint
from cropzoo_cli.scores import score_lines

KEYS = {
    "oa", "miou", "macro_f1", "per_class", "without_support", "confusion", "boundary", "interior", "distance",
    "parcels", "ece", "pixels", "label_scale",
}  # fmt: skip


@pytest.fixture(scope="module")
def evaluate(command, run_folder):
    """`evaluate(*args)` scores the finished run."""

    def run(*args):
        return command("evaluate", run_folder, "--device", "cpu", *args, folder=run_folder)

    return run


@pytest.fixture(scope="module")
def scores(evaluate):
    """Of the test split."""
    return evaluate("--json").json


def test_json_has_the_agreed_keys_and_the_scores_of_the_run(scores, run_folder):
    assert set(scores) == KEYS
    assert set(scores["per_class"]["maize"]) == {"precision", "recall", "f1", "iou", "support"}
    assert sum(map(sum, scores["confusion"])) == scores["pixels"] == 2 * (24 * 24 - 2)
    assert scores["parcels"]["count"] == 32
    stored = json.loads((run_folder / "metrics.json").read_text())["test"]
    assert {**scores, "baseline": stored["baseline"]} == stored


def test_val_is_another_split(evaluate, scores, run_folder):
    val = evaluate("--split", "val", "--json").json
    assert val == json.loads((run_folder / "metrics.json").read_text())["val"]
    assert val["confusion"] != scores["confusion"]


def test_text_shows_per_cent(evaluate, scores):
    shown = evaluate().out.splitlines()
    assert shown[0].split() == ["test", "OA", "mIoU", "macro", "F1", "pixels"]
    assert shown[1].split()[2:4] == [f"{100 * scores[key]:.1f}" for key in ("oa", "miou")]
    assert [line.split()[0] for line in shown[-3:]] == ["wheat", "maize", "grass"]
    [distance] = [line for line in shown if line.startswith("OA by distance")]
    right, pixels = scores["distance"]["correct"], scores["distance"]["pixels"]
    shares = [f"{100 * hit / all_:.1f}" if all_ else "-" for hit, all_ in zip(right, pixels, strict=True)]
    assert distance.split()[3:11] == shares
    assert pixels[0] > pixels[1] > 0  # parcels of 6 x 6 px: their pixels lie at 1, 2 or 3 px
    assert distance.endswith("1 = parcel boundary")


def test_bands_are_found_by_name(evaluate, scores):
    assert evaluate("--set", "dataset.bands=[B08, B02, B04]", "--json").json["pixels"] == scores["pixels"]
    error = evaluate("--set", "dataset.bands=[B08, B04]").error
    assert "lack B02" in error
    assert "available: B08, B04" in error


def test_classes_are_found_by_name(evaluate):
    ended = evaluate("--set", "dataset.classes=[maize, rye, wheat]", "--json")
    assert "warning: classes that the model does not know are left out of the scores: rye\n" in ended.err
    scores = ended.json
    assert scores["without_support"] == ["grass"]
    assert scores["confusion"][2] == [0, 0, 0]
    assert scores["pixels"] < 2 * (24 * 24 - 2)
    assert "share no class" in evaluate("--set", "dataset.classes=[a, b, c]").error


def test_unknown_split_dataset_and_option(evaluate):
    assert "did you mean 'val'?" in evaluate("--split", "vall").error
    assert "did you mean 'plots'?" in evaluate("--dataset", "plot").error
    assert "did you mean 'bands'?" in evaluate("--set", "dataset.bnads=[B08]").error


def test_entry_of_a_catalog_with_weights(command, run_folder, scores, tmp_path):
    """Downloaded from a file:// url, which --offline allows, and checked."""
    content = (run_folder / "model.safetensors").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    weights = {"url": (run_folder / "model.safetensors").as_uri(), "sha256": digest, "size": len(content)}
    entry = {"summary": "a test", "source": "a test", "weights": {**weights, "license": "MIT"}}
    entries = {"pixelwise.good": entry}
    entries["pixelwise.bad"] = {**entry, "weights": {**entry["weights"], "sha256": "0" * 64}}
    entries["pixelwise.far"] = {
        **entry,
        "weights": {**entry["weights"], "url": "https://localhost:1/x", "sha256": "1" * 64},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"version": 1, "entries": entries}))
    mine = ("--offline", "--catalog", "mine.yaml")

    found = command(*mine, "evaluate", "pixelwise.good", "--device", "cpu", "--json", folder=tmp_path)
    assert found.json == scores
    out = command(*mine, "export", "pixelwise.good", "--out", "a.safetensors", folder=tmp_path).out
    assert out.startswith("checkpoint  a.safetensors")
    trained = ("train", "--backbone", "pixelwise", "--dataset", "plots", "--weights", "pixelwise.good", "--epochs", "1")
    ended = command(*mine, *trained, "--set", "image_size=24", "--device", "cpu", folder=tmp_path)
    assert "2 parameters loaded" in ended.err
    assert digest in command(*mine, "show", "pixelwise.good", folder=tmp_path).out
    assert "SHA-256" in command(*mine, "evaluate", "pixelwise.bad", folder=tmp_path).error
    assert "--offline" in command(*mine, "evaluate", "pixelwise.far", folder=tmp_path).error
    assert "has no weights" in command("evaluate", "tsvit.pastis", folder=tmp_path).error


def test_nearest_neighbors_are_a_baseline(evaluate, scores):
    printed = evaluate("--baseline", "--json").json
    baseline = printed.pop("baseline")
    assert printed == scores
    assert baseline["pixels"] == scores["pixels"]
    assert 0 < baseline["oa"] <= 1
    shown = evaluate("--baseline", "knn").out.splitlines()
    (line,) = (line for line in shown if line.startswith("knn, all pixels"))
    assert f"{100 * baseline['oa']:.1f}" in line
    assert "run it separately" in evaluate("--baseline", "--until", "08-20").error
    assert "it has learned these pixels" in evaluate("--baseline", "--split", "train").error


def test_a_forest_is_a_baseline(evaluate, scores):
    baseline = evaluate("--baseline", "forest", "--json").json["baseline"]
    assert baseline["name"] == "forest"
    assert baseline["pixels"] == scores["pixels"]
    assert baseline["oa"] > 0.9


@pytest.mark.parametrize(
    "words",
    [("--baseline", "RUN"), ("RUN", "--baseline"), ("--baseline=knn", "RUN"), ("--baseline", "knn", "RUN")],
)
def test_the_run_is_not_taken_for_the_value_of_baseline(command, run_folder, words):
    words = [run_folder if word == "RUN" else word for word in words]
    scores = command("evaluate", *words, "--device", "cpu", "--json", folder=run_folder).json
    stored = json.loads((run_folder / "metrics.json").read_text())["test"]
    assert scores["baseline"] == stored["baseline"]


@pytest.mark.parametrize("words", [(), ("--baseline", "none"), ("--baseline=none",)])
def test_without_a_baseline_the_stored_one_is_reported(evaluate, run_folder, words):
    ended = evaluate(*words, "--json")
    assert "baseline" not in ended.json
    stored = json.loads((run_folder / "metrics.json").read_text())["test"]
    assert f"(knn baseline {100 * stored['baseline']['oa']:.1f} %, " in ended.err


def test_an_unknown_baseline_is_an_error(evaluate):
    assert "'forests' is not one of" in evaluate("--baseline=forests").error
    assert "forests" in evaluate("--baseline", "forests").error


def test_a_model_below_its_baseline_is_reported_in_every_command(command, run_folder, tmp_path):
    metadata, state = read_metadata(run_folder / "model.safetensors"), read_state(run_folder / "model.safetensors")
    worse = {**metadata.scores, "miou": 0.1, "baseline": {**metadata.scores["baseline"], "miou": 0.9}}
    save_checkpoint(tmp_path / "worse.safetensors", state, metadata.model_copy(update={"scores": worse}))
    warning = "warning: the model scores below its knn baseline in mIoU (10.0 against 90.0 %)"
    for words in (
        ("evaluate", "worse.safetensors", "--device", "cpu"),
        ("calibrate", "worse.safetensors", "--device", "cpu", "--out", "calibrated.safetensors"),
        ("export", "worse.safetensors", "--out", "exported.safetensors"),
    ):
        ended = command(*words, folder=tmp_path)
        assert ended.code == 0, ended.err
        assert ended.err.count(warning) == 1
        assert "model: pixelwise, test OA" in ended.err
    below = "the model scores below its knn baseline in mIoU (10.0 against 90.0 %)"
    assert below in command("show", "calibrated.safetensors", folder=tmp_path).out
    assert below[4:] in (tmp_path / "exported.md").read_text()


def test_the_old_flag_of_the_baseline_works_with_a_warning(evaluate, scores):
    ended = evaluate("--floor", "--json")
    assert ended.json["baseline"]["pixels"] == scores["pixels"]
    assert ended.err.count("--floor is deprecated and will be removed; use --baseline") == 1


def test_scores_of_earlier_versions_show_their_baseline(evaluate, scores):
    baseline = evaluate("--baseline", "--json").json["baseline"]
    assert score_lines("test", {**scores, "floor": baseline}) == score_lines("test", {**scores, "baseline": baseline})
